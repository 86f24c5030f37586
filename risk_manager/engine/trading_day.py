"""How the trading day turns and locks end with time. Neither happens by a clock that is ahead."""

from datetime import datetime, timedelta

from risk_manager.domain import fill_attribution
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import DayReset, Fact, LockCleared
from risk_manager.domain.events import HealthIssueChanged
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.health_issue import CLOCK_AHEAD, IssueKind
from risk_manager.domain.locks import Release
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import DayWindow
from risk_manager.engine import data_health, day_results
from risk_manager.engine.accounts import with_account

_ENDED_BY = {Release.RESET: "daily_reset", Release.SESSION_START: "session_start"}


def with_leap(state: State, now: datetime) -> State:
    """Note a forward jump of the clock on every attempt in flight.

    Otherwise the jump would count as waiting time, the attempt would be taken for lost, and it
    would be sent a second time.
    """
    for account in state.accounts.values():
        attempts = {
            key: fast_replace(attempt, leapt_at=now)
            for key, attempt in account.attempts.items()
            if attempt.in_flight
        }
        if attempts:
            counted = fast_replace(account, attempts={**account.attempts, **attempts})
            state = with_account(state, account, counted)
    return state


def is_clock_ahead(state: State) -> bool:
    """Whether our clock is ahead of the gateway's; while it is, no lock and no day ends by it."""
    ahead = state.health_issues.get(CLOCK_AHEAD) if state.health_issues else None
    return ahead is not None and ahead.stands


def is_day_over(state: State, now: datetime) -> bool:
    """Whether a new trading day has begun that no event has started yet."""
    return now >= state.day.ends_at and not is_clock_ahead(state)


def day_in_force(state: State, book: Rulebook) -> DayWindow:
    """Return the trading day in force. It does not turn by a clock that is ahead."""
    last = state.day.ends_at - timedelta.resolution
    return book.day.window(min(state.now, last) if is_clock_ahead(state) else state.now)


def with_day_turned(state: State, facts: list[Fact]) -> State:
    """Return the state with every account in the trading day in force."""
    for account in state.accounts.values():
        if account.trading_date > state.day.date:
            state = _redated(state, account)
        if account.trading_date >= state.day.date:
            continue
        state = _told_redated(state, account, "")
        old = account.trading_date
        totals = account.ledger.day(old)
        cleared = sum(
            lock.release is Release.RESET and lock.trading_date < state.day.date
            for lock in account.locks.values()
        )
        facts.append(
            DayReset(
                at=state.now,
                account_id=account.id,
                old_date=old.isoformat(),
                new_date=state.day.date.isoformat(),
                previous_net=totals.net,
                previous_executions=totals.executions,
                locks_cleared=cleared,
            )
        )
        account = day_results.with_day_ended(account, state)
        turned = fast_replace(
            account,
            trading_date=state.day.date,
            ledger=account.ledger.forget_before(old).carried_over(
                state.rulebook.day, old, state.day.date
            ),
            breaches={
                k: b for k, b in account.breaches.items() if b.active or b.trading_date >= old
            },
        )
        turned = fill_attribution.without_older(turned, state.day.starts_at - timedelta(days=4))
        state = with_account(state, account, turned)
    return state


def _redated(state: State, account: Account) -> State:
    """Date an account back to today if its trading date has not begun; its trades count today."""
    ahead, today = account.trading_date, state.day.date
    ledger = account.ledger
    for execution in ledger.entries.values():
        if execution.trading_date > today:
            ledger = ledger.record(fast_replace(execution, trading_date=today))
    state = with_account(state, account, fast_replace(account, trading_date=today, ledger=ledger))
    return _told_redated(
        state,
        account,
        f"the account was dated {ahead}, which has not begun: a clock was ahead, or the hour of "
        f"the reset was another. It is dated {today} again",
    )


def _told_redated(state: State, account: Account, reason: str) -> State:
    key = (IssueKind.CLOCK_TURNED, account.id, "dated")
    if not reason and key not in state.health_issues:
        return state
    kind, account_id, subject = key
    issue = HealthIssueChanged(
        at=state.now, doubt=kind, account_id=account_id, subject=subject, reason=reason
    )
    return data_health.with_issue(state, issue)


def with_locks_ended(state: State, facts: list[Fact]) -> State:
    """Return the state without the locks that are over by now."""
    if is_clock_ahead(state):
        return state
    for account in state.accounts.values():
        if not account.locks:
            continue
        over = [x for x in account.locks.values() if x.is_over(state.now, state.day.date)]
        if not over:
            continue
        for lock in over:
            by = _ENDED_BY.get(lock.release, "timer_expiry")
            facts.append(LockCleared(at=state.now, lock=lock, cleared_by=by))
        keys = {lock.key for lock in over}
        locks = {k: v for k, v in account.locks.items() if k not in keys}
        state = with_account(state, account, fast_replace(account, locks=locks))
    return state
