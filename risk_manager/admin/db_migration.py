"""Brings the database of a stopped daemon up to date, after a verified copy."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from risk_manager.admin.records import database_in
from risk_manager.store import schema, upkeep
from risk_manager.store.rows import micros
from risk_manager.store.schema import StoreError


class DaemonRuns(Exception):
    """The data folder is in use, and its database must not be changed underneath the daemon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """`backup` None: nothing had to be done, or only a look was asked for."""

    found: int
    newest: int
    pending: tuple[str, ...]
    backup: Path | None


def migrate_database(data: Path, *, dry_run: bool = False) -> Migrated:
    """Apply the missing migrations; `dry_run` only names them.

    The copy in `backups/` is made and checked first. Raises `StoreError` where the database cannot
    be used, and `DaemonRuns` while a daemon holds the folder.
    """
    path = database_in(data)
    try:
        with FileLock(data / "daemon.lock", timeout=0):
            return _migrate(path, dry_run=dry_run)
    except Timeout:
        raise DaemonRuns(
            f"a daemon runs with the data folder {data}; its start has brought the database up to "
            "date already"
        ) from None
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path} could not be migrated: {error}") from error


def _migrate(path: Path, *, dry_run: bool) -> Migrated:
    migrations = schema.shipped_migrations()
    now = datetime.now(UTC)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        found = schema.check_version(connection, path, len(migrations))
        pending = migrations[found:]
        backup = None
        if pending and not dry_run:
            schema.configure(connection)
            schema.check_quickly(connection, path)
            backup = upkeep.back_up_before_migration(connection, path, found, now)
            schema.migrate(connection, migrations, lambda: micros(datetime.now(UTC)))
    return Migrated(
        found=found,
        newest=len(migrations),
        pending=tuple(migration.name for migration in pending),
        backup=backup,
    )
