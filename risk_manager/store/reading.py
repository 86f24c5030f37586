"""Queries for other parts: rows as plain values, with aware times and exact money."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from risk_manager.domain.account import Account, Breach, Mark
from risk_manager.domain.call_brake import Brake
from risk_manager.domain.locks import Lock, Release
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.accounts import with_account
from risk_manager.engine.stated_positions import revalued
from risk_manager.store import audit, rows
from risk_manager.store.rows import Row, decimal, instant, maybe_bool, maybe_instant

BRAKE_READ_BACK = timedelta(hours=1)
LOOKED_THROUGH = 10_000
"""How many of the newest rows of a table are searched for events to show after a start."""

_ENFORCEMENT = """
WITH newest AS (
    SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY last_seen DESC, id DESC) AS place
    FROM enforcement_log WHERE id > (SELECT max(id) FROM enforcement_log) - ?
)
SELECT newest.id, intent_id, at, last_seen, count, newest.account_id, trading_day, newest.rule_id,
    subject, severity, action, reason, outcome, details, duration_ms, contract_id, breach
FROM newest LEFT JOIN intents ON intents.id = intent_id
WHERE place <= ? ORDER BY last_seen DESC, newest.id DESC"""

_LAST_JUDGED = f"""
SELECT max(at), (SELECT max(last_reset_day) FROM reset_state) FROM (
    SELECT max(started_at) AS at FROM timers
    UNION ALL SELECT max(last_at) FROM breaches
    UNION ALL SELECT max(since) FROM closings
    UNION ALL SELECT max(increased_at) FROM positions
    UNION ALL SELECT max(set_at) FROM lockouts WHERE cleared_at IS NULL
    UNION ALL SELECT max(received_at) FROM trades
    WHERE {rows.TRADES_SINCE.format("(SELECT max(last_reset_day) FROM reset_state)")}
)"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementRow:
    """A decision (`action` "decide") or a call. `duration_ms` None: the call has not ended.

    `contract_id` and `asked` (the stored action) are set for a call whose intent is still stored.
    """

    id: int
    intent_id: str | None
    at: datetime
    last_seen: datetime
    count: int
    account_id: int
    trading_day: date
    rule_id: str
    subject: str
    severity: str
    action: str
    reason: str
    outcome: str
    details: Mapping[str, Any]
    duration_ms: float | None
    contract_id: str | None
    asked: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    id: int
    at: datetime
    actor: str
    action: str
    target: str
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    ok: bool
    hash: str


def enforcement(connection: sqlite3.Connection, each: int = 50) -> list[EnforcementRow]:
    """Return the newest decisions and calls of each account, the most recently updated first.

    Only recent rows are searched.
    """
    found = connection.execute(_ENFORCEMENT, (LOOKED_THROUGH, each))
    return [enforcement_row(r) for r in found]


def enforcement_row(r: Row) -> EnforcementRow:
    """Read one row of the columns above. Raises ValueError or KeyError for one that is not ours."""
    return EnforcementRow(
        id=r[0],
        intent_id=r[1],
        at=instant(r[2]),
        last_seen=instant(r[3]),
        count=r[4],
        account_id=r[5],
        trading_day=date.fromisoformat(r[6]),
        rule_id=r[7],
        subject=r[8],
        severity=r[9],
        action=r[10],
        reason=r[11],
        outcome=r[12],
        details=json.loads(r[13]),
        duration_ms=r[14],
        contract_id=r[15],
        asked={} if r[16] is None else json.loads(r[16])["action"],
    )


def audit_tail(connection: sqlite3.Connection, limit: int = 50) -> list[AuditRow]:
    """The newest audit rows, newest first."""
    return audit_rows(connection, " ORDER BY id DESC LIMIT ?", (limit,))


def audit_rows(connection: sqlite3.Connection, which: str, values: Row) -> list[AuditRow]:
    """Return the rows of the audit that a clause of ours picks."""
    found = connection.execute(
        f"SELECT id, at, actor, action, target, old, new, ok, hash FROM audit{which}",  # noqa: S608
        values,
    )
    return [
        AuditRow(
            id=r[0],
            at=instant(r[1]),
            actor=r[2],
            action=r[3],
            target=r[4],
            old=None if r[5] is None else json.loads(r[5]),
            new=None if r[6] is None else json.loads(r[6]),
            ok=bool(r[7]),
            hash=r[8],
        )
        for r in found
    ]


def alarms(connection: sqlite3.Connection, limit: int = 50) -> list[AuditRow]:
    """The newest alarms among the recent audit rows, newest first."""
    head = audit.head_of(connection)
    return audit_rows(
        connection,
        " WHERE id > ? AND action >= 'alarm.' AND action < 'alarm/' ORDER BY id DESC LIMIT ?",
        (head.seq - LOOKED_THROUGH, limit),
    )


# --- the state of the last run --------------------------------------------------------------------


