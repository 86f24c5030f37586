"""One trading day of one account as the database keeps it: decisions, calls, locks and alarms."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from risk_manager.store.history_pages import DayRow, LockRow, day_row, lock_row
from risk_manager.store.reading import AuditRow, EnforcementRow, audit_rows, enforcement_row
from risk_manager.store.rows import instant, micros

_ENFORCEMENTS = """
SELECT log.id, intent_id, at, last_seen, count, log.account_id, trading_day, log.rule_id,
    subject, severity, action, reason, outcome, details, duration_ms, contract_id, breach
FROM enforcement_log AS log LEFT JOIN intents ON intents.id = intent_id
WHERE log.account_id = ? AND at >= ? AND (at, log.id) < (?, ?)
ORDER BY at DESC, log.id DESC LIMIT ?"""

_LOCKS = """
SELECT id, rule_id, scope, policy, kind, release, reason, set_at, until, cleared_at, cleared_by,
    trading_date
FROM lockouts WHERE account_id = ? AND set_at >= ? AND set_at < ? ORDER BY set_at DESC LIMIT ?"""

_ALARMS = """
WHERE at >= ? AND at < ? AND action >= 'alarm.' AND action < 'alarm/'
    AND (target = ? OR target NOT LIKE 'account:%') ORDER BY id DESC LIMIT ?"""

_DAY = """
SELECT trading_day, realized, fees, net, trade_count, end_balance
FROM daily_summary WHERE account_id = ? AND trading_day = ?"""

_NEWEST_BEFORE = """
SELECT max(at) FROM (
    SELECT max(at) AS at FROM enforcement_log WHERE account_id = ? AND at < ?
    UNION ALL SELECT max(set_at) FROM lockouts WHERE account_id = ? AND set_at < ?
)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStory:
    """`next` is where the older decisions and calls of the day go on; None: these are all."""

    enforcements: Sequence[EnforcementRow]
    locks: Sequence[LockRow]
    alarms: Sequence[AuditRow]
    result: DayRow | None
    next: str | None


def day_story(
    connection: sqlite3.Connection,
    account_id: int,
    day: date,
    began: datetime,
    ends: datetime,
    before: str,
    limit: int,
) -> DayStory:
    """Return what happened in a trading day, newest first.

    `before` is the `next` of the page before, or empty for the whole day; locks, alarms and the
    day's result are on its first page. Raises ValueError for a `before` that is none.
    """
    at, _, number = (before or f"{micros(ends)}.0").partition(".")
    found = connection.execute(
        _ENFORCEMENTS, (account_id, micros(began), int(at), int(number), limit + 1)
    ).fetchall()
    last = found[limit - 1] if len(found) > limit else None
    rest = None if last is None else f"{last[2]}.{last[0]}"
    enforcements = [enforcement_row(r) for r in found[:limit]]
    if before:
        return DayStory(enforcements=enforcements, locks=(), alarms=(), result=None, next=rest)
    span = (micros(began), micros(ends))
    locks = connection.execute(_LOCKS, (account_id, *span, limit))
    alarms = audit_rows(connection, _ALARMS, (*span, f"account:{account_id}", limit))
    result = connection.execute(_DAY, (account_id, day.isoformat())).fetchone()
    return DayStory(
        enforcements=enforcements,
        locks=[lock_row(r) for r in locks],
        alarms=alarms,
        result=None if result is None else day_row(result),
        next=rest,
    )


def last_before(
    connection: sqlite3.Connection, account_id: int, day: date, began: datetime
) -> tuple[datetime | None, date | None]:
    """Return when the newest entry before a trading day was made, and the last day finished."""
    newest = connection.execute(_NEWEST_BEFORE, (account_id, micros(began)) * 2).fetchone()[0]
    finished = connection.execute(
        "SELECT max(trading_day) FROM daily_summary WHERE account_id = ? AND trading_day < ?",
        (account_id, day.isoformat()),
    ).fetchone()[0]
    return (
        None if newest is None else instant(newest),
        None if finished is None else date.fromisoformat(finished),
    )
