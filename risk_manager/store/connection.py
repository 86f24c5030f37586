"""The database connection on a thread of its own: opening, queries, replacement and closing."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiosqlite

from risk_manager.store.audit import Head
from risk_manager.store.batch import Batch
from risk_manager.store.opening import Opened, Opener
from risk_manager.store.schema import DatabaseCorrupt, StoreError, is_damage
from risk_manager.store.tamper_digest import SealedTables
from risk_manager.store.writer import Writer

READ_PATIENCE_S = 5.0
CLOSE_PATIENCE_S = 5.0


class Connection:
    """One connection and its writer, which is None while no database is open.

    `head` and `sealed` are the durable end of the audit chain and the durable seal.
    """

    def __init__(self, opener: Opener) -> None:
        self.path = opener.path
        self.database_id = ""
        self.writer: Writer | None = None
        self.head = Head()
        self._opener = opener
        self._thread: aiosqlite.Connection | None = None
        self._last_sealed = SealedTables()
        self._identity: tuple[object, ...] = ()
        self._data_version = 0

    @property
    def sealed(self) -> SealedTables:
        return self._last_sealed if self.writer is None else self.writer.sealed

    # --- asking ---

    async def run[T](self, work: Callable[[], T]) -> T:
        """Run `work` on the connection's thread, in one hop."""
        if self._thread is None:
            raise StoreError(f"the database {self.path} is not open")
        # aiosqlite has no public way to run more than one statement in one hop.
        result: T = await self._thread._execute(work)  # type: ignore[no-untyped-call]
        return result

    async def aside[T](self, work: Callable[[], T]) -> T:
        """Run `work` on another thread, for file work that does not use this connection."""
        return await asyncio.to_thread(work)

    async def once[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a small piece of work in a transaction of its own. Raises `StoreError`."""
        writer = self.open_writer()
        # Read in the same hop: a moment later the head may belong to a write not yet durable.
        result, self.head = await self._ask(lambda: (writer.once(work), writer.head))
        return result

    async def write(self, batches: Sequence[Batch]) -> list[str]:
        """Write all batches in one transaction; return messages on rows that could not be stored.

        Raises the error of a failing disk; then nothing of the batches is stored.
        """
        writer = self.open_writer()
        refused, self.head = await self.run(lambda: (writer.write(batches), writer.head))
        return refused

    async def read[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that changes nothing. Raises `StoreError`."""
        return await self._ask(partial(question, self.open_writer().connection))

    def open_writer(self) -> Writer:
        """Return the writer. Raises `StoreError` while no database is open."""
        if self.writer is None:
            raise StoreError(f"the database {self.path} is not open")
        return self.writer

    async def _ask[T](self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                return await self.run(work)
        except TimeoutError:
            raise StoreError(
                f"the database {self.path} did not answer within {READ_PATIENCE_S:g} s"
            ) from None
        except sqlite3.Error as error:
            kind = DatabaseCorrupt if is_damage(error) or _is_misshapen(error) else StoreError
            raise kind(f"the database {self.path} cannot answer: {error}") from error
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:
            raise DatabaseCorrupt(
                f"the database {self.path} holds a value this program cannot read: {error}"
            ) from error

    # --- opening, replacing, closing ---

    async def open(self, damage: str = "") -> Opened:
        """Open the file, or start a new one if `damage` says what is wrong with it.

        Raises `StoreError`.
        """
        found: list[Opened] = []

        def make() -> sqlite3.Connection:
            found.append(self._opener.open(damage))
            return found[0].connection

        await self._take_up(make)
        self.database_id = found[0].database_id
        return found[0]

    async def replace(self) -> None:
        """Replace a file that is gone or broken by another one. Raises if that fails too."""
        if self.writer is not None:
            await self.run(partial(self._opener.rescue, self.writer.connection))
        head, sealed = self.head, self.sealed
        with suppress(sqlite3.Error):  # the file is gone, so closing it may fail
            await self.close()
        await self._take_up(lambda: self._opener.replace(self.database_id, head, sealed))

    async def close(self) -> None:
        """Close the connection. Raises sqlite3.Error."""
        if self.writer is not None:
            self._last_sealed = self.writer.sealed
        thread, self._thread, self.writer = self._thread, None, None
        if thread is not None:
            await thread.close()

    async def _take_up(self, make: Callable[[], sqlite3.Connection]) -> None:
        self.writer = await self.connect(make)
        self.head = self.writer.head

    async def connect(self, make: Callable[[], sqlite3.Connection]) -> Writer:
        """Start a new thread with a connection of its own."""
        made: list[Writer] = []

        def connect() -> sqlite3.Connection:
            connection = make()
            try:
                made.append(Writer(connection))
                self._data_version = _data_version(connection)
                self._identity = _identity(self.path)
            except sqlite3.Error as error:
                connection.close()
                raise StoreError(f"cannot read {self.path}: {error}") from error
            return connection

        thread = aiosqlite.Connection(connect, iter_chunk_size=64)
        # A thread blocked by a dead disk must not keep the process from ending.
        thread._thread.daemon = True
        try:
            await thread
        except BaseException:
            # The thread still reports to this loop; it must end before the loop may be closed.
            await asyncio.to_thread(thread._thread.join, CLOSE_PATIENCE_S)
            raise
        self._thread = thread
        return made[0]

    # --- other hands ---

    async def has_lost_its_file(self) -> bool:
        """Whether the file was deleted or replaced by another one."""
        return await self.aside(partial(_identity, self.path)) != self._identity

    async def was_written_by_another(self) -> bool:
        """Whether another program wrote into the file since the last check. Raises `StoreError`."""
        version = await self.read(_data_version)
        known, self._data_version = self._data_version, version
        return version != known


def _is_misshapen(error: sqlite3.Error) -> bool:
    """Whether a table or column differs from our schema, which this program never causes."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _identity(path: Path) -> tuple[object, ...]:
    """Return values that tell these files from later ones of the same name."""
    found: list[object] = []
    for part in (path, path.with_name(path.name + "-wal")):
        try:
            status = os.stat(part)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
