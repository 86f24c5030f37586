"""Opening the database: is it there, whole, ours, current, and the one we left?"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from risk_manager.store import schema
from risk_manager.store.audit import Head, head_of, set_anchor
from risk_manager.store.beside import Marker, marker_path, read_marker
from risk_manager.store.rows import instant, micros
from risk_manager.store.schema import DatabaseCorrupt, Migration, StoreError
from risk_manager.store.upkeep import back_up_before_migration

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OpenedAs(StrEnum):
    """What was found at the start. All but the first two are suspicious."""

    FRESH = "fresh"
    RESTORED = "restored"
    MISSING_BUT_MARKED = "missing_but_marked"
    ROLLED_BACK = "rolled_back"
    CORRUPT = "corrupt"

    @property
    def is_trusted(self) -> bool:
        return self in (OpenedAs.FRESH, OpenedAs.RESTORED)


@dataclass(slots=True, kw_only=True)
class Opened:
    """An open database and what is to be known about it."""

    connection: sqlite3.Connection
    database_id: str
    opened_as: OpenedAs
    why: str
    had_locks: bool
    last_clean_stop: datetime | None
    migrated: int


@dataclass(slots=True, kw_only=True)
class Opener:
    """How to open one database file. Runs on the connection's thread."""

    path: Path
    now: Callable[[], datetime]
    connection_class: type[sqlite3.Connection] = sqlite3.Connection
    migrations: tuple[Migration, ...] = field(default_factory=schema.shipped_migrations)

    def open(self, damage: str = "") -> Opened:
        """Raises `StoreError` where no database can be used at all.

        `damage` says what is known to be wrong with the file: it is put aside unread.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._open(damage)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"cannot open {self.path}: {error}; check that the folder can be written, the disk "
                "has room and no other program holds the file"
            ) from error

    def _open(self, damage: str) -> Opened:
        marker = read_marker(self.path)
        was_there = self.path.exists() and self.path.stat().st_size > 0
        if not damage:
            try:
                connection, migrated = self.connect()
            except DatabaseCorrupt as error:
                damage = str(error)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                damage = f"{self.path} is damaged: {error}"
        if damage:
            aside = self.move_aside("corrupt")
            damage += f"; kept as {aside.name}"
            connection, migrated = self.connect()
        try:
            return self._judge(connection, migrated, marker, was_there, damage)
        except BaseException:
            connection.close()
            raise

    def connect(self) -> tuple[sqlite3.Connection, int]:
        """A connection that is configured, checked and migrated, and how many steps that took."""
        connection = sqlite3.connect(
            self.path,
            isolation_level=None,
            cached_statements=256,
            factory=self.connection_class,
        )
        try:
            newest = len(self.migrations)
            found = schema.check_version(connection, self.path, newest)
            schema.configure(connection)
            schema.check_quickly(connection, self.path)
            if 0 < found < newest:
                back_up_before_migration(connection, self.path, found, self.now())
            migrated = schema.migrate(connection, self.migrations, lambda: micros(self.now()))
        except BaseException:
            connection.close()
            raise
        return connection, migrated

    def _judge(
        self,
        connection: sqlite3.Connection,
        migrated: int,
        marker: Marker | None,
        was_there: bool,
        damage: str,
    ) -> Opened:
        notes = dict(connection.execute("SELECT key, value FROM meta"))
        opened_as, why = self._verdict(connection, notes, marker, was_there, damage)
        had_locks = marker is not None and marker.had_locks
        if not opened_as.is_trusted and "unreconciled" not in notes:
            # In the database itself, so that a second start finds it as well.
            notes["unreconciled"] = json.dumps({"as": opened_as, "why": why, "locks": had_locks})
        elif "unreconciled" in notes:
            had_locks = bool(json.loads(notes["unreconciled"])["locks"])
        stopped = notes.pop("last_clean_stop", None)
        notes.setdefault("database_id", uuid4().hex)
        notes["run_id"] = uuid4().hex
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM meta WHERE key = 'last_clean_stop'")
        connection.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", notes.items()
        )
        connection.execute("COMMIT")
        return Opened(
            connection=connection,
            database_id=notes["database_id"],
            opened_as=opened_as,
            why=why,
            had_locks=had_locks,
            last_clean_stop=None if stopped is None else instant(int(stopped)),
            migrated=migrated,
        )

    def _verdict(
        self,
        connection: sqlite3.Connection,
        notes: dict[str, str],
        marker: Marker | None,
        was_there: bool,
        damage: str,
    ) -> tuple[OpenedAs, str]:
        if "unreconciled" in notes:
            stored = json.loads(notes["unreconciled"])
            return OpenedAs(stored["as"]), str(stored["why"])
        if damage:
            return OpenedAs.CORRUPT, f"{damage}; what was locked stays locked until the next reset"
        if marker is None:
            if was_there:
                return OpenedAs.RESTORED, f"{self.path} was read"
            return OpenedAs.FRESH, f"{self.path} is new"
        if not was_there:
            return OpenedAs.MISSING_BUT_MARKED, (
                f"{self.path} is missing although {marker_path(self.path).name} says there was one"
                f"{' with locks in force' if marker.had_locks else ''}; "
                "what was locked stays locked until the next reset"
            )
        return self._against(connection, notes, marker)

    def _against(
        self, connection: sqlite3.Connection, notes: dict[str, str], marker: Marker
    ) -> tuple[OpenedAs, str]:
        head = head_of(connection)
        row = connection.execute(
            "SELECT hash FROM audit WHERE id = ?", (marker.last_audit_seq,)
        ).fetchone()
        if not marker.database_id:
            return OpenedAs.RESTORED, f"{self.path} was read; its marker could not be"
        if notes.get("database_id") != marker.database_id:
            why = "another database than the one last used"
        elif head.seq < marker.last_audit_seq:
            why = (
                f"older than it was: its record ends at {head.seq}, it had {marker.last_audit_seq}"
            )
        elif row is not None and row[0] != marker.last_audit_hash:
            why = "not the one last used: its record says something else"
        else:
            return OpenedAs.RESTORED, f"{self.path} was read"
        return (
            OpenedAs.ROLLED_BACK,
            f"{self.path} is {why}; what was locked stays locked until the next reset",
        )

    def move_aside(self, word: str) -> Path:
        """Keep the file (and its log) under another name; returns the new name."""
        stamp = self.now().strftime("%Y%m%d-%H%M%S-%f")
        aside = self.path.with_name(f"{self.path.name}.{word}-{stamp}")
        for suffix in ("-wal", "-shm", ""):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
        return aside

    @property
    def rescued(self) -> Path:
        return self.path.with_name(self.path.name + ".rescued")

    def rescue(self, connection: sqlite3.Connection) -> None:
        """Save what an open connection still sees, though its file was deleted or replaced."""
        self.rescued.unlink(missing_ok=True)
        try:
            connection.execute("VACUUM INTO ?", (str(self.rescued),))
            with closing(sqlite3.connect(self.rescued)) as saved:
                schema.check_quickly(saved, self.rescued)
        except (sqlite3.Error, StoreError):
            self.rescued.unlink(missing_ok=True)

    def replace(self, database_id: str, head: Head) -> sqlite3.Connection:
        """Put the rescued database in place, or an empty one that continues the same chain.

        What lies at the path now is kept under another name.
        """
        self.move_aside("replaced")
        if self.rescued.exists():
            self.rescued.replace(self.path)
        connection, _ = self.connect()
        if head_of(connection).seq == 0:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('database_id', ?)", (database_id,)
            )
            set_anchor(connection, head)
            connection.execute("COMMIT")
        return connection


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file itself is broken."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and (code & 0xFF) in _DAMAGED
