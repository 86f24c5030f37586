"""Answers the requests of screens: today from the state, what was from the database."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from risk_manager.daemon.day_curves import DayCurves
from risk_manager.daemon.earlier_runs import enforcement_of
from risk_manager.daemon.history_rows import day_result, past_lock
from risk_manager.daemon.story_history import story_of_a_day
from risk_manager.domain.account import Account
from risk_manager.domain.state import State
from risk_manager.feed.day_course import day_course, day_trades
from risk_manager.feed.history_request import HistoryRequest, refused
from risk_manager.feed.messages import (
    DayResult,
    EnforcementAction,
    EnforcementTotals,
    History,
    PastLock,
)
from risk_manager.store import history_pages
from risk_manager.store.history_pages import EnforcementCount
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader


class FeedHistory:
    """A `HistorySource`. The database is read in a thread and by a connection of its own."""

    def __init__(self, database: Path, state: Callable[[], State], curves: DayCurves) -> None:
        self._database = database
        self._state = state
        self._curves = curves

    async def __call__(self, request: HistoryRequest) -> History:
        state = self._state()
        account = state.accounts.get(request.account_id)
        if account is None:
            return refused(request, f"account {request.account_id} is not watched")
        try:
            match request.kind:
                case "day":
                    day = day_course(state, account, self._curves.of(account))
                    return History(id=request.id, kind=request.kind, day=day)
                case "trades":
                    return _trades(request, state, account)
                case "days" | "locks" | "enforcements" | "totals" | "story":
                    return await asyncio.to_thread(self._from_database, request, state, account)
        except StoreError as error:
            return refused(request, str(error))
        except sqlite3.Error as error:
            return refused(request, f"the database cannot answer: {error}")
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            return refused(request, f"this page cannot be read: {type(error).__name__}: {error}")
        return refused(request, f"there is no history of the kind {request.kind!r}")

    def _from_database(self, request: HistoryRequest, state: State, account: Account) -> History:
        where = (request.account_id, request.before, request.limit)
        with open_reader(self._database) as connection:
            match request.kind:
                case "days":
                    days = history_pages.days(connection, *where)
                    return _answer(request, days.next, days=tuple(map(day_result, days.rows)))
                case "locks":
                    locks = history_pages.locks(connection, *where)
                    return _answer(request, locks.next, locks=tuple(map(past_lock, locks.rows)))
                case "enforcements":
                    done = history_pages.enforcements(connection, *where)
                    calls = [a.action.id for a in account.attempts.values() if a.in_flight]
                    told = tuple(enforcement_of(row, state, calls) for row in done.rows)
                    return _answer(request, done.next, enforcements=told)
                case "story":
                    return story_of_a_day(connection, request, state, account)
            counts = history_pages.enforcement_counts(
                connection,
                request.account_id,
                account.trading_date,
                state.rulebook.day.began(account.trading_date),
            )
            return _answer(request, None, totals=tuple(_totals(counts)))


def _answer(
    request: HistoryRequest,
    following: str | None,
    *,
    days: tuple[DayResult, ...] = (),
    locks: tuple[PastLock, ...] = (),
    enforcements: tuple[EnforcementAction, ...] = (),
    totals: tuple[EnforcementTotals, ...] = (),
) -> History:
    return History(
        id=request.id,
        kind=request.kind,
        before=request.before,
        next=following,
        days=days,
        locks=locks,
        enforcements=enforcements,
        totals=totals,
    )


def _trades(request: HistoryRequest, state: State, account: Account) -> History:
    trades = day_trades(state, account)
    start = 0 if request.before is None else int(request.before)
    if start < 0:
        raise ValueError("before is not of a page before")
    ends = start + request.limit
    return History(
        id=request.id,
        kind=request.kind,
        before=request.before,
        next=str(ends) if ends < len(trades) else None,
        trades=tuple(trades[start:ends]),
    )


def _totals(counts: Iterable[EnforcementCount]) -> Iterable[EnforcementTotals]:
    of_rules: dict[tuple[str, ...], list[EnforcementCount]] = {}
    for count in counts:
        of_rules.setdefault(count.rule_ids, []).append(count)
    for rule_ids, alike in sorted(of_rules.items()):
        calls = [c for c in alike if c.action != "decide"]
        done = [c for c in calls if c.outcome == "confirmed"]
        grave = [c for c in alike if c.action == "decide" and c.severity in ("breach", "critical")]
        acted = [c for c in grave if c.outcome != "shadowed"]
        yield EnforcementTotals(
            rule_ids=rule_ids,
            breaches=_count(acted),
            locks=_count(c for c in acted if c.locks == "lock"),
            pauses=_count(c for c in acted if c.locks == "pause"),
            shadowed=_count(c for c in grave if c.outcome == "shadowed"),
            closes=_count(c for c in done if c.action in ("close_position", "reduce_position")),
            cancels=_count(c for c in done if c.action == "cancel_order"),
            stops=_count(c for c in done if c.action in ("place_exit", "move_stop")),
            failed=_count(c for c in calls if c.outcome == "failed"),
            uncertain=_count(c for c in calls if c.outcome in ("uncertain", "lost")),
            slowest_ms=max((c.slowest_ms for c in done), default=None),
        )


def _count(counts: Iterable[EnforcementCount]) -> int:
    return sum(c.count for c in counts)
