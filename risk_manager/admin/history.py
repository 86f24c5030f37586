"""Stored trades, enforcements, locks and days, for an administrator to read or export."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

from risk_manager.admin.records import database_in
from risk_manager.domain.scope import scope_name
from risk_manager.store.rows import decimal, instant, maybe_instant
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows: of one account or all, from and to these trading dates, the newest `limit`."""

    account_id: int | None = None
    first: date | None = None
    last: date | None = None
    limit: int | None = None


def read_history(data: Path, kind: str, wanted: Wanted) -> list[Row]:
    """Return rows of one kind of `KINDS`, oldest first. Raises StoreError."""
    sql, make = KINDS[kind]
    parameters = {
        "account": wanted.account_id,
        "first": None if wanted.first is None else wanted.first.isoformat(),
        "last": None if wanted.last is None else wanted.last.isoformat(),
        "limit": -1 if wanted.limit is None else wanted.limit,
    }
    with open_reader(database_in(data)) as connection:
        try:
            names = _names(connection)
            found = connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the history cannot be read: {error}") from error
    return [make(row, names) for row in reversed(found)]


def account_names(data: Path) -> dict[int, str]:
    """Return the accounts the database knows, with the gateway's names. Raises StoreError."""
    with open_reader(database_in(data)) as connection:
        try:
            return dict(connection.execute("SELECT account_id, name FROM accounts").fetchall())
        except sqlite3.Error as error:
            raise StoreError(f"the accounts cannot be read: {error}") from error


def _names(connection: sqlite3.Connection) -> Mapping[str, str]:
    return dict(connection.execute("SELECT contract_id, name FROM contracts").fetchall())


_TRADES = """
SELECT executed_at, account_id, trade_id, order_id, contract_id, side, size, price, pnl, fees,
    commissions, voided, trading_day
FROM trades
WHERE (:account IS NULL OR account_id = :account) AND (:first IS NULL OR trading_day >= :first)
    AND (:last IS NULL OR trading_day <= :last)
ORDER BY executed_at DESC, trade_id DESC, part DESC LIMIT :limit"""


def _trade(row: tuple[Any, ...], names: Mapping[str, str]) -> Row:
    pnl, fees, commissions = decimal(row[8]), Decimal(row[9]), decimal(row[10])
    costs = fees + (commissions or 0)
    return {
        "at": instant(row[0]),
        "trading_day": row[12],
        "account_id": row[1],
        "trade_id": row[2],
        "order_id": row[3],
        "symbol": names.get(row[4], row[4]),
        "side": "buy" if row[5] == 0 else "sell",
        "size": row[6],
        "price": Decimal(row[7]),
        "costs": costs,
        "pnl": pnl,
        "net": None if pnl is None else pnl - costs,
        "voided": bool(row[11]),
    }


_ENFORCEMENT = """
SELECT at, last_seen, count, account_id, trading_day, rule_id, subject, severity, action, reason,
    outcome, duration_ms
FROM enforcement_log
WHERE (:account IS NULL OR account_id = :account) AND (:first IS NULL OR trading_day >= :first)
    AND (:last IS NULL OR trading_day <= :last)
ORDER BY at DESC, id DESC LIMIT :limit"""


def _enforcement(row: tuple[Any, ...], names: Mapping[str, str]) -> Row:
    return {
        "at": instant(row[0]),
        "last_seen": instant(row[1]),
        "trading_day": row[4],
        "account_id": row[3],
        "rule_id": row[5],
        "subject": names.get(row[6], row[6]),
        "severity": row[7],
        "action": row[8],
        "reason": row[9],
        "outcome": row[10],
        "count": row[2],
        "duration_ms": row[11],
    }


_LOCKOUTS = """
SELECT set_at, account_id, scope, rule_id, policy, release, reason, until, cleared_at, cleared_by,
    trading_date
FROM lockouts
WHERE (:account IS NULL OR account_id = :account) AND (:first IS NULL OR trading_date >= :first)
    AND (:last IS NULL OR trading_date <= :last)
ORDER BY set_at DESC, id DESC LIMIT :limit"""


def _lockout(row: tuple[Any, ...], names: Mapping[str, str]) -> Row:
    name = scope_name(row[2])
    return {
        "at": instant(row[0]),
        "trading_day": row[10],
        "account_id": row[1],
        "scope": names.get(name, name) or "account",
        "rule_id": row[3],
        "policy": row[4],
        "release": row[5],
        "reason": row[6],
        "until": maybe_instant(row[7]),
        "ended_at": maybe_instant(row[8]),
        "ended_by": row[9],
    }


_DAYS = """
SELECT trading_day, account_id, trade_count, realized, fees, net, unrealized_low,
    unrealized_high, unrealized_at_reset, start_balance, end_balance
FROM daily_summary
WHERE (:account IS NULL OR account_id = :account) AND (:first IS NULL OR trading_day >= :first)
    AND (:last IS NULL OR trading_day <= :last)
ORDER BY trading_day DESC, account_id DESC LIMIT :limit"""


def _day(row: tuple[Any, ...], _: Mapping[str, str]) -> Row:
    return {
        "trading_day": row[0],
        "account_id": row[1],
        "trades": row[2],
        "realized": Decimal(row[3]),
        "costs": Decimal(row[4]),
        "net": Decimal(row[5]),
        "unrealized_low": decimal(row[6]),
        "unrealized_high": decimal(row[7]),
        "unrealized_at_reset": decimal(row[8]),
        "start_balance": decimal(row[9]),
        "end_balance": decimal(row[10]),
    }


_Make = Callable[[tuple[Any, ...], Mapping[str, str]], Row]
KINDS: Mapping[str, tuple[str, _Make]] = MappingProxyType(
    {
        "trades": (_TRADES, _trade),
        "enforcement": (_ENFORCEMENT, _enforcement),
        "lockouts": (_LOCKOUTS, _lockout),
        "days": (_DAYS, _day),
    }
)
