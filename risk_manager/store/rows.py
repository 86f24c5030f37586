"""Values of the domain as database rows, and back."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from risk_manager.domain.account import Account, Breach, Closing, Mark
from risk_manager.domain.decisions import Severity
from risk_manager.domain.executions import Execution, TradeKey
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.ledger import DayTotals, Ledger
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType, PositionType
from risk_manager.domain.symbols import Contract
from risk_manager.store.audit import canonical

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC, exact."""
    return (at - _EPOCH) // _MICROSECOND


def maybe_micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def instant(stored: int) -> datetime:
    """The aware UTC time of a stored one."""
    return _EPOCH + timedelta(microseconds=stored)


def maybe_instant(stored: int | None) -> datetime | None:
    return None if stored is None else instant(stored)


def text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def decimal(stored: str | None) -> Decimal | None:
    return None if stored is None else Decimal(stored)


def flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def maybe_bool(stored: int | None) -> bool | None:
    return None if stored is None else bool(stored)


def weekday_before(day: date) -> date:
    """Return the trading date before, whose closing trades may still matter today."""
    day -= timedelta(days=1)
    while day.weekday() >= 5:
        day -= timedelta(days=1)
    return day


def plain(value: Any) -> dict[str, Any]:
    """A value's fields and the name of its type, as far down as JSON can show the rest."""
    kind: Any = type(value)
    return {"is": kind.__name__, **{name: getattr(value, name) for name in _field_names(kind)}}


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


# --- account --------------------------------------------------------------------------------------

