"""Opens the database: connects, migrates, examines it, and takes it over."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from risk_manager.domain.locks import Lock
from risk_manager.store import schema, tamper_digest
from risk_manager.store.audit import Entry, Head, head_of, set_anchor
from risk_manager.store.finding import (
    CHECKED,
    UNRECONCILED,
    Evidence,
    Finding,
    OpenedAs,
    examine,
    unreconciled,
)
from risk_manager.store.lock_sources import lost_locks, put_back, readable_locks
from risk_manager.store.rescue import move_aside, put_rescued_in_place, rescue
from risk_manager.store.rows import instant, micros
from risk_manager.store.schema import DatabaseCorrupt, Migration, StoreError, is_damage
from risk_manager.store.sidecar_files import Marker, read_marker
from risk_manager.store.tamper_digest import TRADES, SealedTables
from risk_manager.store.upkeep import back_up_before_migration
from risk_manager.store.writer import Writer

SEALED_SINCE = 3
"""The first version of the schema with a seal."""


@dataclass(slots=True, kw_only=True)
class Opened:
    """An open database and the findings about it.

    `had_locks`: unknown locks that were in force may have been lost. `locks` are those in force
    now. `last_seal` is the last seal known, if the database is suspicious.
    """

    connection: sqlite3.Connection
    database_id: str
    opened_as: OpenedAs
    why: str
    had_locks: bool
    last_clean_stop: datetime | None
    migrated: int
    locks: tuple[Lock, ...]
    last_seal: SealedTables | None
    seal_number: int


@dataclass(slots=True)
class _Connected:
    """A database before it is examined: its seal, and the parts that do not agree with it."""

    connection: sqlite3.Connection
    seal: SealedTables = field(default_factory=SealedTables)
    edited: list[str] = field(default_factory=list)
    migrated: int = 0


@dataclass(slots=True, kw_only=True)
class Opener:
    """Opens one database file. Runs on the connection's thread."""

    path: Path
    now: Callable[[], datetime]
    connection_class: type[sqlite3.Connection] = sqlite3.Connection
    migrations: tuple[Migration, ...] = field(default_factory=schema.shipped_migrations)

    def open(self, damage: str = "") -> Opened:
        """Open the database. Raises `StoreError` if no database can be used at all.

        `damage` says what is known to be wrong with the file, which is then put aside unread.
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
                connected = self._connect()
            except DatabaseCorrupt as error:
                damage = str(error)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if not is_damage(error):
                    raise
                damage = f"{self.path} is damaged: {error}"
        if damage:
            aside = move_aside(self.path, "corrupt", self.now())
            damage += f"; kept as {aside.name}"
            connected = self._connect()
        try:
            return self._examine(connected, marker, was_there, damage)
        except BaseException as error:
            connected.connection.close()
            if damage or not isinstance(error, Exception) or not is_damage(error):
                raise
            found = f"{self.path} is damaged: {error}"
        return self._open(found)

    def _connect(self) -> _Connected:
        """A connection that is configured, compared with its seal, and migrated.

        The whole file is looked through here only where it is about to be rewritten; see
        `FileCheck` for the others.
        """
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
            if found < newest:
                schema.check_quickly(connection, self.path)
            connected = _Connected(connection)
            if found >= SEALED_SINCE:
                connected.seal, connected.edited = _compared(connection, self.path)
            if 0 < found < newest:
                back_up_before_migration(connection, self.path, found, self.now())
            connected.migrated = schema.migrate(
                connection, self.migrations, lambda: micros(self.now())
            )
        except BaseException:
            connection.close()
            raise
        return connected

    def _examine(
        self, connected: _Connected, marker: Marker | None, was_there: bool, damage: str
    ) -> Opened:
        connection = connected.connection
        notes = dict(connection.execute("SELECT key, value FROM meta"))
        if UNRECONCILED in connected.edited:
            notes.pop(UNRECONCILED, None)  # not written by this program
        finding = examine(
            Evidence(
                path=self.path,
                connection=connection,
                seal=connected.seal,
                edited=connected.edited,
                notes=notes,
                marker=marker,
                was_there=was_there,
                damage=damage,
            )
        )
        if not finding.opened_as.is_trusted:
            finding.lost = lost_locks(connection, connected.seal, connected.edited, marker)
            if TRADES in connected.edited:
                finding.trades_from = connected.seal.since
            if finding.last_seal is None:
                finding.last_seal = connected.seal
                if marker is not None and marker.seal.number > connected.seal.number:
                    finding.last_seal = marker.seal
        stopped = notes.get("last_clean_stop")
        writer = Writer(connection)
        writer.once(lambda c: self._take_over(c, writer, finding, notes))
        return Opened(
            connection=connection,
            database_id=notes["database_id"],
            opened_as=finding.opened_as,
            why=finding.why,
            had_locks=finding.had_locks,
            last_clean_stop=None if stopped is None else instant(int(stopped)),
            migrated=connected.migrated,
            locks=tuple(readable_locks(connection)),
            last_seal=finding.last_seal,
            seal_number=connected.seal.number,
        )

    def _take_over(
        self,
        connection: sqlite3.Connection,
        writer: Writer,
        finding: Finding,
        notes: dict[str, str],
    ) -> None:
        """Store finding, locks and seal in one transaction; from then on the database is ours."""
        if finding.opened_as.is_trusted:
            writer.seal.let_go_of_old_trades(connection)
        else:
            writer.seal.accept(connection)
        if not finding.opened_as.is_trusted and UNRECONCILED not in notes:
            # Kept in the database itself, so that the next start knows the finding as well.
            notes[UNRECONCILED] = unreconciled(
                finding.opened_as, finding.why, finding.had_locks, finding.last_seal
            )
        if finding.trades_from is not None:
            # The broker will report these trades again, unedited.
            dropped = connection.execute(
                "DELETE FROM trades WHERE trading_day >= ?", (finding.trades_from,)
            ).rowcount
            writer.record(
                Entry(
                    at=micros(self.now()),
                    actor="daemon",
                    action="trades.dropped",
                    target="database",
                    new={"from": finding.trades_from, "rows": dropped},
                    ok=False,
                )
            )
        put_back(writer, finding.lost, self.now())
        if not finding.opened_as.is_trusted:
            notes[CHECKED] = str(writer.head.seq)
        notes.setdefault("database_id", uuid4().hex)
        notes["run_id"] = uuid4().hex
        connection.execute("DELETE FROM meta WHERE key = 'last_clean_stop'")
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, value) for key, value in notes.items() if key != "last_clean_stop"],
        )

    def rescue(self, connection: sqlite3.Connection) -> None:
        """Copy the data that an open connection still sees after its file was deleted."""
        rescue(connection, self.path)

    def replace(self, database_id: str, head: Head, sealed: SealedTables) -> sqlite3.Connection:
        """Put the rescued database in place, or an empty one that continues the same chain.

        A file that is at the path now is kept under another name.
        """
        move_aside(self.path, "replaced", self.now())
        put_rescued_in_place(self.path)
        connection = self._connect().connection
        if head_of(connection).seq == 0:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('database_id', ?)", (database_id,)
            )
            set_anchor(connection, head)
            connection.execute("UPDATE seal SET number = ?", (sealed.number,))
            connection.execute("COMMIT")
        return connection


def _compared(connection: sqlite3.Connection, path: Path) -> tuple[SealedTables, list[str]]:
    """Return the seal and the parts that do not agree with it. Raises `DatabaseCorrupt` if the
    comparison is impossible."""
    try:
        found = tamper_digest.sealed(connection)
        return found, tamper_digest.edited(connection, found) if found != SealedTables() else []
    except (sqlite3.OperationalError, TypeError) as error:
        code = getattr(error, "sqlite_errorcode", None)
        is_misshapen = code == sqlite3.SQLITE_ERROR or "decode" in str(error)
        if is_misshapen or isinstance(error, TypeError):
            raise DatabaseCorrupt(f"{path} is not as it was written: {error}") from error
        raise
