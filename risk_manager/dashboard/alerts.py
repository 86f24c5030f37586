"""What a trader must be told of the moment it happens, found by comparing two pictures."""

from collections.abc import Iterator
from dataclasses import dataclass

from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.waiting_limits import news
from risk_manager.dashboard.wording import clock, duration, lock_word, release
from risk_manager.feed.messages import AccountSnapshot, DoubtRow, LockRow

QUIET_S = 300.0
"""The same doubt is told again no sooner than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing to tell. `is_loud`: with a flash, the bell and a desktop notification.

    `tone`: good, care, bad. `account_id` None concerns everyone. `about` is the same for alerts of
    one matter. `is_in_verdict`: the verdict of that account says it already.
    """

    text: str
    tone: str
    account_id: int | None = None
    is_loud: bool = False
    is_in_verdict: bool = False
    about: tuple[object, ...] = ()


class AlertBook:
    """Finds what is new, and does not repeat a doubt that comes and goes."""

    def __init__(self) -> None:
        self._told_at: dict[tuple[object, ...], float] = {}

    def new(self, before: Picture, after: Picture, mono: float) -> list[Alert]:
        """Return what happened between two pictures; nothing before the first was complete."""
        found: list[Alert] = []
        if before.told_at is None:
            return found
        found += _connection(before, after, mono)
        if before.hubs is not after.hubs:
            found += _streams(before, after)
        if before.accounts is not after.accounts:
            found += _accounts(before, after)
        if before.outlook is not after.outlook:
            told = news(before.outlook, after.outlook, after.accounts, after.told_at)
            found += [Alert(text=n.sentence, tone="care") for n in told]
        if before.doubts != after.doubts:
            found += [a for a in _doubts(before, after) if not self._is_repeated(a, mono)]
        return found

    def _is_repeated(self, alert: Alert, mono: float) -> bool:
        last = self._told_at.get(alert.about)
        self._told_at = {k: at for k, at in self._told_at.items() if mono - at < QUIET_S}
        if last is not None and mono - last < QUIET_S:
            return True
        self._told_at[alert.about] = mono
        return False


def is_exposed(account: AccountSnapshot) -> bool:
    return bool(account.positions or account.orders)


def _connection(before: Picture, after: Picture, mono: float) -> Iterator[Alert]:
    if before.line.up and not after.line.up:
        exposed = any(is_exposed(account) for account in after.accounts)
        yield Alert(
            text=f"the daemon is not heard: {after.line.reason}",
            tone="bad",
            is_loud=exposed,
            is_in_verdict=True,
        )
    if before.lost_run is not None and after.lost_run is None:
        gap = duration(before.gap_s(mono))
        anew = "; it was started anew" if after.run_id != before.lost_run else ""
        yield Alert(text=f"the daemon is heard again after {gap}{anew}", tone="good")


def _streams(before: Picture, after: Picture) -> Iterator[Alert]:
    exposed = any(is_exposed(account) for account in after.accounts)
    for name, hub in after.hubs.items():
        was = before.hubs[name].state if name in before.hubs else hub.state
        if hub.state == "down" != was:
            why = f": {hub.reason}" if hub.reason else ""
            yield Alert(text=f"the {name} stream is down{why}", tone="bad", is_loud=exposed)
        elif hub.state == "up" and was == "down":
            yield Alert(text=f"the {name} stream is up again", tone="good")


def _accounts(before: Picture, after: Picture) -> Iterator[Alert]:
    known = {account.account_id: account for account in before.accounts}
    several = len(after.accounts) > 1
    for account in after.accounts:
        old = known.get(account.account_id)
        if old is None or old is account:
            continue
        whose = f"{account.name or account.account_id}: " if several else ""
        yield from _locks(whose, old, account)
        if old.trading_date != account.trading_date:
            yield Alert(
                text=f"{whose}a new trading day, {account.trading_date}",
                tone="good",
                account_id=account.account_id,
            )


def _locks(whose: str, old: AccountSnapshot, new: AccountSnapshot) -> Iterator[Alert]:
    before = {lock.lockout_id for lock in old.locks}
    now = {lock.lockout_id for lock in new.locks}
    for lock in new.locks:
        if lock.lockout_id not in before:
            whole = lock.scope == "account"
            yield Alert(
                text=f"{whose}{_lock(lock)}",
                tone="bad" if lock.policy == "flat" else "care",
                account_id=new.account_id,
                is_loud=True,
                is_in_verdict=whole,
            )
    for lock in old.locks:
        if lock.lockout_id not in now:
            yield Alert(
                text=f"{whose}no longer locked: {lock.reason}",
                tone="good",
                account_id=new.account_id,
            )


def _lock(lock: LockRow) -> str:
    where = "" if lock.scope == "account" else f" {lock.scope.partition(':')[2]}"
    word = lock_word(lock.policy, lock.scope)
    if lock.expires_at is None:
        return f"{word}{where}: {lock.reason}; ends {release(lock.release)}"
    return f"{word}{where} until {clock(lock.expires_at)}: {lock.reason}"


def _doubts(before: Picture, after: Picture) -> Iterator[Alert]:
    known = {_about(doubt): doubt for doubt in before.doubts}
    exposed = {a.account_id for a in after.accounts if is_exposed(a)}
    for doubt in after.doubts:
        old = known.get(_about(doubt))
        if old is not None and (old.critical or not doubt.critical):
            continue
        if doubt.kind == "hub_down":
            continue  # the stream tells it
        touches_open = bool(exposed) if doubt.account_id is None else doubt.account_id in exposed
        yield Alert(
            text=f"{'BLIND: ' if doubt.critical else 'in doubt: '}{doubt.reason}",
            tone="bad" if doubt.critical else "care",
            account_id=doubt.account_id,
            is_loud=doubt.critical and touches_open,
            about=(*_about(doubt), doubt.critical),
        )


def _about(doubt: DoubtRow) -> tuple[object, ...]:
    return doubt.kind, doubt.account_id, doubt.subject
