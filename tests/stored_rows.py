"""Questions of tests to an open store: its histories, and whether anything waits to be written."""

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from risk_manager.domain.executions import Execution
from risk_manager.domain.locks import Lock
from risk_manager.store import reading, rows
from risk_manager.store.reading import AuditRow, EnforcementRow
from risk_manager.store.rows import decimal, instant, maybe_instant
from risk_manager.store.store import Store


async def settled(store: Store) -> bool:
    """Wait for the write under way; True when nothing is left to write."""
    if store.backlog.writing is not None:
        await asyncio.wait({store.backlog.writing})
    return not store.backlog.has_work


async def enforcement(
    store: Store, account_id: int | None = None, limit: int = 50
) -> list[EnforcementRow]:
    found = await store.look_up(lambda c: reading.enforcement(c, limit))
    return [row for row in found if account_id in (None, row.account_id)]


async def audit_tail(store: Store, limit: int = 50) -> list[AuditRow]:
    return await store.look_up(lambda c: reading.audit_tail(c, limit))


async def lock_history(
    store: Store, account_id: int | None = None, limit: int = 50
) -> "list[LockRow]":
    return await store.look_up(lambda c: _lock_history(c, account_id, limit))


async def trades(store: Store, account_id: int, trading_day: date) -> list[Execution]:
    return await store.look_up(lambda c: _trades(c, account_id, trading_day))


async def daily_summaries(store: Store, account_id: int, limit: int = 30) -> "list[DayRow]":
    return await store.look_up(lambda c: _daily_summaries(c, account_id, limit))


async def connection_history(store: Store, limit: int = 50) -> "list[ConnectionRow]":
    return await store.look_up(lambda c: _connection_history(c, limit))


# --- the tables -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    """A lock and how it ended; `cleared_at` None: in force."""

    id: int
    lock: Lock
    updated_at: datetime
    cleared_at: datetime | None
    cleared_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """A finished trading day. `realized` before fees, `net` after."""

    account_id: int
    trading_day: date
    realized: Decimal
    fees: Decimal
    net: Decimal
    trade_count: int
    start_balance: Decimal | None
    end_balance: Decimal | None
    unrealized_at_reset: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    id: int
    at: datetime
    hub: str
    from_state: str | None
    to_state: str
    reason: str


def _lock_history(
    connection: sqlite3.Connection, account_id: int | None, limit: int
) -> list[LockRow]:
    """Locks, newest first, ended ones included."""
    found = connection.execute(
        "SELECT id, updated_at, cleared_at, cleared_by, account_id, scope, rule_id, kind, policy,"
        " release, reason, triggered_by, admin_may_clear, set_at, until, trading_date"
        " FROM lockouts WHERE :account IS NULL OR account_id = :account"
        " ORDER BY set_at DESC, id DESC LIMIT :limit",
        {"account": account_id, "limit": limit},
    )
    return [
        LockRow(
            id=r[0],
            updated_at=instant(r[1]),
            cleared_at=maybe_instant(r[2]),
            cleared_by=r[3],
            lock=rows.lock_of(r[4:]),
        )
        for r in found
    ]


def _trades(connection: sqlite3.Connection, account_id: int, trading_day: date) -> list[Execution]:
    """The executions of one trading day, voided ones included, oldest first."""
    found = connection.execute(
        "SELECT trade_id, contract_id, order_id, side, size, price, pnl, fees, voided,"
        " executed_at, received_at, trading_day, part FROM trades"
        " WHERE account_id = ? AND trading_day = ? ORDER BY executed_at, trade_id, part",
        (account_id, trading_day.isoformat()),
    )
    return [rows.execution_of(r) for r in found]


def _daily_summaries(connection: sqlite3.Connection, account_id: int, limit: int) -> list[DayRow]:
    """Finished trading days, newest first."""
    found = connection.execute(
        "SELECT account_id, trading_day, realized, fees, net, trade_count, start_balance,"
        " end_balance, unrealized_at_reset FROM daily_summary"
        " WHERE account_id = ? ORDER BY trading_day DESC LIMIT ?",
        (account_id, limit),
    )
    return [
        DayRow(
            account_id=r[0],
            trading_day=date.fromisoformat(r[1]),
            realized=Decimal(r[2]),
            fees=Decimal(r[3]),
            net=Decimal(r[4]),
            trade_count=r[5],
            start_balance=decimal(r[6]),
            end_balance=decimal(r[7]),
            unrealized_at_reset=decimal(r[8]),
        )
        for r in found
    ]


def _connection_history(connection: sqlite3.Connection, limit: int) -> list[ConnectionRow]:
    """How the hubs came and went, newest first."""
    found = connection.execute(
        "SELECT id, at, hub, from_state, to_state, reason FROM connection_log"
        " ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        ConnectionRow(
            id=r[0], at=instant(r[1]), hub=r[2], from_state=r[3], to_state=r[4], reason=r[5]
        )
        for r in found
    ]
