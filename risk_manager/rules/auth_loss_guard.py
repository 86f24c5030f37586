"""RULE-010: obey the platform's own restriction, and say when we cannot see or act."""

from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from risk_manager.domain.decisions import (
    Ask,
    Flatten,
    Forget,
    Remember,
    Severity,
    Unlock,
    Verdict,
    bookkeeping,
)
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.events import AccountChanged, AccountReported, Hub, HubState
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import LockKind, LockPolicy, Release
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.scope import ACCOUNT_SCOPE
from risk_manager.domain.view import View

# Marks: the last record left out `canTrade`, or said that the account is not visible.
MISSING = "missing"
HIDDEN = "hidden"
ALLOWED = "allowed"

HUBS = tuple(Hub)


class CanTrade(BaseModel):
    """How the platform's `canTrade` is read. `poll` is how often it is asked for at least."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """false: the permission is not judged."""
    startup_check: bool = True
    """Judge it at the start as well."""
    poll: Duration = timedelta(seconds=60)
    """Ask for it at least this often."""
    missing_field: Literal["alert", "restrict"] = "alert"
    """An answer without it is told, or taken as a restriction."""
    confirm: Duration = timedelta(seconds=2)
    """Positions are closed when the restriction has lasted this long."""

    @model_validator(mode="after")
    def _poll_is_sensible(self) -> "CanTrade":
        if not timedelta(seconds=10) <= self.poll <= timedelta(minutes=10):
            raise ValueError(f"poll: {plain_duration(self.poll)} is not between 10s and 10m")
        if self.confirm > timedelta(minutes=1):
            raise ValueError(f"confirm: {plain_duration(self.confirm)} is longer than 1m")
        return self


class ConnectionLoss(BaseModel):
    """When a lost stream is an alarm. Nothing is ever closed because of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """false: a lost connection is not told by this rule."""
    alert_after: Duration = timedelta(seconds=10)
    """Tell it after this time."""
    resync_on_reconnect: bool = True
    """Read the account when the connection is back."""


