"""Matters that are looked at rather than told: limits nearly used up, failures since resolved.

Called about once a second, never on the path of an event. Pure, except that a rule that raises
while it is asked for its meter is left out.
"""

from collections.abc import Iterable, Iterator

from risk_manager.alerts.narration import (
    ENFORCEMENT,
    HEALTH,
    LOCK,
    enforcement_subject,
    health_subject,
    label,
    lock_subject,
)
from risk_manager.alerts.notice import FLICKER_WITH_MONEY, Ended, News, Notice
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Severity
from risk_manager.domain.events import Tick
from risk_manager.domain.rule import Meter
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine.attempts import stands
from risk_manager.engine.data_health import about
from risk_manager.engine.report import Report, Result

LIMIT = "limit:"
FALLEN_BY = 0.1
"""A limit is no longer nearly used up once this part of it is free again."""

NOT_USED_UP = frozenset(
    {
        "auth_loss_guard",
        "max_contracts",
        "max_contracts_per_instrument",
        "no_stop_loss_grace",
        "session_block_outside",
        "flat_by",
        "symbol_blocks",
        "trade_management",
    }
)
"""Rules whose meters say how large, how old or how late something is. To hold the four lots that
are allowed is no news."""


class LimitWatch:
    """Warns at a part of a limit, once until it has fallen well below that part."""

    def __init__(self, at: float) -> None:
        self._at = at

    def look(self, state: State, open_subjects: Iterable[str]) -> Iterator[News]:
        """Yield the limits that are nearly used up now, and those that no longer are."""
        known = {subject for subject in open_subjects if subject.startswith(LIMIT)}
        seen = set()
        for account in state.accounts.values():
            if account.reported_as_of is None:
                seen |= {s for s in known if s.startswith(f"{LIMIT}{account.id}:")}
                continue
            for meter in _meters(state, account):
                subject = f"{LIMIT}{account.id}:{meter.rule_id}"
                if subject in known:
                    if meter.used is None or meter.used >= self._at - FALLEN_BY:
                        seen.add(subject)
                elif meter.used is not None and self._at <= meter.used < 1:
                    # At the limit itself its rule acts, and the lock is told.
                    yield _nearly(state, account, meter)
        for subject in known - seen:
            yield Ended(subject=subject, at=state.now, text="well below the limit again")


def _nearly(state: State, account: Account, meter: Meter) -> Notice:
    assert meter.used is not None
    return Notice(
        subject=f"{LIMIT}{account.id}:{meter.rule_id}",
        at=state.now,
        severity=Severity.WARNING,
        title=f"{label(state, account.id)}: {meter.used:.0%} of {meter.title}",
        text=meter.sentence,
        account_id=account.id,
        is_money=True,
        patience=FLICKER_WITH_MONEY,
    )


def _meters(state: State, account: Account) -> Iterator[Meter]:
    view = View(state, account, Tick(at=state.now))
    for rule in state.rulebook.for_account(account.id).rules:
        if rule.rule in NOT_USED_UP or rule.id in account.failed_rules:
            continue
        try:
            meter = rule.meter(view)
        except Exception:  # an error in one rule must not silence the others; the feed shows it
            continue
        if meter is not None:
            yield meter


class FailureWatch:
    """Knows the calls that have failed or are not verified, and when none is left."""

    def __init__(self) -> None:
        self._failing: dict[int, dict[str, str]] = {}

    def note(self, report: Report) -> None:
        """Take note of the calls that a step settled."""
        for settled in report.settled:
            action = settled.call.action
            keys = self._failing.setdefault(action.account_id, {})
            if settled.result is Result.CONFIRMED:
                keys.pop(action.key, None)
            else:
                keys[action.key] = action.id

    def look(self, state: State, open_subjects: Iterable[str]) -> Iterator[Ended]:
        """Yield the end of each account's failure once nothing of it is left to be done."""
        for subject in open_subjects:
            if not subject.startswith(ENFORCEMENT):
                continue
            account = state.accounts.get(int(subject.removeprefix(ENFORCEMENT)))
            if account is None or account.reported_as_of is None:
                continue
            keys = self._failing.get(account.id, {})
            for key in [key for key in keys if not _is_due(account, key)]:
                del keys[key]
            knows = account.id in self._failing
            if not keys and (knows or _is_clear(account)) and not _is_refused(account):
                self._failing.pop(account.id, None)
                yield Ended(
                    subject=enforcement_subject(account.id),
                    at=state.now,
                    text="done: it was carried out, or nothing is left to be done",
                )


def _is_due(account: Account, key: str) -> bool:
    """Whether the position or order of a failed call is still there to be acted on."""
    attempt = account.attempts.get(key)
    return attempt is not None and stands(account, attempt.action)


def _is_refused(account: Account) -> bool:
    """Whether orders that were cancelled still work."""
    return any(order_id in account.orders for order_id in account.outlived)


def _is_clear(account: Account) -> bool:
    return account.is_flat and not account.orders


def ended_meanwhile(state: State, open_subjects: Iterable[str]) -> Iterator[Ended]:
    """Yield the matters of an earlier run that do not stand any more.

    To be asked once every account has been read.
    """
    locks = {lock_subject(x) for a in state.accounts.values() for x in a.locks.values()}
    issues = [issue for issue in state.health_issues.values() if issue.stands]
    standing = {health_subject(i.account_id, about(i.kind, i.subject)) for i in issues}
    matters = {about(issue.kind, issue.subject) for issue in issues}
    for subject in open_subjects:
        gone = (subject.startswith(LOCK) and subject not in locks) or (
            subject.startswith(HEALTH)
            and subject not in standing
            and subject.split(":", 2)[2] not in matters
        )
        if gone:
            yield Ended(subject=subject, at=state.now, text=_MEANWHILE)


_MEANWHILE = "it had ended when the daemon started"


def exposed(state: State) -> list[str]:
    """The names of the accounts that hold something."""
    return [label(state, a.id) for a in state.accounts.values() if not a.is_flat]
