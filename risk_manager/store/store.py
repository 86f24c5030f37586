"""The store: everything that must survive, committed before it is acted on."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.store import audit, place, reading, schema, upkeep
from risk_manager.store.audit import AuditBreak, Entry
from risk_manager.store.backlog import Backlog
from risk_manager.store.batch import Persisted
from risk_manager.store.changes import changes, keeps_nothing, lost_in_flight
from risk_manager.store.connection import CLOSE_PATIENCE_S, Connection
from risk_manager.store.finding import OpenedAs
from risk_manager.store.journal import Journal
from risk_manager.store.keeper import Keeper
from risk_manager.store.lifecycle import Lifecycle
from risk_manager.store.memory import Memory
from risk_manager.store.mirror import Mirror
from risk_manager.store.notes import Notes
from risk_manager.store.opening import Opener
from risk_manager.store.pruning import prune
from risk_manager.store.recovery import Recovery
from risk_manager.store.schema import Migration, StoreError
from risk_manager.store.side_records import SideRecords
from risk_manager.store.sidecar_files import read_audit_head
from risk_manager.store.trouble import Trouble, TroubleListener
from risk_manager.store.trust import Trust

PATIENCE = timedelta(seconds=2)
"""How long a commit waits for the disk before enforcement goes on without it."""
BACKLOG_LIMIT = 10_000
KEEP_EVERY = timedelta(seconds=1)


class Store:
    """One connection, one writer. Open it with `async with Store.open(...)`.

    `backlog` writes, `keeper` maintains the file, `mirror` writes the files outside the database,
    `notes` keeps small texts, `trust` holds the findings of the opening, and `recovery` restores
    what was lost. `journal` receives every event; see `keep_journal`.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        *,
        on_trouble: TroubleListener,
        patience: timedelta,
        backlog_limit: int,
    ) -> None:
        self.path = connection.path
        self.journal: Journal | None = None
        self.trust = Trust(connection.path)
        self._clock = clock
        self._connection = connection
        self._memory = Memory()
        self._trouble = Trouble(clock, on_trouble)
        self.backlog = Backlog(
            connection, self._memory, clock, self._trouble, patience=patience, limit=backlog_limit
        )
        self.mirror = Mirror(connection, self._memory, self.trust, clock, self._trouble)
        self.recovery = Recovery(
            connection, self._memory, self.trust, self.mirror, self.backlog, clock
        )
        self.keeper = Keeper(connection, self.backlog, self.mirror, clock, self._trouble)
        self.notes = Notes(connection, self._memory, self.backlog, self.trust)
        self.side_records = SideRecords(self.backlog)
        self._lifecycle = Lifecycle(
            connection,
            self._memory,
            self.trust,
            self.backlog,
            self.mirror,
            self.notes,
            clock,
            self._trouble,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        on_trouble: TroubleListener = lambda _: None,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
        connect: Callable[[Opener], Connection] = Connection,
        migrations: tuple[Migration, ...] | None = None,
        patience: timedelta = PATIENCE,
        keep_every: timedelta = KEEP_EVERY,
        backlog_limit: int = BACKLOG_LIMIT,
    ) -> AsyncIterator["Store"]:
        """Open (or create, or migrate) the database at `path`; close it at the end.

        `on_trouble` is called with a sentence when writing fails, again from time to time while it
        fails, and with None when everything is written again. Raises `StoreError` if no database
        can be used.
        """
        opener = Opener(
            path=path,
            now=clock.now,
            connection_class=connection_class,
            migrations=schema.shipped_migrations() if migrations is None else migrations,
        )
        store = cls(
            connect(opener),
            clock,
            on_trouble=on_trouble,
            patience=patience,
            backlog_limit=backlog_limit,
        )
        await store.start()
        ended = asyncio.Event()
        keeper = asyncio.create_task(store.keeper.run(ended, keep_every), name="store keeper")
        is_clean = False
        try:
            yield store
            is_clean = True
        finally:
            ended.set()
            await asyncio.wait({keeper}, timeout=CLOSE_PATIENCE_S)
            keeper.cancel()
            await store.stop(is_clean=is_clean)

    @property
    def trouble(self) -> str | None:
        """Why changes are for now kept only in memory, as a sentence; None if they are stored."""
        return self._trouble.reason

    @property
    def opened_as(self) -> OpenedAs:
        return self.trust.opened_as

    @property
    def opened_why(self) -> str:
        return self.trust.opened_why

    @property
    def had_locks(self) -> bool:
        return self.trust.had_locks

    @property
    def needs_reconciling(self) -> bool:
        return self.trust.needs_reconciling

    @property
    def last_clean_stop(self) -> datetime | None:
        return self.trust.last_clean_stop

    # --- the pipeline's side ----------------------------------------------------------------------

    async def restore(
        self, rulebook: Rulebook, now: datetime, only: Collection[int] | None = None
    ) -> State:
        """Return the state of the last run, of the accounts in `only` if given. Once per start.

        Actions that were in flight are marked as lost; the rules will ask again. The first event
        notices a missed reset. A database that cannot be read is put aside; the state is then
        empty, and `needs_reconciling` is True. Raises `StoreError`.
        """
        state = await self.read_again(rulebook, now, only)
        await self.backlog.put(lost_in_flight(now))
        return state

    async def read_again(
        self, rulebook: Rulebook, now: datetime, only: Collection[int] | None = None
    ) -> State:
        """Read the state again under another rulebook, after `recovery` has put locks back."""
        chosen = None if only is None else frozenset(only)
        state = await self._lifecycle.read(
            partial(reading.state, rulebook=rulebook, now=now, only=chosen)
        )
        self._memory.restored(state)
        return state

    async def checked(self) -> None:
        """Wait until the whole file has been looked through, which begins with the opening.

        To be asked at a start before anything is judged. What is read before then is compared with
        its seal, and nothing rests on the rest. A damaged file is put aside as at the opening;
        the state is then to be read again, and `needs_reconciling` says so. Raises `StoreError`.
        """
        if await self._lifecycle.put_aside_if_damaged() and self.mirror.gateway:
            await self.belongs_to(self.mirror.gateway)

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        """Write the changes of an event in one transaction, and return once they are durable.

        A failing disk raises no error and is waited for no longer than `patience`. `trouble` then
        says why, and the rows are written in order as soon as possible.
        """
        await self.commit_turn((Judged(event, before, outcome),))

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        """The same for events that were judged together: all of them or none."""
        if all([keeps_nothing(*judged) for judged in turn]):
            self._journal_only(turn)
            return
        batch = changes(self._memory.persisted, turn)
        after = turn[-1].outcome.state
        self._memory.latest = after
        if batch.is_empty:
            self._journal_only(turn)
            return
        if self.journal is not None:
            batch.statements += self.journal.rows_of(turn)
        self._memory.persisted = Persisted.of(after)
        await self.backlog.put(batch)

    def _journal_only(self, turn: Sequence[Judged]) -> None:
        """Note events in the journal only, as they changed nothing that is persisted."""
        if self.journal is not None:
            self.journal.note_turn(turn)

    async def keep_journal(self, folder: Path, version: str) -> None:
        """Journal every event from now on, in this folder or together with its changes."""
        row = await self._connection.read(
            lambda c: c.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()
        )
        report = self._trouble.report
        self.journal = await self._connection.aside(
            partial(Journal, folder, last_seq=row[0], version=version, on_trouble=report)
        )

    # --- the daemon's side ------------------------------------------------------------------------

    async def look_up[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that changes nothing; see `reading`. Raises `StoreError`."""
        return await self._connection.read(question)

    async def audit(
        self,
        actor: str,
        action: str,
        target: str,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> bool:
        """Add one row to the audit chain; True once it is durable, False while it waits."""
        entry = self.backlog.entry(actor, action, target, old=old, new=new, ok=ok)
        return await self.backlog.put(entry)

    async def audit_all(self, entries: Iterable[Entry]) -> bool:
        """Add several rows in one transaction, in their order; True once they are durable."""
        return await self.backlog.put_entries(entries)

    async def belongs_to(self, gateway: str) -> None:
        """Note the gateway that the data comes from, for starts with another gateway."""
        self.mirror.gateway = gateway
        if await self.notes.get(place.NOTE) != gateway:
            await self.notes.put(place.NOTE, gateway)
            await self.audit("daemon", "gateway.noted", "database", new={"gateway": gateway})

    async def backup(self) -> Path:
        """Make a verified copy in `backups/`. Raises `StoreError`."""
        return await self._connection.aside(partial(upkeep.back_up, self.path, self._clock.now()))

    async def prune(self, now: datetime) -> dict[str, int]:
        """Remove rows past their retention. Returns the count per table. Raises `StoreError`."""
        return await prune(self._connection, self.backlog, now)

    # --- opening and closing ----------------------------------------------------------------------

    async def start(self) -> None:
        """Open the database. Raises `StoreError` if no database can be used."""
        await self._lifecycle.start()

    async def stop(self, *, is_clean: bool) -> None:
        """Close the database. `is_clean`: the daemon was asked to stop."""
        await self._lifecycle.end_check()
        if self.journal is not None:
            await self._connection.aside(self.journal.close)
        await self._lifecycle.close(is_clean=is_clean)


def verify_audit(path: Path) -> AuditBreak | None:
    """Return the first broken audit row of a file, or None. Safe in any process.

    Raises `StoreError`.
    """
    mirror = read_audit_head(path)  # before the database, so that it cannot be ahead of it
    try:
        with upkeep.open_reader(path) as connection:
            return audit.verify(connection, mirror)
    except sqlite3.Error as error:
        raise StoreError(f"the audit rows of {path} cannot be read: {error}") from error
