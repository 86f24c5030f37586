"""The store's own work each second: check the file, retry writes, mirror, checkpoint."""

import asyncio
from contextlib import suppress
from datetime import timedelta

from risk_manager.clock import Clock
from risk_manager.store.backlog import Backlog
from risk_manager.store.connection import Connection
from risk_manager.store.mirror import Mirror
from risk_manager.store.schema import StoreError
from risk_manager.store.trouble import Trouble

LOOK_EVERY = timedelta(seconds=5)
CHECKPOINT_ABOVE_BYTES = 1_000_000


class Keeper:
    """Maintains an open database. No commit ever waits for it."""

    def __init__(
        self,
        connection: Connection,
        backlog: Backlog,
        mirror: Mirror,
        clock: Clock,
        trouble: Trouble,
    ) -> None:
        self._connection = connection
        self._backlog = backlog
        self._mirror = mirror
        self._clock = clock
        self._trouble = trouble
        self._looked_at = 0.0
        self._commits_seen = 0

    async def run(self, ended: asyncio.Event, every: timedelta) -> None:
        """Run a round every `every` until `ended` is set."""
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every.total_seconds())
                return
            try:
                await self.keep()
            except Exception as error:  # the keeper must survive any fault and report it
                self._trouble.report(f"the keeper of the database stumbled: {error!r}")

    async def keep(self) -> None:
        """Run one round."""
        if self._clock.monotonic() - self._looked_at >= LOOK_EVERY.total_seconds():
            await self.look_around()
        self._backlog.retry()
        self._trouble.remind()
        await self._mirror.write_marker()
        await self._mirror.write_witnesses()
        await self._checkpoint_when_idle()

    async def look_around(self) -> None:
        """Notice that the file was deleted, replaced, or written to by another program."""
        self._looked_at = self._clock.monotonic()
        backlog, connection = self._backlog, self._connection
        if backlog.replacement_is_due or backlog.is_late or connection.writer is None:
            return
        if await connection.has_lost_its_file():
            backlog.replace_the_file(
                f"{connection.path} was deleted or replaced; it is written anew from memory"
            )
            return
        try:
            is_foreign = await connection.was_written_by_another()
        except StoreError as error:
            self._trouble.begins(str(error))
            return
        if is_foreign:
            backlog.put_right(
                f"another program wrote into {connection.path}; it is put right from memory"
            )

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database file. Raises `StoreError`."""
        await self._connection.read(
            lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        )

    async def _checkpoint_when_idle(self) -> None:
        """Checkpoint outside of commits: SQLite would otherwise do so in one every 1000 pages."""
        was_idle = self._backlog.commits == self._commits_seen
        self._commits_seen = self._backlog.commits
        # Nor beside the check of the file: a reader would keep it, and commits behind it, waiting.
        is_at_work = self._backlog.writing is not None or self._backlog.awaits_check
        if not was_idle or is_at_work or self._trouble.reason is not None:
            return
        path = self._connection.path
        log = path.with_name(path.name + "-wal")
        try:
            size_bytes = log.stat().st_size
        except OSError:
            return
        if size_bytes > CHECKPOINT_ABOVE_BYTES:
            await self.checkpoint()
