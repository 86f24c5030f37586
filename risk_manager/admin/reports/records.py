"""The stored rows that a report rests on, of one account and some trading dates."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from risk_manager.admin.records import database_in
from risk_manager.domain.events import OrderChanged
from risk_manager.domain.executions import Execution
from risk_manager.domain.symbols import Contract
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.store import journal, rows
from risk_manager.store.history_pages import DayRow, LockRow, day_row, lock_row
from risk_manager.store.rows import instant, micros
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader

_TRADES = """
SELECT trade_id, contract_id, order_id, side, size, price, pnl, fees, voided, executed_at,
    received_at, trading_day, part
FROM trades WHERE account_id = ? AND trading_day >= ? AND trading_day <= ? AND voided = 0
ORDER BY received_at, trade_id, part"""
_ENFORCEMENT = """
SELECT log.rule_id, subject, severity, action, reason, outcome, count, at, last_seen, trading_day,
    target_size
FROM enforcement_log AS log LEFT JOIN intents ON intents.id = intent_id
WHERE log.account_id = ? AND trading_day >= ? AND trading_day <= ? ORDER BY at, log.id"""
_LOCKS = """
SELECT id, rule_id, scope, policy, kind, release, reason, set_at, until, cleared_at, cleared_by,
    trading_date
FROM lockouts WHERE account_id = ? AND set_at < ? AND (cleared_at IS NULL OR cleared_at >= ?)
ORDER BY set_at, id"""
_DAYS = """
SELECT trading_day, realized, fees, net, trade_count, end_balance
FROM daily_summary WHERE account_id = ? AND trading_day >= ? AND trading_day <= ?"""
_GAPS = "SELECT new FROM audit WHERE at >= ? AND action = 'was_down' AND target = ? ORDER BY id"
_ORDERS = """
SELECT kind, body FROM journal
WHERE day >= ? AND day <= ? AND kind LIKE 'order_changed%' ORDER BY seq"""
_JOURNALED = "SELECT DISTINCT day FROM journal WHERE day >= ? AND day <= ?"
_CONTRACTS = "SELECT contract_id, symbol_id, name, tick_size, tick_value FROM contracts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision (`action` "decide") or a call to the broker, as logged.

    `keeps`: how many lots a close or reduction leaves; None where that is not stored.
    """

    rule_ids: tuple[str, ...]
    subject: str
    severity: str
    action: str
    reason: str
    outcome: str
    count: int
    at: datetime
    last_seen: datetime
    trading_date: date
    keeps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which nobody guarded. `executions` and `net`: what was traded in it."""

    began_at: datetime
    ended_at: datetime
    clean: bool
    executions: int | None
    net: Decimal | None


@dataclass(frozen=True, kw_only=True)
class Records:
    """`executions` and `orders` reach one trading date further back, for what is held overnight.

    `journaled` are the dates whose events are still stored; of others no order is known. `today` is
    the trading date in force when the daemon last wrote, None where it never did.
    """

    account_id: int
    name: str
    first: date
    last: date
    starts_at: datetime
    ends_at: datetime
    executions: Sequence[Execution] = ()
    entries: Sequence[Entry] = ()
    locks: Sequence[LockRow] = ()
    gaps: Sequence[Gap] = ()
    days: Mapping[date, DayRow]
    orders: Sequence[OrderChanged] = ()
    journaled: frozenset[date] = frozenset()
    contracts: Mapping[str, Contract]
    today: date | None = None

    @property
    def dates(self) -> list[date]:
        """The trading dates of the report."""
        span = ((self.last - self.first).days + 1) if self.last >= self.first else 0
        each = (self.first + timedelta(days=n) for n in range(span))
        return [day for day in each if day.weekday() < 5]

    def symbol(self, contract_id: str) -> str:
        known = self.contracts.get(contract_id)
        return contract_id if known is None or not known.name else known.name


def stored_accounts(data: Path) -> dict[int, str]:
    """Return every account that has rows, with the gateway's name or "". Raises StoreError."""
    with open_reader(database_in(data)) as connection:
        try:
            found = dict(
                connection.execute(
                    "SELECT account_id, '' FROM trades UNION SELECT account_id, '' FROM lockouts"
                    " UNION SELECT account_id, '' FROM daily_summary"
                )
            )
            found |= dict(connection.execute("SELECT account_id, name FROM accounts"))
        except sqlite3.Error as error:
            raise StoreError(f"the accounts cannot be read: {error}") from error
    return dict(sorted(found.items()))


