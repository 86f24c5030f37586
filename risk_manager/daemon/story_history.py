"""Answers requests for the story of a trading day, from the database."""

import sqlite3
from dataclasses import replace
from datetime import date

from risk_manager.daemon.earlier_runs import alarm_of, enforcement_of
from risk_manager.daemon.history_rows import day_result, past_lock
from risk_manager.domain.account import Account
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import EnforcementAction, History
from risk_manager.store.reading import EnforcementRow
from risk_manager.store.story_pages import day_story, last_before


def story_of_a_day(
    connection: sqlite3.Connection, request: HistoryRequest, state: State, account: Account
) -> History:
    """Return the trading day that `before` names, or the day in force.

    Raises ValueError for a `before` that is none, and as `enforcement_of` does.
    """
    named, _, rest = (request.before or account.trading_date.isoformat()).partition("/")
    day, calendar = date.fromisoformat(named), state.rulebook.day
    began = calendar.began(day)
    ends = calendar.window(began).ends_at
    found = day_story(connection, account.id, day, began, ends, rest, request.limit)
    under_way = [a.action.id for a in account.attempts.values() if a.in_flight]
    following = f"{named}/{found.next}" if found.next is not None else None
    return History(
        id=request.id,
        kind=request.kind,
        before=request.before,
        next=following or _day_before(connection, account.id, day, calendar),
        enforcements=tuple(_first_told(row, state, under_way) for row in found.enforcements),
        locks=tuple(map(past_lock, found.locks)),
        alarms=tuple(alarm_of(row) for row in found.alarms),
        days=() if found.result is None else (day_result(found.result),),
    )


def _day_before(
    connection: sqlite3.Connection, account_id: int, day: date, calendar: TradingDay
) -> str | None:
    """Return the last trading date before this one of which anything is kept."""
    newest, finished = last_before(connection, account_id, day, calendar.began(day))
    dates = [] if newest is None else [calendar.date_of(newest)]
    dates += [] if finished is None else [finished]
    return max(dates).isoformat() if dates else None


def _first_told(row: EnforcementRow, state: State, under_way: list[str]) -> EnforcementAction:
    """Return an entry; a decision at the instant at which it was first made."""
    entry = enforcement_of(row, state, under_way)
    return replace(entry, timestamp=row.at) if entry.phase == "decided" else entry