class AuthLossGuard(Rule):
    """While the platform says the account may not trade, it is flat and locked.

    The lock is in force at once; positions are closed when the restriction has lasted `confirm`.
    It ends when the platform lets the account trade again, and by nothing else.
    """

    spec_id: ClassVar[str] = "RULE-010"
    title: ClassVar[str] = "Platform permission"

    rule: Literal["auth_loss_guard"] = "auth_loss_guard"
    can_trade: CanTrade = CanTrade()
    """How the platform's permission to trade is watched."""
    on_restrict: Literal["close_all_and_lockout", "lockout_only", "alert"] = "close_all_and_lockout"
    """Close and lock, lock, or only tell."""
    auto_unlock_on_restore: bool = True
    """The lock ends when the platform lets the account trade again."""
    connection_loss: ConnectionLoss = ConnectionLoss()
    """How a lost connection is told."""
    consecutive_losses: None = Field(default=None)
    """Nothing is accepted here; use the rule `consecutive_loss_limit`."""

    @model_validator(mode="before")
    @classmethod
    def _losses_are_another_rule(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("consecutive_losses") is not None:
            raise ValueError(
                "consecutive_losses: losing trades in a row are the rule consecutive_loss_limit; "
                "write null here"
            )
        return data

    def in_words(self) -> str:
        done = {
            "close_all_and_lockout": "everything is closed and the account is locked",
            "lockout_only": "the account is locked",
            "alert": "this is told, and nothing is done",
        }[self.on_restrict]
        told = []
        if self.can_trade.enabled:
            told.append(f"While the platform does not let the account trade, {done}.")
            if self.on_restrict != "alert":
                told.append(
                    "The lock ends when the platform allows trading again."
                    if self.auto_unlock_on_restore
                    else "An administrator lifts the lock once the platform allows trading again."
                )
        if self.connection_loss.enabled:
            lasts = plain_duration(self.connection_loss.alert_after)
            told.append(f"A stream that is down for {lasts} is an alarm; nothing is closed for it.")
        return " ".join(told)

    @property
    def rank(self) -> int:
        return 10

    @property
    def polls_account_every(self) -> timedelta | None:
        return self.can_trade.poll if self.can_trade.enabled else None

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        verdicts: list[Verdict] = []
        if self.can_trade.enabled and self._has_word(view):
            verdicts += self._notes(view)
            verdicts += self._permission(view)
        if self.connection_loss.enabled and not _all_is_heard(view):
            verdicts += self._connection(view)
        return tuple(verdicts) or None

    def _has_word(self, view: View) -> bool:
        """Whether the platform has stated something to note, obey or undo, which is rare."""
        account = view.account
        return (
            type(view.event) in (AccountChanged, AccountReported)
            or account.can_trade is False
            or (ACCOUNT_SCOPE, self.id) in account.locks
            or (self.id, MISSING) in account.marks
            or (self.id, HIDDEN) in account.marks
        )

    # --- the platform's word ---

    def _notes(self, view: View) -> Iterator[Verdict]:
        """Note what this event states or leaves out; it counts until another event differs."""
        record = _record(view)
        if record is None:
            return
        stated = {
            MISSING: record.can_trade is None,
            HIDDEN: record.is_visible is False,
            ALLOWED: record.can_trade is True or view.mark(self.id, ALLOWED) is not None,
        }
        asks: list[Ask] = []
        for subject, holds in stated.items():
            if holds != (view.mark(self.id, subject) is not None):
                asks.append(Remember(subject) if holds else Forget(subject))
        if asks:
            yield bookkeeping(*asks)

    def _holds(self, view: View, subject: str) -> bool:
        """Whether a note holds after this event, whose own note is not stored yet."""
        record = _record(view)
        if record is not None:
            return record.can_trade is None if subject == MISSING else record.is_visible is False
        return view.mark(self.id, subject) is not None

    def _permission(self, view: View) -> Iterator[Verdict]:
        account = view.account
        missing = self._holds(view, MISSING)
        if missing:
            yield Verdict(
                reason="the platform did not say whether the account may trade; "
                + (
                    "counted as restricted"
                    if self.can_trade.missing_field == "restrict"
                    else f"last known: {_word(account.can_trade)}"
                ),
                subject=MISSING,
                severity=Severity.WARNING,
            )
        if self._holds(view, HIDDEN):
            yield Verdict(
                reason="the platform no longer shows this account",
                subject=HIDDEN,
                severity=Severity.CRITICAL,
            )
        if missing and self.can_trade.missing_field == "restrict":
            yield self._restricted(view, "the platform does not say that the account may trade")
        elif account.can_trade is False:
            if self.can_trade.startup_check or view.mark(self.id, ALLOWED) is not None:
                yield self._restricted(view, "the platform does not let the account trade")
        elif account.can_trade is True:
            yield from self._restored(view)

    def _restricted(self, view: View, why: str) -> Verdict:
        since = view.account.can_trade_since
        mark = view.mark(self.id, MISSING)
        if view.account.can_trade is not False:
            since = mark.set_at if mark is not None else view.now
        confirmed = since is None or view.now - since >= self.can_trade.confirm
        subject = f"restricted:{'' if since is None else since.isoformat()}"
        if self.on_restrict == "alert":
            return Verdict(reason=why, subject=subject, severity=Severity.CRITICAL)
        flat = self.on_restrict == "close_all_and_lockout" and confirmed
        asks: list[Ask] = [
            new_lock(
                view,
                self.id,
                why,
                until=Release.CAN_TRADE,
                policy=LockPolicy.FLAT if flat else LockPolicy.NO_ENTRIES,
                kind=LockKind.RESTRICTION,
                trigger="canTrade",
                admin_may_clear=True,
            )
        ]
        if flat and not view.account.is_flat:
            asks.append(Flatten())
        return Verdict(
            reason=f"{why}; locked until it does",
            subject=subject,
            asks=tuple(asks),
            severity=Severity.CRITICAL,
        )

    def _restored(self, view: View) -> Iterator[Verdict]:
        lock = view.lock(self.id)
        if lock is None or lock.release is not Release.CAN_TRADE:
            return
        if self.auto_unlock_on_restore:
            yield Verdict(
                reason="the platform lets the account trade again",
                subject="restored",
                asks=(Unlock(lock.scope, "can_trade_restored"),),
                severity=Severity.INFO,
            )
            return
        reason = "the platform lets the account trade again; an administrator has to unlock it"
        yield Verdict(
            reason=reason,
            subject="restored",
            asks=(
                new_lock(
                    view,
                    self.id,
                    reason,
                    until=Release.MANUAL,
                    policy=lock.policy,
                    kind=LockKind.RESTRICTION,
                ),
            ),
            severity=Severity.INFO,
        )

    # --- the connection ---

    def _connection(self, view: View) -> Iterator[Verdict]:
        account = view.account
        at_stake = not account.is_flat
        for hub in HUBS:
            status = view.state.hubs.get(hub)
            if status is None:
                continue
            for_long = view.now - status.since >= self.connection_loss.alert_after
            if status.state is not HubState.UP:
                if for_long:
                    yield _blind(hub, status.since.isoformat(), at_stake)
            elif (
                hub is Hub.USER
                and self.connection_loss.resync_on_reconnect
                and for_long
                and (account.reported_at is None or account.reported_at < status.since)
            ):
                yield Verdict(
                    reason="the user stream is back, but the account has not been read since; "
                    "what is shown may be old",
                    subject=f"unread:{status.since.isoformat()}",
                    severity=Severity.CRITICAL if at_stake else Severity.WARNING,
                )

    # --- words ---

    def meter(self, view: View) -> Meter:
        allowed = view.account.can_trade
        blind = [
            hub for hub in Hub if (s := view.state.hubs.get(hub)) and s.state is not HubState.UP
        ]
        sentence = {
            True: "the platform lets the account trade",
            False: "the platform does not let the account trade",
            None: "not yet known whether the platform lets the account trade",
        }[allowed]
        state = MeterState.OK if allowed else MeterState.BREACH
        if allowed is None or blind:
            state = MeterState.UNKNOWN if allowed is not False else MeterState.BREACH
        if blind:
            sentence += f"; no {' and no '.join(blind)} stream"
        return self.reading(
            current=None,
            limit=None,
            unit="",
            sentence=sentence,
            state=state,
        )


def _blind(hub: Hub, since: str, at_stake: bool) -> Verdict:
    what = {
        Hub.USER: "positions and orders are not seen; nothing is closed blindly",
        Hub.MARKET: "prices are not seen; limits on open profit and loss cannot be judged",
    }[hub]
    return Verdict(
        reason=f"the {hub} stream is down: {what}"
        + ("; watch the account in the trading platform" if at_stake else ""),
        subject=f"{hub}:{since}",
        severity=Severity.CRITICAL if at_stake else Severity.WARNING,
    )


def _all_is_heard(view: View) -> bool:
    """Whether every stream is up and the account was read since: the usual case."""
    read_at = view.account.reported_at
    for status in view.state.hubs.values():
        if status.state is not HubState.UP or read_at is None or read_at < status.since:
            return False
    return True


def _record(view: View) -> AccountRecord | None:
    event = view.event
    if type(event) is AccountChanged:
        return event
    return event.account if type(event) is AccountReported else None


def _word(can_trade: bool | None) -> str:
    return {True: "it may", False: "it may not", None: "nothing"}[can_trade]
