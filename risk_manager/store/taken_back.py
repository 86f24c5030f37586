"""Puts locks back in force that ended too early, by a clock that was ahead."""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from risk_manager.domain.locks import Lock, Release
from risk_manager.store import rows
from risk_manager.store.lock_sources import write_back
from risk_manager.store.rows import instant, micros
from risk_manager.store.writer import Writer

BY_THE_CLOCK = ("daily_reset", "timer_expiry", "session_start")
TAKEN_BACK = "taken_back"

_ENDED_LATER = """
SELECT id, cleared_by, account_id, scope, rule_id, kind, policy, release, reason, triggered_by,
    admin_may_clear, set_at, until, trading_date
FROM lockouts WHERE cleared_at > ? AND cleared_by <> ? ORDER BY id"""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The locks in force now, and the accounts whose day was turned at a future instant."""

    in_force: tuple[Lock, ...]
    turned_at: Mapping[int, datetime]


def take_back(
    connection: sqlite3.Connection,
    writer: Writer,
    now: datetime,
    today: date,
    also: Iterable[Lock] = (),
) -> TakenBack:
    """Put back locks that ended at a future instant. To be run inside `Writer.once`.

    `also` are locks in force at another gateway, which must hold here as well.
    """
    for lock in also:
        if not lock.is_over(now, today):
            _put_back(connection, writer, lock, now)
    for number, cleared_by, *row in connection.execute(
        _ENDED_LATER, (micros(now), TAKEN_BACK)
    ).fetchall():
        lock = rows.lock_of(tuple(row))
        if cleared_by in BY_THE_CLOCK or _was_too_early_by_hand(lock, cleared_by, today):
            _put_back(connection, writer, lock, now)
            connection.execute(
                "UPDATE lockouts SET cleared_by = ? WHERE id = ?", (TAKEN_BACK, number)
            )
    turned = connection.execute(
        "SELECT account_id, last_reset_at FROM reset_state WHERE last_reset_at > ?", (micros(now),)
    )
    return TakenBack(
        in_force=tuple(rows.lock_of(r) for r in connection.execute(rows.GET_ALL_LOCKS)),
        turned_at={account_id: instant(at) for account_id, at in turned},
    )


def _was_too_early_by_hand(lock: Lock, cleared_by: str, today: date) -> bool:
    """Whether an administrator could end the lock only because the day seemed to have turned."""
    return (
        cleared_by == "admin_override"
        and lock.release is Release.MANUAL
        and not lock.admin_may_clear
        and lock.trading_date >= today
    )


def _put_back(connection: sqlite3.Connection, writer: Writer, lock: Lock, now: datetime) -> None:
    known = next(
        (
            other
            for other in map(rows.lock_of, connection.execute(rows.GET_LOCKS, (lock.account_id,)))
            if other.key == lock.key
        ),
        None,
    )
    kept = lock if known is None else lock.prolonged_by(known)
    if kept != known:
        write_back(writer, kept, known, now)