PUT_ACCOUNT = """
INSERT OR REPLACE INTO accounts (account_id, name, balance, can_trade, can_trade_since, simulated,
    reported_at, failed_rules, next_episode, next_action)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def account_row(a: Account) -> Row:
    return (
        a.id,
        a.name,
        text(a.balance),
        flag(a.can_trade),
        maybe_micros(a.can_trade_since),
        flag(a.simulated),
        maybe_micros(a.reported_at),
        canonical(sorted(a.failed_rules)),
        a.next_episode,
        a.next_action,
    )


# --- positions and orders -------------------------------------------------------------------------

PUT_POSITION = """
INSERT OR REPLACE INTO positions (account_id, id, contract_id, type, size, average_price,
    created_at, updated_at, episode, opened_at, increased_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
DROP_POSITION = "DELETE FROM positions WHERE account_id = ? AND contract_id = ?"
GET_POSITIONS = """
SELECT id, contract_id, type, size, average_price, created_at, episode, opened_at, increased_at
FROM positions WHERE account_id = ? ORDER BY episode"""


def position_row(account_id: int, p: Position, now: datetime) -> Row:
    kind = PositionType.UNDEFINED
    if p.sided:
        kind = PositionType.LONG if p.net > 0 else PositionType.SHORT
    return (
        account_id,
        p.gateway_id,
        p.contract_id,
        int(kind),
        p.size,
        text(p.average_price),
        maybe_micros(p.created_at),
        micros(now),
        p.episode,
        micros(p.opened_at),
        micros(p.increased_at),
    )


def position_of(row: Row) -> Position:
    gateway_id, contract_id, kind, size, average, created, episode, opened, increased = row
    return Position(
        contract_id=contract_id,
        net=-size if kind == PositionType.SHORT else size,
        sided=kind != PositionType.UNDEFINED,
        episode=episode,
        opened_at=instant(opened),
        increased_at=instant(increased),
        average_price=decimal(average),
        created_at=maybe_instant(created),
        gateway_id=gateway_id,
    )


PUT_ORDER = """
INSERT OR REPLACE INTO orders (account_id, id, contract_id, type, status, side, size, fill_volume,
    filled_price, limit_price, stop_price, custom_tag, created_at, updated_at, seen_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
DROP_ORDER = "DELETE FROM orders WHERE account_id = ? AND id = ?"
GET_ORDERS = """
SELECT id, contract_id, type, status, side, size, fill_volume, limit_price, stop_price, custom_tag,
    created_at, updated_at, seen_at
FROM orders WHERE account_id = ? ORDER BY seen_at, id"""


def order_row(account_id: int, o: Order, filled_price: Decimal | None) -> Row:
    return (
        account_id,
        o.id,
        o.contract_id,
        int(o.type),
        int(o.status),
        int(o.side),
        o.size,
        o.filled,
        text(filled_price),
        text(o.limit_price),
        text(o.stop_price),
        o.custom_tag,
        maybe_micros(o.created_at),
        maybe_micros(o.updated_at),
        micros(o.seen_at),
    )


def order_of(row: Row) -> Order:
    return Order(
        id=row[0],
        contract_id=row[1],
        type=OrderType(row[2]),
        status=OrderStatus(row[3]),
        side=OrderSide(row[4]),
        size=row[5],
        filled=row[6],
        limit_price=decimal(row[7]),
        stop_price=decimal(row[8]),
        custom_tag=row[9],
        created_at=maybe_instant(row[10]),
        updated_at=maybe_instant(row[11]),
        seen_at=instant(row[12]),
    )


# --- executions -----------------------------------------------------------------------------------

PUT_TRADE = """
INSERT OR REPLACE INTO trades (account_id, trade_id, contract_id, order_id, side, size, price, pnl,
    fees, voided, executed_at, received_at, trading_day, part)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
GET_TRADES = """
SELECT trade_id, contract_id, order_id, side, size, price, pnl, fees, voided, executed_at,
    received_at, trading_day, part
FROM trades WHERE account_id = ? AND trading_day >= ? ORDER BY received_at, trade_id, part"""


# Account by account, and so by an index that exists: by the day alone every trade ever kept would
# be read. The accounts are found there as well, each a step from the one before.
TRADES_SINCE = """account_id IN (
    WITH RECURSIVE traded(id) AS (
        SELECT min(account_id) FROM trades
        UNION ALL
        SELECT (SELECT min(account_id) FROM trades WHERE account_id > id) FROM traded
        WHERE id IS NOT NULL
    )
    SELECT id FROM traded
) AND trading_day >= {}"""
"""Which trades of any account are of this trading day or later."""


def trade_row(account_id: int, e: Execution) -> Row:
    return (
        account_id,
        e.id,
        e.contract_id,
        e.order_id,
        int(e.side),
        e.size,
        str(e.price),
        text(e.pnl),
        str(e.fees),
        int(e.voided),
        micros(e.executed_at),
        micros(e.received_at),
        e.trading_date.isoformat(),
        e.part,
    )


def execution_of(row: Row) -> Execution:
    return Execution(
        id=row[0],
        contract_id=row[1],
        order_id=row[2],
        side=OrderSide(row[3]),
        size=row[4],
        price=Decimal(row[5]),
        pnl=decimal(row[6]),
        fees=Decimal(row[7]),
        voided=bool(row[8]),
        executed_at=instant(row[9]),
        received_at=instant(row[10]),
        trading_date=date.fromisoformat(row[11]),
        part=row[12],
    )


def ledger_of(executions: Iterable[Execution]) -> Ledger:
    """Return the ledger with these executions."""
    entries: dict[TradeKey, Execution] = {}
    totals: dict[date, DayTotals] = {}
    for execution in executions:
        entries[execution.key] = execution
        day = execution.trading_date
        totals[day] = totals.get(day, DayTotals()).plus(execution, +1)
    return Ledger(entries, totals)


# --- locks ----------------------------------------------------------------------------------------

# A lock in force is updated in place; the row of a lock that has ended stays unchanged.
PUT_LOCK = """
INSERT INTO lockouts (account_id, scope, rule_id, kind, policy, release, reason, triggered_by,
    admin_may_clear, set_at, until, trading_date, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account_id, scope, rule_id) WHERE cleared_at IS NULL DO UPDATE SET
    kind = excluded.kind, policy = excluded.policy, release = excluded.release,
    reason = excluded.reason, triggered_by = excluded.triggered_by,
    admin_may_clear = excluded.admin_may_clear, set_at = excluded.set_at, until = excluded.until,
    trading_date = excluded.trading_date, updated_at = excluded.updated_at"""
CLEAR_LOCK = """
UPDATE lockouts SET cleared_at = ?, cleared_by = ?
WHERE account_id = ? AND scope = ? AND rule_id = ? AND cleared_at IS NULL"""
GET_LOCKS = """
SELECT account_id, scope, rule_id, kind, policy, release, reason, triggered_by, admin_may_clear,
    set_at, until, trading_date
FROM lockouts WHERE account_id = ? AND cleared_at IS NULL ORDER BY id"""


GET_LOCKS_BEFORE = GET_LOCKS.replace("account_id = ?", "updated_at < ?")
GET_ALL_LOCKS = GET_LOCKS.replace("account_id = ? AND ", "")


def lock_row(lock: Lock, now: datetime) -> Row:
    return (
        lock.account_id,
        lock.scope,
        lock.rule_id,
        lock.kind.value,
        lock.policy.value,
        lock.release.value,
        lock.reason,
        lock.trigger,
        int(lock.admin_may_clear),
        micros(lock.set_at),
        maybe_micros(lock.expires_at),
        lock.trading_date.isoformat(),
        micros(now),
    )


def lock_of(row: Row) -> Lock:
    return Lock(
        account_id=row[0],
        scope=row[1],
        rule_id=row[2],
        kind=LockKind(row[3]),
        policy=LockPolicy(row[4]),
        release=Release(row[5]),
        reason=row[6],
        trigger=row[7],
        admin_may_clear=bool(row[8]),
        set_at=instant(row[9]),
        expires_at=maybe_instant(row[10]),
        trading_date=date.fromisoformat(row[11]),
    )


def lock_of_plain(stored: Mapping[str, Any]) -> Lock:
    """Rebuild a lock from the JSON form of `plain`. Raises ValueError or KeyError."""
    expires_at = stored["expires_at"]
    return Lock(
        account_id=stored["account_id"],
        scope=stored["scope"],
        rule_id=stored["rule_id"],
        kind=LockKind(stored["kind"]),
        policy=LockPolicy(stored["policy"]),
        release=Release(stored["release"]),
        reason=stored["reason"],
        trigger=stored["trigger"],
        admin_may_clear=bool(stored["admin_may_clear"]),
        set_at=datetime.fromisoformat(stored["set_at"]),
        expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        trading_date=date.fromisoformat(stored["trading_date"]),
    )


PUT_CEILING = "INSERT OR REPLACE INTO ceilings (account_id, contract_id, net) VALUES (?, ?, ?)"
DROP_CEILING = "DELETE FROM ceilings WHERE account_id = ? AND contract_id = ?"


# --- what rules remember --------------------------------------------------------------------------

PUT_MARK = """
INSERT OR REPLACE INTO timers (name, account_id, rule_id, subject, started_at, due_at, payload)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
GET_MARKS = """
SELECT rule_id, subject, started_at, due_at, payload FROM timers
WHERE account_id = ? ORDER BY started_at, name"""


def mark_name(account_id: int, rule_id: str, subject: str) -> str:
    return canonical([account_id, rule_id, subject])


def mark_row(account_id: int, m: Mark) -> Row:
    return (
        mark_name(account_id, m.rule_id, m.subject),
        account_id,
        m.rule_id,
        m.subject,
        micros(m.set_at),
        maybe_micros(m.due_at),
        m.value,
    )


def mark_of(row: Row) -> Mark:
    return Mark(
        rule_id=row[0],
        subject=row[1],
        set_at=instant(row[2]),
        due_at=maybe_instant(row[3]),
        value=row[4],
    )


PUT_BREACH = """
INSERT OR REPLACE INTO breaches (account_id, rule_id, subject, first_at, last_at, count,
    trading_date, severity, active)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
DROP_BREACH = "DELETE FROM breaches WHERE account_id = ? AND rule_id = ? AND subject = ?"
GET_BREACHES = """
SELECT rule_id, subject, first_at, last_at, count, trading_date, severity, active FROM breaches
WHERE account_id = ? ORDER BY first_at, rule_id, subject"""


def breach_row(account_id: int, b: Breach) -> Row:
    return (
        account_id,
        b.rule_id,
        b.subject,
        micros(b.first_at),
        micros(b.last_at),
        b.count,
        b.trading_date.isoformat(),
        b.severity.value,
        int(b.active),
    )


def breach_of(row: Row) -> Breach:
    return Breach(
        rule_id=row[0],
        subject=row[1],
        first_at=instant(row[2]),
        last_at=instant(row[3]),
        count=row[4],
        trading_date=date.fromisoformat(row[5]),
        severity=Severity(row[6]),
        active=bool(row[7]),
    )


PUT_CLOSING = """
INSERT OR REPLACE INTO closings (account_id, contract_id, episode, since, rule_ids, reason,
    order_ids)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
DROP_CLOSING = "DELETE FROM closings WHERE account_id = ? AND contract_id = ?"
GET_CLOSINGS = """
SELECT contract_id, episode, since, rule_ids, reason, order_ids FROM closings
WHERE account_id = ? ORDER BY since, contract_id"""


def closing_row(account_id: int, c: Closing) -> Row:
    return (
        account_id,
        c.contract_id,
        c.episode,
        micros(c.since),
        canonical(c.rule_ids),
        c.reason,
        canonical(sorted(c.order_ids)),
    )


def closing_of(row: Row) -> Closing:
    return Closing(
        contract_id=row[0],
        episode=row[1],
        since=instant(row[2]),
        rule_ids=tuple(json.loads(row[3])),
        reason=row[4],
        order_ids=frozenset(json.loads(row[5])),
    )


# --- contracts ------------------------------------------------------------------------------------

PUT_CONTRACT = """
INSERT OR REPLACE INTO contracts (contract_id, symbol_id, name, tick_size, tick_value, fetched_at)
VALUES (?, ?, ?, ?, ?, ?)"""


def contract_row(c: Contract, now: datetime) -> Row:
    return (c.id, c.symbol_id, c.name, str(c.tick_size), str(c.tick_value), micros(now))


def contract_of(row: Row) -> Contract:
    return Contract(
        id=row[0],
        symbol_id=row[1],
        name=row[2],
        tick_size=Decimal(row[3]),
        tick_value=Decimal(row[4]),
    )


# --- summaries of finished days ---

NOTE_OPEN_EXTREMES = (
    "UPDATE daily_summary SET unrealized_low = ?, unrealized_low_at = ?, unrealized_high = ?,"
    " unrealized_high_at = ? WHERE account_id = ? AND trading_day = ?"
)

# --- sessions of the trader ---

BEGIN_SESSION = (
    "INSERT INTO sessions (account_id, clock_in_at) SELECT ?, ? WHERE NOT EXISTS"
    " (SELECT 1 FROM sessions WHERE account_id = ? AND clock_out_at IS NULL)"
)
END_SESSION = (
    "UPDATE sessions SET clock_out_at = max(?, clock_in_at)"
    " WHERE account_id = ? AND clock_out_at IS NULL"
)
GET_OPEN_SESSIONS = "SELECT account_id, clock_in_at FROM sessions WHERE clock_out_at IS NULL"
