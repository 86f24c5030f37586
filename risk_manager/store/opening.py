"""Opening the database: checks that it exists, is intact, ours, current, and the one we left."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from risk_manager.domain.locks import Lock, LockKey
from risk_manager.store import rows, schema, tamper_digest
from risk_manager.store.audit import Entry, Head, head_of, set_anchor, verify
from risk_manager.store.rows import instant, micros
from risk_manager.store.schema import DatabaseCorrupt, Migration, StoreError
from risk_manager.store.sidecar_files import (
    Marker,
    audit_head_path,
    marker_path,
    read_audit_head,
    read_marker,
)
from risk_manager.store.tamper_digest import LOCKS, TRADES, SealedTables, digest_of_locks
from risk_manager.store.upkeep import back_up_before_migration
from risk_manager.store.writer import Writer

SEALED_SINCE = 3
"""The first version of the schema with a seal."""
TAIL_CHECKED = 2_000
"""How many of the newest audit rows are checked at each opening."""
CHECKED = "audit_checked"
"""The key of the note that names the last broken audit row already reported."""
PUT_BACK = "lock.put_back"
UNRECONCILED = "unreconciled"
STAYS_LOCKED = "what was locked stays locked until the next reset"
ALL_LOCKED = "every account stays locked until the next reset"

_IN_USE = ("accounts", "reset_state", "lockouts", "trades")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class OpenedAs(StrEnum):
    """The kind of database found at the start. All but the first two are suspicious.

    ELSEWHERE: intact in itself, but another database has guarded an account since.
    """

    FRESH = "fresh"
    RESTORED = "restored"
    MISSING_BUT_MARKED = "missing_but_marked"
    ROLLED_BACK = "rolled_back"
    ELSEWHERE = "elsewhere"
    CORRUPT = "corrupt"
    EDITED = "edited"

    @property
    def is_trusted(self) -> bool:
        return self in (OpenedAs.FRESH, OpenedAs.RESTORED)

    @property
    def knows_nothing(self) -> bool:
        """Whether the database is new and empty, whatever was there before."""
        return self in (OpenedAs.FRESH, OpenedAs.MISSING_BUT_MARKED, OpenedAs.CORRUPT)


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
    """A database before the verdict: its seal, and the parts that do not agree with the seal."""

    connection: sqlite3.Connection
    seal: SealedTables = field(default_factory=SealedTables)
    edited: list[str] = field(default_factory=list)
    migrated: int = 0


@dataclass(slots=True)
class _Found:
    """The verdict. `lost` are locks that must be put back in force, as far as they are known.

    `trades_from`: trades of this trading day and later are not to be believed.
    """

    opened_as: OpenedAs
    why: str
    had_locks: bool
    lost: list[Lock] = field(default_factory=list)
    trades_from: str | None = None
    last_seal: SealedTables | None = None


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
            aside = self.move_aside("corrupt")
            damage += f"; kept as {aside.name}"
            connected = self._connect()
        try:
            return self._judge(connected, marker, was_there, damage)
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

    def _judge(
        self, connected: _Connected, marker: Marker | None, was_there: bool, damage: str
    ) -> Opened:
        connection = connected.connection
        notes = dict(connection.execute("SELECT key, value FROM meta"))
        found = self._verdict(connected, notes, marker, was_there, damage)
        if not found.opened_as.is_trusted:
            found.lost = _lost_locks(connected, marker)
            if TRADES in connected.edited:
                found.trades_from = connected.seal.since
            if found.last_seal is None:
                found.last_seal = connected.seal
                if marker is not None and marker.seal.number > connected.seal.number:
                    found.last_seal = marker.seal
        stopped = notes.get("last_clean_stop")
        writer = Writer(connection)
        writer.once(lambda c: self._take_over(c, writer, found, notes))
        return Opened(
            connection=connection,
            database_id=notes["database_id"],
            opened_as=found.opened_as,
            why=found.why,
            had_locks=found.had_locks,
            last_clean_stop=None if stopped is None else instant(int(stopped)),
            migrated=connected.migrated,
            locks=tuple(readable_locks(connection)),
            last_seal=found.last_seal,
            seal_number=connected.seal.number,
        )

    def _take_over(
        self,
        connection: sqlite3.Connection,
        writer: Writer,
        found: _Found,
        notes: dict[str, str],
    ) -> None:
        """Store verdict, locks and seal in one transaction; from then on the database is ours."""
        if found.opened_as.is_trusted:
            writer.seal.let_go_of_old_trades(connection)
        else:
            writer.seal.accept(connection)
        if not found.opened_as.is_trusted and UNRECONCILED not in notes:
            # Kept in the database itself, so that the next start finds the verdict as well.
            notes[UNRECONCILED] = unreconciled(
                found.opened_as, found.why, found.had_locks, found.last_seal
            )
        if found.trades_from is not None:
            # The broker will report these trades again, unedited.
            dropped = connection.execute(
                "DELETE FROM trades WHERE trading_day >= ?", (found.trades_from,)
            ).rowcount
            writer.tell(
                Entry(
                    at=micros(self.now()),
                    actor="daemon",
                    action="trades.dropped",
                    target="database",
                    new={"from": found.trades_from, "rows": dropped},
                    ok=False,
                )
            )
        put_back(writer, found.lost, self.now())
        if not found.opened_as.is_trusted:
            notes[CHECKED] = str(writer.head.seq)
        notes.setdefault("database_id", uuid4().hex)
        notes["run_id"] = uuid4().hex
        connection.execute("DELETE FROM meta WHERE key = 'last_clean_stop'")
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, value) for key, value in notes.items() if key != "last_clean_stop"],
        )

    def _verdict(
        self,
        connected: _Connected,
        notes: dict[str, str],
        marker: Marker | None,
        was_there: bool,
        damage: str,
    ) -> _Found:
        head = audit_head_path(self.path)
        told_by = marker_path(self.path).name if marker is not None else head.name
        mirror = read_audit_head(self.path)
        # The marker is written before audit.head, so a marker behind it is an older copy.
        is_behind = mirror is not None and marker is not None and mirror.seq > marker.last_audit_seq
        # If the database cannot be read, only the last marker knows the locks.
        had_locks = marker.had_locks or is_behind if marker is not None else bool(damage)
        if UNRECONCILED in connected.edited:
            notes.pop(UNRECONCILED, None)  # not written by this program
        if UNRECONCILED in notes:
            stored = json.loads(notes[UNRECONCILED])
            found = _Found(OpenedAs(stored["as"]), str(stored["why"]), bool(stored["locks"]))
            if "seal" in stored:
                found.last_seal = SealedTables(*stored["seal"])
            if connected.edited:
                found.had_locks = True
            return found
        if damage:
            return _Found(OpenedAs.CORRUPT, f"{damage}; {STAYS_LOCKED}", had_locks)
        if marker is None and not head.exists() and (not was_there or _is_unused(connected)):
            return _Found(OpenedAs.FRESH, f"{self.path} is new", False)
        if marker is None or not marker.database_id:
            if not was_there:
                why = f"{self.path} is missing although {told_by} says there was one"
                return _Found(OpenedAs.MISSING_BUT_MARKED, f"{why}; {ALL_LOCKED}", True)
            state = "is missing" if marker is None else "cannot be read"
            why = f"{self.path} may be an older one: {marker_path(self.path).name} {state}"
            return _Found(OpenedAs.ROLLED_BACK, f"{why}; {ALL_LOCKED}", True)
        if not was_there:
            return _Found(
                OpenedAs.MISSING_BUT_MARKED,
                f"{self.path} is missing although {told_by} says there was one"
                f"{' with locks in force' if marker.had_locks else ''}; {STAYS_LOCKED}",
                had_locks,
            )
        why = _unlike(connected, notes, marker)
        if why:
            return _Found(OpenedAs.ROLLED_BACK, f"{self.path} is {why}; {STAYS_LOCKED}", had_locks)
        if mirror is not None and head_of(connected.connection).seq < mirror.seq:
            why = f"{self.path} and {told_by} are older than {head.name}"
            return _Found(OpenedAs.ROLLED_BACK, f"{why}; {ALL_LOCKED}", True)
        return self._unless_edited(connected, notes, marker)

    def _unless_edited(
        self, connected: _Connected, notes: dict[str, str], marker: Marker
    ) -> _Found:
        """Judge a database that is ours. The seal shows whether another program edited rows."""
        if connected.edited:
            edit = f"{self.path} was edited while the daemon was stopped"
            edit += f" ({', '.join(connected.edited)})"
            if connected.edited == [LOCKS] and _locks_are_known(connected):
                return _Found(
                    OpenedAs.EDITED, f"{edit}; the locks are put back as they were", False
                )
            return _Found(OpenedAs.EDITED, f"{edit}; {ALL_LOCKED}", True)
        head = head_of(connected.connection)
        checked = int(notes.get(CHECKED, "0"))
        broken = verify(connected.connection, after=max(head.seq - TAIL_CHECKED, checked))
        if broken is not None:
            return _Found(
                OpenedAs.EDITED,
                f"the record in {self.path} was edited: {broken.why}; {ALL_LOCKED}",
                True,
            )
        return _Found(OpenedAs.RESTORED, f"{self.path} was read", marker.had_locks)

    def move_aside(self, word: str) -> Path:
        """Rename the file and its log. Returns the new name."""
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
        """Copy the data that an open connection still sees after its file was deleted."""
        self.rescued.unlink(missing_ok=True)
        try:
            connection.execute("VACUUM INTO ?", (str(self.rescued),))
            with closing(sqlite3.connect(self.rescued)) as saved:
                schema.check_quickly(saved, self.rescued)
        except (sqlite3.Error, StoreError):
            self.rescued.unlink(missing_ok=True)

    def replace(self, database_id: str, head: Head, sealed: SealedTables) -> sqlite3.Connection:
        """Put the rescued database in place, or an empty one that continues the same chain.

        A file that is at the path now is kept under another name.
        """
        self.move_aside("replaced")
        if self.rescued.exists():
            self.rescued.replace(self.path)
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


def _is_unused(connected: _Connected) -> bool:
    """Whether the database is still as created, because its first start was interrupted."""
    rows_of = "SELECT EXISTS (SELECT 1 FROM {})".format
    used = (connected.connection.execute(rows_of(t)).fetchone()[0] for t in _IN_USE)
    return head_of(connected.connection).seq <= 1 and not any(used)


def _unlike(connected: _Connected, notes: dict[str, str], marker: Marker) -> str:
    """Return how this database differs from the one the marker describes; empty if it does not."""
    head = head_of(connected.connection)
    row = connected.connection.execute(
        "SELECT hash FROM audit WHERE id = ?", (marker.last_audit_seq,)
    ).fetchone()
    if notes.get("database_id") != marker.database_id:
        return "another database than the one last used"
    if head.seq < marker.last_audit_seq:
        return f"older than it was: its record ends at {head.seq}, it had {marker.last_audit_seq}"
    if row is not None and row[0] != marker.last_audit_hash:
        return "not the one last used: its record says something else"
    if connected.seal.number < marker.seal.number:
        return "older than it was: its seal is not the last one"
    if connected.seal.number == marker.seal.number and connected.seal != marker.seal:
        return "not the one last used: its seal says something else"
    return ""


# --- locks that must be in force ------------------------------------------------------------------


def _told_locks(connection: sqlite3.Connection) -> dict[tuple[int, LockKey], Lock]:
    """Return the locks in force by the audit. Used only where the rows cannot be believed."""
    told: dict[tuple[int, LockKey], Lock] = {}
    for action, old, new in connection.execute(
        "SELECT action, old, new FROM audit WHERE action IN (?, ?, ?) ORDER BY id",
        ("lock.set", "lock.cleared", PUT_BACK),
    ):
        with suppress(ValueError, KeyError, TypeError):
            lock = rows.lock_of_plain(json.loads(old if action == "lock.cleared" else new))
            if action == "lock.cleared":
                told.pop((lock.account_id, lock.key), None)
            else:
                told[lock.account_id, lock.key] = lock
    return told


def _locks_are_known(connected: _Connected) -> bool:
    """Whether the locks in the audit are exactly those that were sealed."""
    told = _told_locks(connected.connection).values()
    return digest_of_locks(iter(told)) == connected.seal.sums.get(LOCKS)


def _lost_locks(connected: _Connected, marker: Marker | None) -> list[Lock]:
    """Return the locks that must be in force: those sealed if known, else those of every source."""
    if LOCKS in connected.edited and _locks_are_known(connected):
        return list(_told_locks(connected.connection).values())
    known = marker.locks_in_force() if marker is not None else []
    if LOCKS in connected.edited:
        known += _told_locks(connected.connection).values()
    known += readable_locks(connected.connection)
    return strictest_of_each(known)


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
        if known == lock:
            continue
        writer.connection.execute(rows.PUT_LOCK, rows.lock_row(lock, now))
        writer.tell(
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


def unreconciled(opened_as: OpenedAs, why: str, had_locks: bool, last: SealedTables | None) -> str:
    """Return the note by which the next start finds the same verdict."""
    known = last or SealedTables()
    return json.dumps(
        {"as": opened_as, "why": why, "locks": had_locks, "seal": [known.number, known.content]}
    )


def readable_locks(connection: sqlite3.Connection) -> list[Lock]:
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


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file itself is broken."""
    if isinstance(error, UnicodeDecodeError):
        return True  # SQLite's message about a damaged schema
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and (code & 0xFF) in _DAMAGED
