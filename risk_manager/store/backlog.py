"""The queue of transactions to write. While the disk fails they are kept in memory."""

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import Any

from risk_manager.clock import Clock
from risk_manager.store.audit import Entry
from risk_manager.store.batch import PUT_META, Batch
from risk_manager.store.changes import everything
from risk_manager.store.connection import Connection
from risk_manager.store.memory import Memory
from risk_manager.store.schema import is_damage
from risk_manager.store.trouble import Trouble

BATCHES_AT_ONCE = 100
# While the disk is known to fail, a commit waits only this long for the retry.
_IN_TROUBLE_WAIT_S = 0.05


class Backlog:
    """Batches in order. One task writes them, and a caller waits for it for a bounded time.

    At most `limit` batches are kept. Beyond that, the whole state is written over the stored one.
    """

    def __init__(
        self,
        connection: Connection,
        memory: Memory,
        clock: Clock,
        trouble: Trouble,
        *,
        patience: timedelta,
        limit: int,
    ) -> None:
        self.commits = 0
        """The number of transactions written since the start."""
        self.writing: asyncio.Task[None] | None = None
        """The task that is writing, if any."""
        self.is_late = False
        """Whether the current write has taken longer than callers wait."""
        self.replacement_is_due = False
        self.awaits_check = False
        """Whether the file is still being looked through: until then damage is not made good from
        memory, as a start begins anew with what is known beside the database."""
        self._connection = connection
        self._memory = memory
        self._clock = clock
        self._trouble = trouble
        self._patience_s = patience.total_seconds()
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._dropped = 0
        self._rewrite_is_due = False
        self._has_foreign_rows = False

    @property
    def has_work(self) -> bool:
        return bool(self._batches) or self._rewrite_is_due or self.replacement_is_due

    # --- handing over ---

    def entry(
        self,
        actor: str,
        action: str,
        target: str,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> Batch:
        """Return a batch that begins with an audit row of this instant."""
        at = self._clock.now()
        return Batch.of_entry(at, actor, action, target, old=old, new=new, ok=ok)

    async def put(self, batch: Batch) -> bool:
        """Queue rows. Returns True once they are durable, False when they wait in memory."""
        self._batches.append(batch)
        if len(self._batches) > self._limit:
            self._batches.popleft()
            self._dropped += 1
            self._rewrite_is_due = True
        writing = self.writing or self._start()
        if self.is_late:
            return False
        is_in_trouble = self._trouble.reason is not None
        wait_s = _IN_TROUBLE_WAIT_S if is_in_trouble else self._patience_s
        done, _ = await asyncio.wait({writing}, timeout=wait_s)
        if done:
            return self._trouble.reason is None
        self.is_late = True
        if self._trouble.reason is None:
            self._trouble.begins(
                f"the database {self._connection.path.name} has not answered for {wait_s:g} s; "
                "enforcing from memory"
            )
        return False

    async def put_entries(self, entries: Iterable[Entry]) -> bool:
        """Queue audit rows as one transaction, in order. Returns True once they are durable."""
        batch = Batch()
        for entry in entries:
            batch.record(entry)
        return batch.is_empty or await self.put(batch)

    def replace_the_file(self, why: str) -> None:
        """Have a new file written from memory, as the file is gone."""
        self.replacement_is_due = True
        self._trouble.begins(why)
        self.retry()

    def put_right(self, why: str) -> None:
        """Have the state written again from memory, as another program wrote into the file."""
        self._rewrite_is_due = True
        self._has_foreign_rows = True
        self._trouble.begins(why)
        self.retry()

    def retry(self) -> None:
        """Start writing the queue, unless a write is running."""
        if self.has_work and self.writing is None:
            self._start()

    # --- writing ---

    def _start(self) -> asyncio.Task[None]:
        # Started eagerly, so that the disk works before the event loop runs again.
        loop = asyncio.get_running_loop()
        writing = asyncio.Task(self._drain(), loop=loop, name="store write", eager_start=True)
        self.writing = None if writing.done() else writing
        return writing

    async def _drain(self) -> None:
        """Write the queue in order. On a fault, report it and keep the rest."""
        try:
            while self.has_work:
                await self._write_some()
        except Exception as error:  # whatever it is, enforcement goes on and the fault is reported
            if is_damage(error) and not self.awaits_check:
                self.replacement_is_due = True
            self._trouble.begins(
                f"the database {self._connection.path.name} cannot be written ({error}); enforcing "
                f"from memory, {len(self._batches)} records wait"
            )
        else:
            self._trouble.is_over()
        finally:
            self.writing = None
            self.is_late = False

    async def _write_some(self) -> None:
        if self.replacement_is_due:
            await self._connection.replace()
            self.replacement_is_due = self._has_foreign_rows = False
            self._rewrite_is_due = True
            self._batches.append(self.entry("daemon", "database.replaced", "database"))
        if not self._batches and self._rewrite_is_due:
            self._batches.append(self._rewrite())
        batches = list(islice(self._batches, BATCHES_AT_ONCE))
        if not batches:
            return
        refused = await self._connection.write(batches)
        self.commits += 1
        # The limit may have dropped some of these batches meanwhile; they were written anyway.
        while batches and self._batches:
            if self._batches[0] is batches[0]:
                self._batches.popleft()
            batches.pop(0)
        if refused:
            self._trouble.report("some records could not be stored: " + "; ".join(refused[:5]))

    def _rewrite(self) -> Batch:
        self._rewrite_is_due = False
        dropped, self._dropped = self._dropped, 0
        batch = self.entry(
            "daemon", "database.rewritten", "database", new={"records_dropped": dropped}
        )
        latest = self._memory.latest
        if latest is not None:
            batch.statements += everything(latest, self._clock.now()).statements
            if not self._has_foreign_rows:  # edited notes are told by the seal
                batch.statements += [(PUT_META, note) for note in self._memory.notes.items()]
            batch.puts_right, self._has_foreign_rows = self._has_foreign_rows, False
            self._memory.restored(latest)
        return batch
