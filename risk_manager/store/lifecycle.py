"""Opens the database, has the whole file checked, puts a damaged one aside, and closes it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from risk_manager.clock import Clock
from risk_manager.store.backlog import Backlog
from risk_manager.store.batch import PUT_META
from risk_manager.store.connection import CLOSE_PATIENCE_S, Connection
from risk_manager.store.file_check import FileCheck
from risk_manager.store.memory import Memory
from risk_manager.store.mirror import Mirror
from risk_manager.store.notes import Notes
from risk_manager.store.rows import micros
from risk_manager.store.schema import DatabaseCorrupt, StoreError
from risk_manager.store.trouble import Trouble
from risk_manager.store.trust import Trust


class Lifecycle:
    """The database from its opening to its end, with as many files as damage makes necessary.

    A damaged file never keeps the daemon from starting, as every account would be unguarded then.
    """

    def __init__(
        self,
        connection: Connection,
        memory: Memory,
        trust: Trust,
        backlog: Backlog,
        mirror: Mirror,
        notes: Notes,
        clock: Clock,
        trouble: Trouble,
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._trust = trust
        self._backlog = backlog
        self._mirror = mirror
        self._notes = notes
        self._clock = clock
        self._trouble = trouble
        self._check: FileCheck | None = None

    async def start(self, damage: str = "") -> None:
        """Open the database, or begin another one where `damage` says what is wrong with it.

        A check of the whole file begins. Raises `StoreError` if no database can be used.
        """
        self._backlog.awaits_check = True
        opened = await self._connection.open(damage)
        self._trust.take_up(opened)
        self._memory.opened_locks = opened.locks
        with suppress(StoreError):  # damage is found by the check of the file
            await self._notes.take_up()
        await self._backlog.put(
            self._backlog.entry(
                "daemon",
                "started",
                "database",
                new={
                    "opened_as": opened.opened_as.value,
                    "why": opened.why,
                    "last_clean_stop": opened.last_clean_stop,
                    "migrations": opened.migrated,
                },
                ok=opened.opened_as.is_trusted,
            )
        )
        await self._mirror.write_marker()
        self._check = FileCheck(self._connection.path, self._connection.aside, self._is_whole)

    async def put_aside_if_damaged(self) -> bool:
        """Wait for the check of the file; begin another database, and return True, if it failed.

        Raises `StoreError`.
        """
        damage = "" if self._check is None else await self._check.damage()
        if damage:
            await self._put_aside(damage)
        return bool(damage)

    async def read[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query; if the file is damaged, run it on another database. Raises `StoreError`."""
        try:
            return await self._connection.read(question)
        except DatabaseCorrupt as error:
            await self._put_aside(str(error))
            return await self._connection.read(question)

    async def end_check(self) -> None:
        """Stop looking through the file, if that still goes on."""
        if self._check is not None:
            await self._check.end()
            self._check = None

    async def close(self, *, is_clean: bool) -> None:
        """Close the database. `is_clean`: the daemon was asked to stop."""
        if is_clean:
            batch = self._backlog.entry("daemon", "stopped", "database")
            batch.put(PUT_META, "last_clean_stop", str(micros(self._clock.now())))
            await self._backlog.put(batch)
        await self._mirror.write_marker()
        await self._mirror.write_witnesses(at_the_end=True)
        try:
            async with asyncio.timeout(CLOSE_PATIENCE_S):
                await self._connection.close()
        except (TimeoutError, sqlite3.Error) as error:
            path = self._connection.path
            self._trouble.report(f"the database {path} could not be closed: {error!r}")

    def _is_whole(self) -> None:
        self._backlog.awaits_check = False
        self._backlog.retry()

    async def _put_aside(self, damage: str) -> None:
        """Begin with another database; the notes, if they can be read, come along."""
        await self.end_check()
        notes: list[tuple[str, str]] = []
        with suppress(StoreError):
            notes = await self._notes.rows()
        with suppress(sqlite3.Error):
            await self._connection.close()
        await self.start(damage)
        await self._notes.put_rows(notes)
