"""Which parts of a step's report people outside are told, and in which words. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from risk_manager.alerts.notice import FLICKER, FLICKER_WITH_MONEY, Ended, News, Notice
from risk_manager.domain.decisions import Alarm, DayReset, LockCleared, LockSet, Severity
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.locks import Lock, LockKind, LockPolicy
from risk_manager.domain.money import dollars
from risk_manager.domain.state import State
from risk_manager.engine.report import Report, Result, Settled

LOCK = "lock:"
HEALTH = "health:"
ENFORCEMENT = "enforcement:"

CANNOT = frozenset({"cannot_enforce", "market_shut"})
"""Alarms of an enforcement that does not get on: further stages of the failure itself."""
TITLES = {"was_down": "Nobody guarded for a time"}
ENDED_BY = {"calls_unbraked": "calls_braked"}

_LOCK_GRADES: Mapping[LockKind, Severity] = {
    LockKind.SESSION: Severity.INFO,  # each evening's end of the session is no news
    LockKind.COOLDOWN: Severity.WARNING,
    LockKind.BLOCK: Severity.WARNING,
    LockKind.MANUAL: Severity.WARNING,
    LockKind.HARD: Severity.CRITICAL,
    LockKind.RESTRICTION: Severity.CRITICAL,
}
_POLICIES = {
    LockPolicy.FLAT: "nothing may be open or working",
    LockPolicy.NO_ENTRIES: "no new entries",
}


def label(state: State, account_id: int | None) -> str:
    """Return the name of an account for people outside: its nickname, else its number."""
    account = state.accounts.get(account_id) if account_id is not None else None
    if account is None or account.name in ("", str(account_id)):
        return "every account" if account_id is None else f"account {account_id}"
    return account.name


def lock_subject(lock: Lock) -> str:
    return f"{LOCK}{lock.account_id}:{lock.scope}:{lock.rule_id}"


def health_subject(account_id: int | None, about: str) -> str:
    return f"{HEALTH}{'all' if account_id is None else account_id}:{about}"


def enforcement_subject(account_id: int) -> str:
    return f"{ENFORCEMENT}{account_id}"


def news_of(
    report: Report,
    state: State,
    *,
    open_subjects: Iterable[str] = (),
    with_days: bool = True,
    said: str = "",
) -> Iterator[News]:
    """Yield what a step has begun and ended.

    `open_subjects` are the matters known so far: an alarm may end several of them. `said` is the
    gateway's own word on the call that the step settled.
    """
    for settled in report.settled:
        yield from _settled(settled, state, said)
    days = []
    for fact in report.facts:
        match fact:
            case LockSet():
                yield _locked(fact, state)
            case LockCleared(lock=lock):
                yield Ended(
                    subject=lock_subject(lock),
                    at=fact.at,
                    text=f"the lock has ended ({fact.cleared_by.replace('_', ' ')})",
                )
            case DayReset():
                days.append(fact)
            case Alarm():
                yield from _alarm(fact, state, open_subjects)
    if days and with_days:
        yield _days(days, state)


def _locked(fact: LockSet, state: State) -> Notice:
    lock = fact.lock
    where = "" if lock.scope == "account" else f" {lock.scope.partition(':')[2]}"
    until = (
        f"until {_local(state, lock.expires_at)}"
        if lock.expires_at is not None
        else f"until: {lock.release.value.replace('_', ' ')}"
    )
    return Notice(
        subject=lock_subject(lock),
        at=fact.at,
        severity=_LOCK_GRADES[lock.kind],
        title=f"{label(state, lock.account_id)}{where} locked by {lock.rule_id}",
        text=f"{lock.reason}\n{_POLICIES[lock.policy]}, {until}",
        account_id=lock.account_id,
        is_money=lock.kind is not LockKind.SESSION,
    )


def _settled(settled: Settled, state: State, said: str) -> Iterator[Notice]:
    """Yield a notice for a call that failed, or whose effect nobody knows."""
    if settled.result is Result.CONFIRMED:
        return
    action = settled.call.action
    what = f"{settled.call.kind.replace('_', ' ')} {state.name(action.contract_id)}"
    how = "failed" if settled.result is Result.FAILED else "is not verified"
    answer = said or settled.outcome.value
    yield Notice(
        subject=enforcement_subject(action.account_id),
        at=state.now,
        severity=Severity.CRITICAL,
        title=f"{label(state, action.account_id)}: enforcement {how}",
        text=f"{what} {how} ({answer}), try {settled.call.tries}; it is tried again. "
        f"Reason of the call: {settled.call.reason}",
        account_id=action.account_id,
        is_money=True,
        patience=FLICKER_WITH_MONEY,
    )


def _alarm(alarm: Alarm, state: State, open_subjects: Iterable[str]) -> Iterator[News]:
    if alarm.about:
        yield from _health(alarm, state, open_subjects)
    elif alarm.code in ENDED_BY:
        subject = f"alarm:{alarm.account_id or 'all'}:{ENDED_BY[alarm.code]}"
        yield Ended(subject=subject, at=alarm.at, text=alarm.message)
    elif alarm.code in CANNOT and alarm.account_id is not None:
        yield Notice(
            subject=enforcement_subject(alarm.account_id),
            at=alarm.at,
            severity=Severity.CRITICAL,
            title=f"{label(state, alarm.account_id)}: cannot close or cancel",
            text=alarm.message,
            account_id=alarm.account_id,
            is_money=True,
            stage=1,
        )
    else:
        yield Notice(
            subject=f"alarm:{alarm.account_id or 'all'}:{alarm.code}",
            at=alarm.at,
            severity=alarm.severity,
            title=TITLES.get(alarm.code)
            or f"{label(state, alarm.account_id)}: {alarm.code.replace('_', ' ')}",
            text=alarm.message,
            account_id=alarm.account_id,
            is_money=alarm.severity is Severity.CRITICAL,
            lasts=alarm.code in ENDED_BY.values(),
        )


def _health(alarm: Alarm, state: State, open_subjects: Iterable[str]) -> Iterator[News]:
    if alarm.ends:
        wanted = [health_subject(alarm.account_id, alarm.about)]
        if alarm.account_id is None:
            wanted = [
                subject
                for subject in open_subjects
                if subject.startswith(HEALTH) and subject.split(":", 2)[2] == alarm.about
            ]
        for subject in wanted:
            yield Ended(subject=subject, at=alarm.at, text=alarm.message)
        return
    with_money = alarm.severity is Severity.CRITICAL
    kind = alarm.about.partition(":")[0].replace("_", " ")
    yield Notice(
        subject=health_subject(alarm.account_id, alarm.about),
        at=alarm.at,
        severity=alarm.severity,
        title=f"{label(state, alarm.account_id)}: {kind}"
        + (" while a position is open" if with_money and not _is_missing(alarm) else ""),
        text=alarm.message,
        account_id=alarm.account_id,
        is_money=with_money,
        patience=FLICKER_WITH_MONEY if with_money else FLICKER,
    )


def _is_missing(alarm: Alarm) -> bool:
    """An account that is not in the login is critical without anything known to be open."""
    return alarm.about.startswith(IssueKind.ACCOUNT_MISSING)


def _days(days: list[DayReset], state: State) -> Notice:
    first = days[0]
    lines = [
        f"{label(state, day.account_id)}: net {dollars(day.previous_net)}, "
        f"{day.previous_executions} execution{'' if day.previous_executions == 1 else 's'}, "
        f"{day.locks_cleared} lock{'' if day.locks_cleared == 1 else 's'} ended by the reset"
        for day in days
    ]
    return Notice(
        subject=f"day:{first.old_date}:{','.join(str(day.account_id) for day in days)}",
        at=first.at,
        severity=Severity.INFO,
        title=f"Summary of {first.old_date}",
        text="\n".join(lines),
        account_id=first.account_id if len(days) == 1 else None,
        lasts=False,
    )


def _local(state: State, at: datetime) -> str:
    return f"{at.astimezone(state.rulebook.day.zone):%a %d %b %H:%M %Z}"