def state(
    connection: sqlite3.Connection,
    rulebook: Rulebook,
    now: datetime,
    only: frozenset[int] | None = None,
) -> State:
    """Return the state as last written, with nothing in flight and nothing heard from the stream.

    Each account keeps its old trading date, so that the first event notices a missed reset.
    """
    contracts = {
        c.id: c
        for c in map(
            rows.contract_of,
            connection.execute(
                "SELECT contract_id, symbol_id, name, tick_size, tick_value FROM contracts"
            ),
        )
    }
    found = replace(State.at(now, rulebook), contracts=contracts)
    for row in connection.execute(
        "SELECT account_id, name, balance, can_trade, can_trade_since, simulated, reported_at,"
        " failed_rules, next_episode, next_action, last_reset_day"
        " FROM accounts JOIN reset_state USING (account_id) ORDER BY account_id"
    ).fetchall():
        if only is None or row[0] in only:
            found = with_account(found, None, _account(connection, row, found))
    # A lock stays in force even if nothing else is stored for its account.
    for (account_id,) in connection.execute(
        "SELECT DISTINCT account_id FROM lockouts WHERE cleared_at IS NULL ORDER BY account_id"
    ).fetchall():
        if account_id not in found.accounts and (only is None or account_id in only):
            locks = {lock.key: lock for lock in locks_in_force(connection, account_id)}
            since = (x.trading_date for x in locks.values() if x.release is Release.RESET)
            account = Account(
                id=account_id,
                # The old date lets a missed reset still end the locks that it must end.
                trading_date=min([found.day.date, *since]),
                next_action=_last_action(connection, account_id) + 1,
                brake=_brake(connection, account_id, found),
                locks=locks,
            )
            found = with_account(found, None, account)
    return found


def last_judged(connection: sqlite3.Connection) -> tuple[datetime | None, date | None]:
    """Return the latest instant that pauses are measured from, and the latest trading date.

    Only sealed rows count.
    """
    newest, day = connection.execute(_LAST_JUDGED).fetchone()
    return maybe_instant(newest), None if day is None else date.fromisoformat(day)


def locks_in_force(connection: sqlite3.Connection, account_id: int) -> list[Lock]:
    """Return the locks in force of one account, oldest first."""
    return [rows.lock_of(r) for r in connection.execute(rows.GET_LOCKS, (account_id,))]


def _account(connection: sqlite3.Connection, row: Row, found: State) -> Account:
    account_id: int = row[0]
    trading_date = date.fromisoformat(row[10])

    def all_of[T](sql: str, make: Callable[[Row], T]) -> list[T]:
        return [make(r) for r in connection.execute(sql, (account_id,))]

    positions = [
        revalued(p, found.contracts.get(p.contract_id))
        for p in all_of(rows.GET_POSITIONS, rows.position_of)
    ]
    executions = [
        rows.execution_of(r)
        for r in connection.execute(
            rows.GET_TRADES, (account_id, rows.weekday_before(trading_date).isoformat())
        )
    ]
    marks: list[Mark] = all_of(rows.GET_MARKS, rows.mark_of)
    breaches: list[Breach] = all_of(rows.GET_BREACHES, rows.breach_of)
    locks = locks_in_force(connection, account_id)
    return Account(
        id=account_id,
        trading_date=trading_date,
        name=row[1],
        balance=decimal(row[2]),
        can_trade=maybe_bool(row[3]),
        can_trade_since=maybe_instant(row[4]),
        simulated=maybe_bool(row[5]),
        reported_at=maybe_instant(row[6]),
        failed_rules=frozenset(json.loads(row[7])),
        next_episode=row[8],
        next_action=max(row[9], _last_action(connection, account_id) + 1),
        positions={p.contract_id: p for p in positions},
        orders={o.id: o for o in all_of(rows.GET_ORDERS, rows.order_of)},
        ledger=rows.ledger_of(executions),
        locks={lock.key: lock for lock in locks},
        ceilings=dict(
            connection.execute(
                "SELECT contract_id, net FROM ceilings WHERE account_id = ?", (account_id,)
            ).fetchall()
        ),
        marks={(m.rule_id, m.subject): m for m in marks},
        breaches={(b.rule_id, b.subject): b for b in breaches},
        closings={c.contract_id: c for c in all_of(rows.GET_CLOSINGS, rows.closing_of)},
        brake=_brake(connection, account_id, found),
    )


def _brake(connection: sqlite3.Connection, account_id: int, found: State) -> Brake:
    """Rebuild the call brake, so that repeated restarts allow no more calls than one long run.

    A brake that has been on for longer than the period read here comes off.
    """
    lately = connection.execute(
        "SELECT created_at FROM intents WHERE account_id = ? AND created_at BETWEEN ? AND ?",
        (account_id, rows.micros(found.now - BRAKE_READ_BACK), rows.micros(found.now)),
    )
    limit = found.rulebook.defaults.max_calls_a_minute
    return Brake.taken_up((instant(r[0]) for r in lately), found.now, limit)


def _last_action(connection: sqlite3.Connection, account_id: int) -> int:
    found = connection.execute(
        "SELECT id FROM intents WHERE account_id = ? ORDER BY created_at DESC LIMIT 100",
        (account_id,),
    )
    numbers = [r[0].rpartition("-")[2] for r in found]
    return max((int(n) for n in numbers if n.isdecimal()), default=0)


def open_sessions(connection: sqlite3.Connection) -> dict[int, datetime]:
    """Return since when the trader is clocked in, by account."""
    return {account: instant(at) for account, at in connection.execute(rows.GET_OPEN_SESSIONS)}
