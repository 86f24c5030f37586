"""Removes old rows a little at a time. The audit keeps a row for each lock in force."""

import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial

from risk_manager.store import rows, upkeep
from risk_manager.store.audit import Entry
from risk_manager.store.backlog import Backlog
from risk_manager.store.connection import Connection
from risk_manager.store.rows import micros


async def prune(connection: Connection, backlog: Backlog, now: datetime) -> dict[str, int]:
    """Remove rows past their retention. Returns the count per table. Raises `StoreError`."""
    removed: dict[str, int] = {}
    for table in upkeep.RETENTION:
        removed[table] = await _prune(connection, partial(upkeep.prune_some, table=table, now=now))
    removed["daily_summary"] = await connection.once(partial(upkeep.prune_summaries, now=now))
    await _record_old_locks_again(connection, backlog, now)
    removed["audit"] = await _prune(connection, partial(upkeep.prune_audit, now=now))
    removed = {table: count for table, count in removed.items() if count}
    if removed:
        await connection.read(lambda c: c.execute("PRAGMA incremental_vacuum(200)").fetchall())
        await backlog.put(backlog.entry("daemon", "database.pruned", "database", new=removed))
    return removed


async def _prune(connection: Connection, some: Callable[[sqlite3.Connection], int]) -> int:
    total = 0
    while count := await connection.once(some):
        total += count
    return total


async def _record_old_locks_again(connection: Connection, backlog: Backlog, now: datetime) -> None:
    """Audit each old lock in force again, as the row that set it is about to be removed."""
    locks = await connection.read(lambda c: upkeep.locks_set_long_ago(c, now))
    await backlog.put_entries(
        Entry(
            at=micros(now),
            actor="daemon",
            action="lock.set",
            target=f"account:{lock.account_id}",
            new=rows.plain(lock),
        )
        for lock in locks
    )
