"""The locks that must be in force after the opening, from every source that is believed."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime

from risk_manager.domain.locks import Lock, LockKey
from risk_manager.store import rows
from risk_manager.store.audit import Entry
from risk_manager.store.rows import micros
from risk_manager.store.sidecar_files import Marker
from risk_manager.store.tamper_digest import LOCKS, SealedTables, digest_of_locks
from risk_manager.store.writer import Writer

PUT_BACK = "lock.put_back"
"""The audit action for a lock that is put back in force."""


def lost_locks(
    connection: sqlite3.Connection, seal: SealedTables, edited: list[str], marker: Marker | None
) -> list[Lock]:
    """Return the locks that must be in force in a suspicious database.

    They are those sealed, if known, else those of every source. `edited` names the tables that do
    not agree with the seal.
    """
    if LOCKS in edited and audit_has_sealed_locks(connection, seal):
        return list(_audited_locks(connection).values())
    known = marker.locks_in_force() if marker is not None else []
    if LOCKS in edited:
        known += _audited_locks(connection).values()
    known += readable_locks(connection)
    return strictest_of_each(known)


def audit_has_sealed_locks(connection: sqlite3.Connection, seal: SealedTables) -> bool:
    """Whether the locks in the audit are exactly those that were sealed."""
    audited = _audited_locks(connection).values()
    return digest_of_locks(iter(audited)) == seal.sums.get(LOCKS)


def _audited_locks(connection: sqlite3.Connection) -> dict[tuple[int, LockKey], Lock]:
    """Return the locks in force by the audit. Used only where the rows cannot be believed."""
    audited: dict[tuple[int, LockKey], Lock] = {}
    for action, old, new in connection.execute(
        "SELECT action, old, new FROM audit WHERE action IN (?, ?, ?) ORDER BY id",
        ("lock.set", "lock.cleared", PUT_BACK),
    ):
        with suppress(ValueError, KeyError, TypeError):
            lock = rows.lock_of_plain(json.loads(old if action == "lock.cleared" else new))
            if action == "lock.cleared":
                audited.pop((lock.account_id, lock.key), None)
            else:
                audited[lock.account_id, lock.key] = lock
    return audited


def strictest_of_each(locks: Iterable[Lock]) -> list[Lock]:
    """Merge locks to one for each account, scope and rule."""
    strictest: dict[tuple[int, LockKey], Lock] = {}
    for lock in locks:
        key = (lock.account_id, lock.key)
        strictest[key] = strictest[key].prolonged_by(lock) if key in strictest else lock
    return list(strictest.values())


def put_back(writer: Writer, locks: Iterable[Lock], now: datetime) -> None:
    """Put these locks in force where they are not, and audit it. To be run inside `once`."""
    for lock in locks:
        known = _as_it_is(writer.connection, lock)
        if known != lock:
            write_back(writer, lock, known, now)


def write_back(writer: Writer, lock: Lock, known: Lock | None, now: datetime) -> None:
    """Put a lock in force in place of the one known, and audit it. To be run inside `once`."""
    writer.connection.execute(rows.PUT_LOCK, rows.lock_row(lock, now))
    writer.record(
        Entry(
            at=micros(now),
            actor="daemon",
            action=PUT_BACK,
            target=f"account:{lock.account_id}",
            old=None if known is None else rows.plain(known),
            new=rows.plain(lock),
            ok=False,
        )
    )


def readable_locks(connection: sqlite3.Connection) -> list[Lock]:
    """Return the locks in force by their rows, as far as the rows can be read."""
    found = []
    for row in connection.execute(rows.GET_ALL_LOCKS).fetchall():
        with suppress(ValueError, TypeError):
            found.append(rows.lock_of(row))
    return found


def _as_it_is(connection: sqlite3.Connection, lock: Lock) -> Lock | None:
    return next(
        (
            known
            for known in readable_locks(connection)
            if (known.account_id, known.key) == (lock.account_id, lock.key)
        ),
        None,
    )
