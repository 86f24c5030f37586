"""Pages of what the database keeps of one account, newest first, also of earlier days and runs."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from risk_manager.store.reading import EnforcementRow, enforcement_row
from risk_manager.store.rows import Row, decimal, instant, maybe_instant, micros

_LAST = 2**62

_LOCKS = """
SELECT id, rule_id, scope, policy, kind, release, reason, set_at, until, cleared_at, cleared_by,
    trading_date
FROM lockouts WHERE account_id = ? AND id < ? ORDER BY id DESC LIMIT ?"""

_ENFORCEMENTS = """
SELECT log.id, intent_id, at, last_seen, count, log.account_id, trading_day, log.rule_id,
    subject, severity, action, reason, outcome, details, duration_ms, contract_id, breach
FROM enforcement_log AS log LEFT JOIN intents ON intents.id = intent_id
WHERE log.account_id = ? AND (at, log.id) < (?, ?) ORDER BY at DESC, log.id DESC LIMIT ?"""

_DAYS = """
SELECT trading_day, realized, fees, net, trade_count, end_balance
FROM daily_summary WHERE account_id = ? AND trading_day < ? ORDER BY trading_day DESC LIMIT ?"""

# The index on the instant finds the rows of the day; those of another date in it are left out.
_TOTALS = """
SELECT rule_id, action, severity, outcome, count(*), max(last_seen - at) / 1000.0,
    CASE WHEN action <> 'decide' THEN '' WHEN instr(details, '"kind":"cooldown"') THEN 'pause'
        WHEN instr(details, '"is":"LockOut"') THEN 'lock' ELSE '' END AS locks
FROM enforcement_log WHERE account_id = ? AND at >= ? AND trading_day = ?
GROUP BY rule_id, action, severity, outcome, locks"""


class Page[T](NamedTuple):
    """`next` is the `before` of the page of older rows; None: there are none."""

    rows: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    """`cleared_at` None: the lock is in force."""

    rule_id: str
    scope: str
    policy: str
    kind: str
    release: str
    reason: str
    set_at: datetime
    expires_at: datetime | None
    cleared_at: datetime | None
    cleared_by: str
    trading_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """One finished trading day: `realised` before fees, `net` after them."""

    trading_date: date
    realised: Decimal
    fees: Decimal
    net: Decimal
    executions: int
    end_balance: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementCount:
    """How many entries of a day are alike. `slowest_ms`: the longest from asking to the end."""

    rule_ids: tuple[str, ...]
    action: str  # decide, or the kind of a call
    severity: str
    outcome: str
    count: int
    slowest_ms: float
    locks: str  # lock, pause, or empty: what a decision set


def locks(
    connection: sqlite3.Connection, account_id: int, before: str | None, limit: int
) -> Page[LockRow]:
    """Return locks, the last one set first. Raises ValueError for a `before` that is none."""
    newest = _LAST if before is None else int(before)
    found = connection.execute(_LOCKS, (account_id, newest, limit + 1)).fetchall()
    page = [lock_row(r) for r in found[:limit]]
    return Page(page, str(found[limit - 1][0]) if len(found) > limit else None)


def enforcements(
    connection: sqlite3.Connection, account_id: int, before: str | None, limit: int
) -> Page[EnforcementRow]:
    """Return decisions and calls, the last one made first. Raises ValueError as `locks` does."""
    at, _, number = (before or f"{_LAST}.{_LAST}").partition(".")
    found = connection.execute(
        _ENFORCEMENTS, (account_id, int(at), int(number), limit + 1)
    ).fetchall()
    page = [enforcement_row(r) for r in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return Page(page, None if last is None else f"{last[2]}.{last[0]}")


def days(
    connection: sqlite3.Connection, account_id: int, before: str | None, limit: int
) -> Page[DayRow]:
    """Return finished trading days, the last one first. Raises ValueError as `locks` does."""
    newest = date.max if before is None else date.fromisoformat(before)
    found = connection.execute(_DAYS, (account_id, newest.isoformat(), limit + 1)).fetchall()
    page = [day_row(r) for r in found[:limit]]
    return Page(page, found[limit - 1][0] if len(found) > limit else None)


def enforcement_counts(
    connection: sqlite3.Connection, account_id: int, day: date, began: datetime
) -> list[EnforcementCount]:
    """Count the entries of one trading date, which began at an instant, by what they are."""
    found = connection.execute(_TOTALS, (account_id, micros(began), day.isoformat()))
    return [
        EnforcementCount(
            rule_ids=tuple(filter(None, r[0].split(","))),
            action=r[1],
            severity=r[2],
            outcome=r[3],
            count=r[4],
            slowest_ms=r[5],
            locks=r[6],
        )
        for r in found
    ]


def lock_row(r: Row) -> LockRow:
    """Read one row of the columns above."""
    return LockRow(
        rule_id=r[1],
        scope=r[2],
        policy=r[3],
        kind=r[4],
        release=r[5],
        reason=r[6],
        set_at=instant(r[7]),
        expires_at=maybe_instant(r[8]),
        cleared_at=maybe_instant(r[9]),
        cleared_by=r[10] or "",
        trading_date=date.fromisoformat(r[11]),
    )


def day_row(r: Row) -> DayRow:
    """Read one row of the columns above."""
    return DayRow(
        trading_date=date.fromisoformat(r[0]),
        realised=Decimal(r[1]),
        fees=Decimal(r[2]),
        net=Decimal(r[3]),
        executions=r[4],
        end_balance=decimal(r[5]),
    )
