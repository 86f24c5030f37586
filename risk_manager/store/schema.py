"""The database schema: required pragmas, and the migrations that bring it up to date."""

import hashlib
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

APPLICATION_ID = 0x52534B4D  # "RSKM": tells our file from any other SQLite file
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class StoreError(Exception):
    """The database cannot be used; the message says which file, why, and what to do."""


class DatabaseTooNew(StoreError):
    """The database was written by a newer version of this program."""


class NotOurDatabase(StoreError):
    """The file is an SQLite database of another program."""


class PragmaRefused(StoreError):
    """SQLite did not accept a setting that safety depends on."""


class DatabaseCorrupt(StoreError):
    """The file is damaged."""


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file itself is broken."""
    if isinstance(error, UnicodeDecodeError):
        return True  # SQLite's message about a damaged schema
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and (code & 0xFF) in _DAMAGED


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema. The text's newlines are normalised."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> Iterator[str]:
        """Yield the statements one by one, as `executescript` would commit by itself."""
        gathered = ""
        for line in self.sql.splitlines(keepends=True):
            if not gathered and (not line.strip() or line.lstrip().startswith("--")):
                continue
            gathered += line
            if sqlite3.complete_statement(gathered):
                yield gathered
                gathered = ""
        if gathered.strip():
            raise ValueError(f"migration {self.name}: the last statement does not end")


def shipped_migrations() -> tuple[Migration, ...]:
    """The migrations that come with the program, in order: 1, 2, 3 ... without a gap."""
    found = [
        Migration(int(entry.name[:4]), entry.name.removesuffix(".sql"), _text(entry.read_bytes()))
        for entry in (files(__package__) / "migrations").iterdir()
        if entry.name.endswith(".sql")
    ]
    found.sort(key=lambda m: m.version)
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered 0001, 0002, ... without a gap")
    return tuple(found)


def _text(content: bytes) -> str:
    return content.decode("utf-8").replace("\r\n", "\n")


SCHEMA_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER NOT NULL PRIMARY KEY,
    applied_at INTEGER NOT NULL,
    description TEXT NOT NULL,
    checksum TEXT NOT NULL,
    duration_ms REAL NOT NULL
) STRICT
"""

PRAGMAS: dict[str, str | int] = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: with NORMAL a power cut loses acknowledged commits
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "recursive_triggers": 1,  # without it a replaced row would stay in the seal
    "temp_store": 2,
}
if sys.platform == "darwin":
    PRAGMAS["fullfsync"] = 1


def configure(connection: sqlite3.Connection) -> None:
    """Set every pragma and read it back. Raises `PragmaRefused`."""
    connection.execute("PRAGMA busy_timeout = 5000")
    # Has an effect only while the file is still empty.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    for name, wanted in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {wanted}").fetchall()
        row = connection.execute(f"PRAGMA {name}").fetchone()
        got = row[0] if row else None
        if got != wanted:
            raise PragmaRefused(
                f"the database does not accept {name} = {wanted} (it answers {got}); "
                "keep the data folder on a local disk"
            )


def check_quickly(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `DatabaseCorrupt` unless `quick_check` passes."""
    rows = connection.execute("PRAGMA quick_check(3)").fetchall()
    if [r[0] for r in rows] != ["ok"]:
        raise DatabaseCorrupt(f"{path} is damaged: {'; '.join(str(r[0]) for r in rows)}")


def check_indexes(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `DatabaseCorrupt` where an index does not know exactly the rows of its table.

    A start would miss these rows, and `quick_check` does not compare the two. Of the tables that a
    start reads by an index, the trades are left out: their seal is read by the same one.
    """
    for table in ("lockouts", "timers", "intents"):
        rows = connection.execute(f"PRAGMA integrity_check({table})").fetchmany(3)
        if [r[0] for r in rows] != ["ok"]:
            raise DatabaseCorrupt(f"{path} is damaged: {'; '.join(str(r[0]) for r in rows)}")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the schema in the file; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Return the version found. Raises `DatabaseTooNew` or `NotOurDatabase`."""
    found = version_of(connection)
    if found == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise NotOurDatabase(
            f"{path} is the database of another program; move it away or choose another --data"
        )
    if found > newest:
        raise DatabaseTooNew(
            f"{path} has schema {found}, this program knows up to {newest}; "
            "start the newer version again, or restore a backup made by this one"
        )
    return found


def migrate(
    connection: sqlite3.Connection,
    migrations: tuple[Migration, ...],
    now_us: Callable[[], int],
) -> int:
    """Apply missing migrations, one transaction each. Returns how many were applied."""
    found = version_of(connection)
    for migration in migrations[found:]:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(SCHEMA_HISTORY)
            for statement in migration.statements():
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?, ?, ?)",
                (
                    migration.version,
                    now_us(),
                    migration.name,
                    migration.checksum,
                    (time.perf_counter() - started) * 1000,
                ),
            )
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {migration.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(migrations) - found
