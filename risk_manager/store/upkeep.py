"""Backups and retention: how long rows are kept, and how copies are made."""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from risk_manager.domain.locks import Lock
from risk_manager.store import audit, rows
from risk_manager.store.rows import micros
from risk_manager.store.schema import StoreError

DAILY_KEPT = 7
WEEKLY_KEPT = 4
BEFORE_MIGRATION_KEPT = 10
PART_LEFT_AFTER_S = 3600
ROWS_AT_ONCE = 100
"""The most rows per transaction, as a longer one would delay an enforcement commit."""

YEAR = timedelta(days=365)
TOLD_AGAIN_BEFORE = timedelta(days=30)
_STAMP = "%Y%m%d-%H%M%S"
_PREFIX = "state-"

# Table -> retention, and the statement that removes some rows older than an instant.
RETENTION: dict[str, tuple[timedelta, str]] = {
    "enforcement_log": (
        YEAR,
        "DELETE FROM enforcement_log WHERE id IN"
        " (SELECT id FROM enforcement_log WHERE at < ? ORDER BY at LIMIT ?)",
    ),
    "intents": (
        timedelta(days=30),  # the result of each is in enforcement_log and audit
        "DELETE FROM intents WHERE id IN"
        " (SELECT id FROM intents WHERE created_at < ? AND state <> 'SENT' LIMIT ?)",
    ),
    "trades": (
        YEAR,
        "DELETE FROM trades WHERE rowid IN"
        " (SELECT rowid FROM trades WHERE executed_at < ? LIMIT ?)",
    ),
    "lockouts": (
        YEAR,
        "DELETE FROM lockouts WHERE id IN"
        " (SELECT id FROM lockouts WHERE cleared_at < ? ORDER BY id LIMIT ?)",
    ),
    "sessions": (
        YEAR,
        "DELETE FROM sessions WHERE id IN"
        " (SELECT id FROM sessions WHERE clock_out_at < ? ORDER BY id LIMIT ?)",
    ),
    "journal": (
        timedelta(days=14),
        "DELETE FROM journal WHERE seq IN"
        " (SELECT seq FROM journal WHERE at < ? ORDER BY at LIMIT ?)",
    ),
    "connection_log": (
        timedelta(days=30),
        "DELETE FROM connection_log WHERE id IN"
        " (SELECT id FROM connection_log WHERE at < ? ORDER BY id LIMIT ?)",
    ),
}
SUMMARY_KEPT = 5 * YEAR


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a read-only connection, for other threads and processes. Raises `StoreError`."""
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5
        )
    except sqlite3.Error as error:
        raise StoreError(f"cannot read {path}: {error}") from error
    with closing(connection):
        yield connection


def prune_some(connection: sqlite3.Connection, table: str, now: datetime) -> int:
    """Remove up to `ROWS_AT_ONCE` rows of one table past their retention. Returns the count."""
    kept_for, statement = RETENTION[table]
    cursor = connection.execute(statement, (micros(now - kept_for), ROWS_AT_ONCE))
    return cursor.rowcount


def prune_summaries(connection: sqlite3.Connection, now: datetime) -> int:
    """Remove daily summaries past their retention (at most one per day and account)."""
    day = (now - SUMMARY_KEPT).date().isoformat()
    return connection.execute("DELETE FROM daily_summary WHERE trading_day < ?", (day,)).rowcount


def prune_audit(connection: sqlite3.Connection, now: datetime) -> int:
    """Remove the oldest audit rows past their retention; the chain then begins after them."""
    cutoff = micros(now - YEAR)
    rows = connection.execute(
        "SELECT id, hash, at FROM audit ORDER BY id LIMIT ?", (ROWS_AT_ONCE,)
    ).fetchall()
    past: list[tuple[int, str]] = []
    for seq, digest, at in rows:
        if at >= cutoff:
            break
        past.append((seq, digest))
    if not past:
        return 0
    audit.set_anchor(connection, audit.Head(*past[-1]))
    connection.execute("DELETE FROM audit WHERE id <= ?", (past[-1][0],))
    return len(past)


def locks_set_long_ago(connection: sqlite3.Connection, now: datetime) -> list[Lock]:
    """Locks in force whose audit rows are about to go."""
    found = connection.execute(rows.GET_LOCKS_BEFORE, (micros(now - YEAR + TOLD_AGAIN_BEFORE),))
    return [rows.lock_of(r) for r in found]


def back_up(database: Path, now: datetime) -> Path:
    """Make a verified copy in `backups/` and thin out older copies. Raises `StoreError`."""
    folder = database.parent / "backups"
    target = folder / f"{_PREFIX}{now.astimezone(UTC):{_STAMP}}.db"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_reader(database) as source:
            _copy(source, target)
        for old in superseded(folder.glob(f"{_PREFIX}*.db")):
            old.unlink(missing_ok=True)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the backup {target} could not be made: {error}") from error
    return target


def newest_backup(database: Path) -> datetime | None:
    """When the last daily copy was made; None without one."""
    made = [at for at, _ in _dated((database.parent / "backups").glob(f"{_PREFIX}*.db"))]
    return max(made, default=None)


def back_up_before_migration(
    connection: sqlite3.Connection, database: Path, version: int, now: datetime
) -> Path:
    """Make a verified copy of the database as it is now, named after its schema version."""
    folder = database.parent / "backups"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"before-migration-from-{version}-{now.astimezone(UTC):{_STAMP}}.db"
    _copy(connection, target)
    copies = sorted(folder.glob("before-migration-from-*.db"), key=lambda p: p.stat().st_mtime)
    for old in copies[:-BEFORE_MIGRATION_KEPT]:
        old.unlink(missing_ok=True)
    return target


def _copy(source: sqlite3.Connection, target: Path) -> None:
    draft = target.with_suffix(".partial")
    _remove_parts(target.parent)
    try:
        source.execute("VACUUM INTO ?", (str(draft),))
        with closing(sqlite3.connect(draft)) as copy:
            verdict = [row[0] for row in copy.execute("PRAGMA integrity_check(3)")]
        if verdict != ["ok"]:
            raise StoreError(f"the copy {target} is not whole: {'; '.join(verdict)}")
        draft.replace(target)
    finally:
        # A partial copy is useless and may have filled the disk.
        for part in (draft, draft.with_name(f"{draft.name}-journal")):
            part.unlink(missing_ok=True)


def _remove_parts(folder: Path) -> None:
    """Remove partial copies left by a killed process, but not one that is being made now."""
    for part in folder.glob("*.partial*"):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > PART_LEFT_AFTER_S:
                part.unlink()


def superseded(backups: Iterable[Path]) -> list[Path]:
    """Return the backups to delete: all but the newest of each of 7 days and of 4 weeks."""
    dated = sorted(_dated(backups), reverse=True)
    days: dict[object, Path] = {}
    weeks: dict[object, Path] = {}
    for at, path in dated:
        days.setdefault(at.date(), path)
        weeks.setdefault(at.isocalendar()[:2], path)
    kept = {*list(days.values())[:DAILY_KEPT], *list(weeks.values())[:WEEKLY_KEPT]}
    return [path for _, path in dated if path not in kept]


def _dated(backups: Iterable[Path]) -> Iterator[tuple[datetime, Path]]:
    for path in backups:
        try:
            at = datetime.strptime(path.stem.removeprefix(_PREFIX), _STAMP).replace(tzinfo=UTC)
        except ValueError:
            continue  # not one of ours
        yield at, path