def read_records(
    data: Path, account_id: int, name: str, day: TradingDay, first: date, last: date
) -> Records:
    """Read one account's rows as of one moment, also while the daemon runs. Raises StoreError."""
    starts_at, ends_at = day.began(first), day.window(day.began(last)).ends_at
    dates = (first.isoformat(), last.isoformat())
    with open_reader(database_in(data)) as connection:
        try:
            connection.execute("BEGIN")  # all tables are read as they were at one moment
            before = rows.weekday_before(first).isoformat()
            today = connection.execute(
                "SELECT last_reset_day FROM reset_state WHERE account_id = ?", (account_id,)
            ).fetchone()
            return Records(
                account_id=account_id,
                name=name,
                first=first,
                last=last,
                starts_at=starts_at,
                ends_at=ends_at,
                executions=[
                    rows.execution_of(r)
                    for r in connection.execute(_TRADES, (account_id, before, dates[1]))
                ],
                entries=[_entry(r) for r in connection.execute(_ENFORCEMENT, (account_id, *dates))],
                locks=[
                    lock_row(r)
                    for r in connection.execute(
                        _LOCKS, (account_id, micros(ends_at), micros(starts_at))
                    )
                ],
                gaps=_gaps(connection, account_id, starts_at, ends_at),
                days={
                    row.trading_date: row
                    for row in map(day_row, connection.execute(_DAYS, (account_id, *dates)))
                },
                orders=_orders(connection, account_id, (before, dates[1])),
                journaled=frozenset(
                    date.fromisoformat(r[0]) for r in connection.execute(_JOURNALED, dates)
                ),
                contracts={c.id: c for c in map(rows.contract_of, connection.execute(_CONTRACTS))},
                today=None if today is None else date.fromisoformat(today[0]),
            )
        except (sqlite3.Error, ValueError, KeyError, ArithmeticError) as error:
            raise StoreError(f"the rows of the report cannot be read: {error}") from error


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(
        rule_ids=tuple(filter(None, row[0].split(","))),
        subject=row[1],
        severity=row[2],
        action=row[3],
        reason=row[4],
        outcome=row[5],
        count=row[6],
        at=instant(row[7]),
        last_seen=instant(row[8]),
        trading_date=date.fromisoformat(row[9]),
        keeps=row[10],
    )


def _gaps(
    connection: sqlite3.Connection, account_id: int, starts_at: datetime, ends_at: datetime
) -> list[Gap]:
    found = connection.execute(_GAPS, (micros(starts_at), f"account:{account_id}"))
    gaps = [_gap(json.loads(text)) for (text,) in found if text]
    return [g for g in gaps if g.began_at < ends_at and g.ended_at > starts_at]


def _gap(row: Mapping[str, Any]) -> Gap:
    return Gap(
        began_at=datetime.fromisoformat(row["from"]),
        ended_at=datetime.fromisoformat(row["to"]),
        clean=bool(row["stopped_cleanly"]),
        executions=row.get("executions"),
        net=rows.decimal(row.get("net")),
    )


def _orders(
    connection: sqlite3.Connection, account_id: int, dates: tuple[str, str]
) -> list[OrderChanged]:
    found = []
    for kind, body in connection.execute(_ORDERS, dates):
        with suppress(StoreError):  # an event of another version does not spoil the report
            event = journal.read(kind.removesuffix(journal.GOES_ON), body)
            if isinstance(event, OrderChanged) and event.account_id == account_id:
                found.append(event)
    return found
