"""The store: everything that must survive, committed before anything is done about it."""

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import aiosqlite

from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.executions import Execution
from risk_manager.domain.locks import Lock
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.store import audit, place, reading, rows, schema, upkeep
from risk_manager.store.audit import AuditBreak, Entry, Head
from risk_manager.store.changes import Batch, Kept, changes, everything, is_quiet
from risk_manager.store.journal import INSERT as INSERT_EVENT
from risk_manager.store.journal import Journal, kind_of, written
from risk_manager.store.opening import (
    ALL_LOCKED,
    STAYS_LOCKED,
    UNRECONCILED,
    Opened,
    OpenedAs,
    Opener,
    is_damage,
    put_back,
    readable_locks,
    strictest_of_each,
    unreconciled,
)
from risk_manager.store.reading import AuditRow, ConnectionRow, DayRow, EnforcementRow, LockRow
from risk_manager.store.rows import micros
from risk_manager.store.schema import DatabaseCorrupt, Migration, StoreError
from risk_manager.store.sidecar_files import Marker, read_audit_head, write_marker, written_lock
from risk_manager.store.taken_back import TakenBack, take_back
from risk_manager.store.tamper_digest import SealedTables, digest_of_note
from risk_manager.store.witness import Reached, Witness, Witnesses
from risk_manager.store.writer import Writer

PATIENCE = timedelta(seconds=2)
"""How long a commit waits for the disk before enforcement goes on from memory."""
BACKLOG_LIMIT = 10_000
BATCHES_AT_ONCE = 100
KEEP_EVERY = timedelta(seconds=1)
LOOK_EVERY = timedelta(seconds=5)
MIRROR_SEAL_EVERY = timedelta(seconds=10)
WITNESS_EVERY = timedelta(minutes=5)
"""How often the witnesses follow a record in which no lock and no limit changes."""
REMIND_EVERY = timedelta(seconds=10)
CHECKPOINT_ABOVE_BYTES = 1_000_000
PUT_NOTE = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
# While the disk is known to be in trouble a commit only gives the retry a chance.
_IN_TROUBLE_WAIT_S = 0.05
_READ_PATIENCE_S = 5.0
_CLOSE_PATIENCE_S = 5.0

TroubleListener = Callable[[str | None], None]


class Store:
    """One connection, one writer. Open it with `async with Store.open(...)`.

    `trouble` is None, or a sentence on why what happens is for now only in memory.
    `opened_as` and `opened_why` tell what was found; see `needs_reconciling`.
    """

    def __init__(
        self,
        opener: Opener,
        clock: Clock,
        *,
        on_trouble: TroubleListener,
        patience: timedelta,
        backlog_limit: int,
    ) -> None:
        self.path = opener.path
        self.trouble: str | None = None
        self.opened_as = OpenedAs.FRESH
        self.opened_why = ""
        self.had_locks = False
        self.last_clean_stop: datetime | None = None
        self.needs_reconciling = False
        self.gateway = ""
        """The one it was learnt from; see `belongs_to`."""
        self.journal: Journal | None = None
        """What is told every event; see `keep_journal`."""
        self.commits = 0
        """Transactions written since the start."""
        self.hops = 0
        """Times the database's thread was asked for anything."""
        self._opener = opener
        self._clock = clock
        self._on_trouble = on_trouble
        self._patience_s = patience.total_seconds()
        self._database_id = ""
        self._connection: aiosqlite.Connection | None = None
        self._writer: Writer | None = None
        self._backlog: deque[Batch] = deque()
        self._backlog_limit = backlog_limit
        self._dropped = 0
        self._kept = Kept()
        self._latest: State | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_late = False
        self._rewrite_is_due = False
        self._replacement_is_due = False
        self._reminded_at = 0.0
        self._looked_at = 0.0
        self._last_head = Head()
        self._last_seal: SealedTables | None = None
        self._opened_locks: tuple[Lock, ...] = ()
        self._mirrored: Marker | None = None
        self._mirrored_at = 0.0
        self._opened_seal_number = 0
        self._witnesses: Witnesses | None = None
        self._witnessed_at = 0.0
        self._witness_trouble = ""
        self._foreign_rows = False
        self._noted: dict[str, str] = {}
        self._identity: tuple[object, ...] = ()
        self._data_version = 0
        self._commits_at_last_beat = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        on_trouble: TroubleListener = lambda _: None,
        connection_class: type[sqlite3.Connection] = sqlite3.Connection,
        migrations: tuple[Migration, ...] | None = None,
        patience: timedelta = PATIENCE,
        keep_every: timedelta = KEEP_EVERY,
        backlog_limit: int = BACKLOG_LIMIT,
    ) -> AsyncIterator["Store"]:
        """Open (or create, or migrate) the database at `path`; close it at the end.

        `on_trouble` is called with a sentence when writing fails (and now and then while it does)
        and with None when all is written again. Raises `StoreError`: no database can be used.
        """
        opener = Opener(
            path=path,
            now=clock.now,
            connection_class=connection_class,
            migrations=schema.shipped_migrations() if migrations is None else migrations,
        )
        store = cls(
            opener, clock, on_trouble=on_trouble, patience=patience, backlog_limit=backlog_limit
        )
        await store._open()
        ended = asyncio.Event()
        keeper = asyncio.create_task(store._keep_until(ended, keep_every), name="store keeper")
        is_clean = False
        try:
            yield store
            is_clean = True
        finally:
            ended.set()
            await asyncio.wait({keeper}, timeout=_CLOSE_PATIENCE_S)
            keeper.cancel()
            await store._close(is_clean=is_clean)

    # --- the pipeline's side ----------------------------------------------------------------------

    async def restore(
        self, rulebook: Rulebook, now: datetime, only: Collection[int] | None = None
    ) -> State:
        """The state of the last run (of the accounts named in `only`, if given).

        Actions that were in flight are marked as lost: the rules will ask again. A reset that was
        missed is noticed by the first event. A database that cannot be read is put aside: the
        state is then empty, and `needs_reconciling` says so. Raises `StoreError`.
        """
        chosen = None if only is None else frozenset(only)
        read = partial(reading.state, rulebook=rulebook, now=now, only=chosen)
        try:
            state = await self._read(read)
        except DatabaseCorrupt as error:
            # Not to start at all would leave every account unguarded.
            await self._put_aside(str(error))
            state = await self._read(read)
        self._kept = Kept.of(state)
        self._latest = state
        batch = Batch()
        batch.put(
            "UPDATE enforcement_log SET outcome = 'lost', last_seen = ? WHERE outcome = 'sent'",
            micros(now),
        )
        batch.put(
            "UPDATE intents SET state = 'LOST', updated_at = ?,"
            " last_error = 'the daemon ended before it heard' WHERE state IN ('NEW', 'SENT')",
            micros(now),
        )
        await self._put(batch)
        return state

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        """Write what the event changed, in one transaction, and return once it is durable.

        Never raises for a failing disk and never waits for one longer than its patience: then
        `trouble` says so, and the rows are written, in order, as soon as that is possible.
        """
        await self.commit_turn((Judged(event, before, outcome),))

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        """The same for events that were judged together: all of them or none."""
        if all([is_quiet(*judged) for judged in turn]):
            self._note(turn)
            return
        batch = changes(self._kept, turn)
        after = turn[-1].outcome.state
        self._latest = after
        if batch.is_empty:
            self._note(turn)
            return
        if self.journal is not None:
            last = len(turn) - 1
            for place, (event, before, _) in enumerate(turn):
                seq, day = self.journal.number(before)
                kind = kind_of(event, goes_on=place < last)
                row = (seq, day.isoformat(), micros(event.at), kind, written(event))
                batch.put(INSERT_EVENT, *row)
        self._kept = Kept.of(after)
        await self._put(batch)

    def _note(self, turn: Sequence[Judged]) -> None:
        """For the journal alone: these changed nothing that is kept."""
        if self.journal is not None:
            last = len(turn) - 1
            for place, (event, before, _) in enumerate(turn):
                self.journal.note(event, before, goes_on=place < last)

    async def keep_journal(self, folder: Path, version: str) -> None:
        """Record every event from now on, in this folder and along with what it changed."""
        row = await self._read(
            lambda c: c.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()
        )
        self.journal = await asyncio.to_thread(
            partial(Journal, folder, last_seq=row[0], version=version, on_trouble=self._on_trouble)
        )

    # --- the daemon's side ------------------------------------------------------------------------

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
        return await self._put(self._told(actor, action, target, old=old, new=new, ok=ok))

    async def audit_all(self, entries: Iterable[Entry]) -> bool:
        """Add several rows in one transaction, in their order; True once they are durable."""
        batch = Batch()
        for entry in entries:
            batch.tell(entry)
        return batch.is_empty or await self._put(batch)

    async def put_note(self, key: str, value: str) -> bool:
        """Keep a small text under a key; True once it is durable."""
        batch = Batch()
        batch.put(PUT_NOTE, f"note:{key}", value)
        self._noted[key] = value
        return await self._put(batch)

    async def note(self, key: str) -> str | None:
        """The text last put under this key."""
        row = await self._read(
            lambda c: c.execute("SELECT value FROM meta WHERE key = ?", (f"note:{key}",)).fetchone()
        )
        return None if row is None else str(row[0])

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        """Whether a suspicious database's note is the one we last kept, as far as can be told."""
        if self._last_seal is None or not self._last_seal.sums:
            return True
        if key in self._noted:
            return value == self._noted[key]
        known = self._last_seal.sums.get(f"note:{key}")
        if not value:
            return known in (None, digest_of_note(key, ""))
        return known == digest_of_note(key, value)

    async def clock_in(self, account_id: int) -> bool:
        """The trader begins a session on this account (nothing, if one is open)."""
        batch = self._told("trader", "session.began", f"account:{account_id}")
        batch.put(
            "INSERT INTO sessions (account_id, clock_in_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
            account_id,
            micros(self._clock.now()),
        )
        return await self._put(batch)

    async def clock_out(self, account_id: int) -> bool:
        """The trader ends the open session of this account."""
        batch = self._told("trader", "session.ended", f"account:{account_id}")
        batch.put(
            "UPDATE sessions SET clock_out_at = ? WHERE account_id = ? AND clock_out_at IS NULL",
            micros(self._clock.now()),
            account_id,
        )
        return await self._put(batch)

    async def heed(self, witnesses: Witnesses, account_ids: Iterable[int]) -> list[str]:
        """Put in force what the witnesses of these accounts know and this database does not.

        Returns the limits that were in force by another database's word, or by this one's before
        an older copy took its place. To be asked before `restore`. Raises `StoreError`.
        """
        known: dict[int, Witness] = {}
        unread: list[int] = []
        for account_id in sorted(account_ids):
            try:
                found = await asyncio.to_thread(witnesses.read, account_id)
            except (OSError, ValueError) as error:
                unread.append(account_id)
                self._on_trouble(f"{witnesses.path(account_id)} cannot be read: {error}")
            else:
                if found is not None:
                    known[account_id] = found
        witnesses.follow(account_ids)
        self._witnesses = witnesses
        return await self._once(partial(self._believe, known, unread))

    def _believe(
        self, known: dict[int, Witness], unread: list[int], connection: sqlite3.Connection
    ) -> list[str]:
        writer = self._writer
        assert writer is not None
        lost: list[Lock] = []
        limits: list[str] = []
        for account_id, witness in known.items():
            own = witness.reached.get(self._database_id)
            is_older = own is not None and not self._continues(connection, own)
            if not is_older and witness.database_id == self._database_id:
                continue
            limits.append(witness.limits)
            lost += witness.locks_in_force()
            if is_older:
                lasting = "it had locks in force; " * bool(witness.locks)
                self._suspect(
                    OpenedAs.ROLLED_BACK,
                    f"{self.path} is older than it was when it guarded account {account_id}: "
                    f"{lasting}{STAYS_LOCKED}",
                    had_locks=witness.had_locks or bool(witness.locks),
                )
            elif witness.locks:
                self._suspect(
                    OpenedAs.ELSEWHERE,
                    f"account {account_id} was last guarded with another data folder than "
                    f"{self.path.parent}; its locks hold here as well",
                    had_locks=witness.had_locks,
                )
        if unread and self.opened_as.knows_nothing:
            names = ", ".join(map(str, unread))
            why = f"what is kept of account {names} beside its lock file cannot be read"
            self._suspect(OpenedAs.ELSEWHERE, f"{why}; {ALL_LOCKED}", had_locks=True)
        if lost:
            held = readable_locks(connection)
            put_back(writer, strictest_of_each([*held, *lost]), self._clock.now())
        if self.needs_reconciling:
            note = unreconciled(self.opened_as, self.opened_why, self.had_locks, self._last_seal)
            connection.execute(PUT_NOTE, (UNRECONCILED, note))
        # Until the state is read again, these are the locks that are known.
        self._opened_locks, self._latest = tuple(readable_locks(connection)), None
        self._last_head = writer.head
        return list(dict.fromkeys(limits))

    def _continues(self, connection: sqlite3.Connection, reached: Reached) -> bool:
        """Whether this database is what it was by then, and what has come since."""
        head = audit.head_of(connection)
        if head.seq < reached.seq or self._opened_seal_number < reached.seal_number:
            return False
        row = connection.execute("SELECT hash FROM audit WHERE id = ?", (reached.seq,)).fetchone()
        return row is None or bool(row[0] == reached.digest)

    def _suspect(self, opened_as: OpenedAs, why: str, *, had_locks: bool) -> None:
        """What is suspicious already stays what it was."""
        if not self.needs_reconciling:
            self.opened_as, self.opened_why, self.had_locks = opened_as, why, False
        elif why not in self.opened_why:
            self.opened_why += f"; {why}"
        self.needs_reconciling = True
        self.had_locks |= had_locks

    def now_in_force(self, limits: str) -> None:
        """What the witnesses keep of the limits; they are written from now on."""
        if self._witnesses is not None:
            self._witnesses.limits = limits

    async def reconciled(self) -> bool:
        """State was rebuilt from the broker: a suspicious database is trusted again."""
        if not self.needs_reconciling:
            return True
        self.needs_reconciling = False
        batch = self._told(
            "daemon", "database.reconciled", "database", old={"why": self.opened_why}
        )
        batch.put("DELETE FROM meta WHERE key = 'unreconciled'")
        return await self._put(batch)

    async def belongs_to(self, gateway: str) -> None:
        """Note which gateway this is learnt from, where a start with another one looks."""
        self.gateway = gateway
        if await self.note(place.NOTE) != gateway:
            await self.put_note(place.NOTE, gateway)
            await self.audit("daemon", "gateway.noted", "database", new={"gateway": gateway})

    async def last_judged(self) -> tuple[datetime | None, date | None]:
        """When what is kept here was last judged, and of which trading date: time has come so far.

        Nothing where another hand may have written it.
        """
        if self.needs_reconciling:
            return None, None
        return await self._read(reading.last_judged)

    async def take_back(self, now: datetime, today: date, also: Iterable[Lock] = ()) -> TakenBack:
        """Put locks back in force that ended at an instant which has not come; before `restore`.

        `also` are locks that are in force at another gateway.
        """
        writer = self._writer
        if writer is None:
            raise StoreError(f"the database {self.path} is not open")
        found = await self._once(partial(take_back, writer=writer, now=now, today=today, also=also))
        self._last_head = writer.head
        self._opened_locks = found.in_force
        return found

    # --- looking things up ------------------------------------------------------------------------

    async def enforcement(
        self, account_id: int | None = None, limit: int = 50
    ) -> list[EnforcementRow]:
        """The newest decisions and actions. All lookups raise `StoreError` when it cannot be."""
        return await self._read(lambda c: reading.enforcement(c, account_id, limit))

    async def lock_history(self, account_id: int | None = None, limit: int = 50) -> list[LockRow]:
        return await self._read(lambda c: reading.lock_history(c, account_id, limit))

    async def trades(self, account_id: int, trading_day: date) -> list[Execution]:
        return await self._read(lambda c: reading.trades(c, account_id, trading_day))

    async def daily_summaries(self, account_id: int, limit: int = 30) -> list[DayRow]:
        return await self._read(lambda c: reading.daily_summaries(c, account_id, limit))

    async def audit_tail(self, limit: int = 50) -> list[AuditRow]:
        return await self._read(lambda c: reading.audit_tail(c, limit))

    async def connection_history(self, limit: int = 50) -> list[ConnectionRow]:
        return await self._read(lambda c: reading.connection_history(c, limit))

    async def verify_audit(self) -> AuditBreak | None:
        """The first broken row of the audit chain; None when it holds."""
        return await asyncio.to_thread(verify_audit, self.path)

    # --- upkeep -----------------------------------------------------------------------------------

    async def backup(self) -> Path:
        """A verified copy in `backups/`. Raises `StoreError`."""
        return await asyncio.to_thread(upkeep.back_up, self.path, self._clock.now())

    async def prune(self, now: datetime) -> dict[str, int]:
        """Remove what is past its time, a little at a time; returns rows removed per table."""
        removed: dict[str, int] = {}
        for table in upkeep.RETENTION:
            removed[table] = await self._prune(partial(upkeep.prune_some, table=table, now=now))
        removed["daily_summary"] = await self._once(partial(upkeep.prune_summaries, now=now))
        await self._tell_old_locks_again(now)
        removed["audit"] = await self._prune(partial(upkeep.prune_audit, now=now))
        removed = {table: count for table, count in removed.items() if count}
        if removed:
            await self._read(lambda c: c.execute("PRAGMA incremental_vacuum(200)").fetchall())
            await self.audit("daemon", "database.pruned", "database", new=removed)
        return removed

    async def _tell_old_locks_again(self, now: datetime) -> None:
        """The audit must go on telling of a lock in force when the row that set it is gone."""
        locks = await self._read(lambda c: upkeep.locks_set_long_ago(c, now))
        await self.audit_all(
            Entry(
                at=micros(now),
                actor="daemon",
                action="lock.set",
                target=f"account:{lock.account_id}",
                new=rows.plain(lock),
            )
            for lock in locks
        )

    async def _prune(self, some: Callable[[sqlite3.Connection], int]) -> int:
        total = 0
        while count := await self._once(some):
            total += count
        return total

    async def checkpoint(self) -> None:
        """Move the write-ahead log into the database file. Raises `StoreError`."""
        await self._read(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    async def keep(self) -> None:
        """One round of what the keeper does by itself: look around, retry, mirror, check point."""
        if self._clock.monotonic() - self._looked_at >= LOOK_EVERY.total_seconds():
            await self.look_around()
        if self._has_work() and self._writing is None:
            self._start_writing()
        if self.trouble is not None:
            self._remind()
        await self._mirror()
        await self._witness()
        await self._checkpoint_when_idle()

    async def look_around(self) -> None:
        """Notice when the file was deleted, replaced, or written to by somebody else."""
        self._looked_at = self._clock.monotonic()
        if self._replacement_is_due or self._is_late or self._connection is None:
            return
        if await asyncio.to_thread(_identity, self.path) != self._identity:
            self._replacement_is_due = True
            self._say(f"{self.path} was deleted or replaced; it is written anew from memory")
        else:
            try:
                version = await self._read(_data_version)
            except StoreError as error:
                self._say(str(error))
                return
            if version == self._data_version:
                return
            self._data_version = version
            self._rewrite_is_due = True
            self._foreign_rows = True
            self._say(f"another program wrote into {self.path}; it is put right from memory")
        if self._writing is None:
            self._start_writing()

    async def settled(self) -> bool:
        """Wait for the write under way; True when nothing is left to write."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        return not self._has_work()

    # --- writing ----------------------------------------------------------------------------------

    def _told(
        self,
        actor: str,
        action: str,
        target: str,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> Batch:
        batch = Batch()
        batch.tell(
            Entry(
                at=micros(self._clock.now()),
                actor=actor,
                action=action,
                target=target,
                old=old,
                new=new,
                ok=ok,
            )
        )
        return batch

    async def _put(self, batch: Batch) -> bool:
        """Hand rows over; True once they are durable, False when they have to wait in memory."""
        self._backlog.append(batch)
        if len(self._backlog) > self._backlog_limit:
            self._backlog.popleft()
            self._dropped += 1
            self._rewrite_is_due = True
        writing = self._writing or self._start_writing()
        if self._is_late:
            return False
        wait_s = _IN_TROUBLE_WAIT_S if self.trouble is not None else self._patience_s
        done, _ = await asyncio.wait({writing}, timeout=wait_s)
        if done:
            return self.trouble is None
        self._is_late = True
        if self.trouble is None:
            self._say(
                f"the database {self.path.name} has not answered for {wait_s:g} s; "
                "enforcing from memory"
            )
        return False

    def _start_writing(self) -> asyncio.Task[None]:
        # Started at once: the disk is at work before the loop turns again.
        loop = asyncio.get_running_loop()
        writing = asyncio.Task(self._drain(), loop=loop, name="store write", eager_start=True)
        self._writing = None if writing.done() else writing
        return writing

    def _has_work(self) -> bool:
        return bool(self._backlog) or self._rewrite_is_due or self._replacement_is_due

    async def _drain(self) -> None:
        """Write everything that waits, in order; on a fault say so and leave the rest waiting."""
        try:
            while self._has_work():
                await self._write_some()
        except Exception as error:  # whatever it is, enforcement goes on and people are told
            if is_damage(error):
                self._replacement_is_due = True
            self._say(
                f"the database {self.path.name} cannot be written ({error}); enforcing from "
                f"memory, {len(self._backlog)} records wait"
            )
        else:
            self._say(None)
        finally:
            self._writing = None
            self._is_late = False

    async def _write_some(self) -> None:
        if self._replacement_is_due:
            await self._replace_database()
        if not self._backlog and self._rewrite_is_due:
            self._backlog.append(self._rewrite())
        batches = list(islice(self._backlog, BATCHES_AT_ONCE))
        if not batches:
            return
        writer = self._writer
        assert writer is not None
        refused: list[str] = await self._run(partial(writer.write, batches))
        self.commits += 1
        self._last_head = writer.head
        # The limit may have taken some from the left meanwhile; those were written all the same.
        while batches and self._backlog:
            if self._backlog[0] is batches[0]:
                self._backlog.popleft()
            batches.pop(0)
        if refused:
            self._on_trouble("some records could not be stored: " + "; ".join(refused[:5]))

    def _rewrite(self) -> Batch:
        self._rewrite_is_due = False
        dropped, self._dropped = self._dropped, 0
        batch = self._told(
            "daemon", "database.rewritten", "database", new={"records_dropped": dropped}
        )
        if self._latest is not None:
            whole = everything(self._latest, self._clock.now())
            batch.statements += whole.statements
            batch.puts_right, self._foreign_rows = self._foreign_rows, False
            self._kept = Kept.of(self._latest)
        return batch

    async def _replace_database(self) -> None:
        """Another file in the place of one that is gone or broken. Raises when that fails too."""
        if self._connection is not None and self._writer is not None:
            await self._run(partial(self._opener.rescue, self._writer.connection))
        head, sealed = self._last_head, self._sealed
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):  # its file is gone: nothing is left to close properly
                await connection.close()
        self._writer = await self._connect(
            lambda: self._opener.replace(self._database_id, head, sealed)
        )
        self._replacement_is_due = self._foreign_rows = False
        self._rewrite_is_due = True
        self._backlog.append(self._told("daemon", "database.replaced", "database"))

    async def _connect(self, make: Callable[[], sqlite3.Connection]) -> Writer:
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

        connection = aiosqlite.Connection(connect, iter_chunk_size=64)
        # A thread stuck in a dead disk must not keep the process from ending.
        connection._thread.daemon = True
        try:
            await connection
        except BaseException:
            # Its thread still has a word for this loop; let it finish before the loop may close.
            await asyncio.to_thread(connection._thread.join, _CLOSE_PATIENCE_S)
            raise
        self._connection = connection
        self._last_head = made[0].head
        return made[0]

    async def _run[T](self, work: Callable[[], T]) -> T:
        """One hop: `work` on the connection's thread."""
        if self._connection is None:
            raise StoreError(f"the database {self.path} is not open")
        self.hops += 1
        # aiosqlite has no public way to run more than one statement in one hop.
        result: T = await self._connection._execute(work)  # type: ignore[no-untyped-call]
        return result

    async def _once[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        writer = self._writer
        if writer is None:
            raise StoreError(f"the database {self.path} is not open")
        return await self._ask(partial(writer.once, work))

    async def _read[T](self, question: Callable[[sqlite3.Connection], T]) -> T:
        writer = self._writer
        if writer is None:
            raise StoreError(f"the database {self.path} is not open")
        return await self._ask(partial(question, writer.connection))

    async def _ask[T](self, work: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(_READ_PATIENCE_S):
                return await self._run(work)
        except TimeoutError:
            raise StoreError(
                f"the database {self.path} did not answer within {_READ_PATIENCE_S:g} s"
            ) from None
        except sqlite3.Error as error:
            kind = DatabaseCorrupt if is_damage(error) or _is_misshapen(error) else StoreError
            raise kind(f"the database {self.path} cannot answer: {error}") from error
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:
            raise DatabaseCorrupt(
                f"the database {self.path} holds a value this program cannot read: {error}"
            ) from error

    # --- telling ----------------------------------------------------------------------------------

    def _say(self, trouble: str | None) -> None:
        was = self.trouble
        self.trouble = trouble
        if trouble is None:
            if was is not None:
                self._on_trouble(None)
        elif was is None:
            self._reminded_at = self._clock.monotonic()
            self._on_trouble(trouble)

    def _remind(self) -> None:
        now = self._clock.monotonic()
        if now - self._reminded_at >= REMIND_EVERY.total_seconds():
            self._reminded_at = now
            self._on_trouble(self.trouble)

    # --- opening, keeping, closing ----------------------------------------------------------------

    async def _put_aside(self, damage: str) -> None:
        """Begin with another database; the notes, if they can be read, come along."""
        notes: list[tuple[str, str]] = []
        with suppress(StoreError):
            notes = await self._read(
                lambda c: c.execute(
                    "SELECT key, value FROM meta WHERE key LIKE 'note:%'"
                ).fetchall()
            )
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):
                await connection.close()
        await self._open(damage)
        if notes:
            batch = Batch()
            for note in notes:
                batch.put(PUT_NOTE, *note)
            await self._put(batch)

    async def _open(self, damage: str = "") -> None:
        found: list[Opened] = []

        def connect() -> sqlite3.Connection:
            found.append(self._opener.open(damage))
            return found[0].connection

        self._writer = await self._connect(connect)
        opened = found[0]
        self._database_id = opened.database_id
        self.opened_as = opened.opened_as
        self.opened_why = opened.why
        self.had_locks = opened.had_locks
        self.last_clean_stop = opened.last_clean_stop
        self.needs_reconciling = not opened.opened_as.is_trusted
        if self._last_seal is None:
            self._last_seal = opened.last_seal
        self._opened_locks = opened.locks
        self._opened_seal_number = opened.seal_number
        await self.audit(
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
        await self._mirror()

    async def _keep_until(self, ended: asyncio.Event, every: timedelta) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), every.total_seconds())
                return
            try:
                await self.keep()
            except Exception as error:  # the keeper must outlive any fault, and show it
                self._on_trouble(f"the keeper of the database stumbled: {error!r}")

    async def _mirror(self) -> None:
        """Bring the files beside the database up to what is durable in it."""
        marker = self._marker()
        if self._is_mirrored(marker):
            return
        try:
            await asyncio.to_thread(write_marker, self.path, marker)
        except OSError as error:
            self._on_trouble(f"the marker beside {self.path} cannot be written: {error}")
            return
        self._mirrored = marker
        self._mirrored_at = self._clock.monotonic()

    def _marker(self) -> Marker:
        """What the files beside the database have to say now."""
        head, sealed = self._last_head, self._sealed
        return Marker(
            database_id=self._database_id,
            last_audit_seq=head.seq,
            last_audit_hash=head.hash,
            had_locks=self._may_have_locks(),
            seal_number=sealed.number,
            seal_content=sealed.content,
            locks=tuple(sorted(map(written_lock, self._locks_in_force()))),
            gateway=self.gateway,
        )

    def _may_have_locks(self) -> bool:
        if self._latest is None:
            return self.needs_reconciling or self.had_locks
        locked = any(account.locks for account in self._latest.accounts.values())
        return locked or self.needs_reconciling

    async def _witness(self, *, at_the_end: bool = False) -> None:
        """Bring the witnesses up to date: at once with a lock or a limit, else now and then."""
        witnesses = self._witnesses
        if witnesses is None:
            return
        reached = Reached(self._last_head.seq, self._last_head.hash, self._sealed.number)
        due = witnesses.due(
            self._database_id, reached, self._locks_in_force(), had_locks=self.needs_reconciling
        )
        waited_s = self._clock.monotonic() - self._witnessed_at
        if at_the_end or waited_s >= WITNESS_EVERY.total_seconds():
            self._witnessed_at = self._clock.monotonic()
            due = {**witnesses.moved_on(self._database_id, reached), **due}
        if not due:
            return
        trouble = ""
        try:
            await asyncio.to_thread(witnesses.write, due)
        except OSError as error:
            trouble = (
                f"what is kept of the accounts outside the data folder cannot be written: {error}"
            )
        if trouble and trouble != self._witness_trouble:
            self._on_trouble(trouble)
        self._witness_trouble = trouble

    def _is_mirrored(self, marker: Marker) -> bool:
        """Whether the files say so: at once for what is told, a mere fill may wait."""
        known = self._mirrored
        if known is None or marker == known:
            return known is not None
        is_told = replace(marker, seal_number=0, seal_content="") != replace(
            known, seal_number=0, seal_content=""
        )
        waited_s = self._clock.monotonic() - self._mirrored_at
        return not is_told and waited_s < MIRROR_SEAL_EVERY.total_seconds()

    def _locks_in_force(self) -> list[Lock]:
        latest = {} if self._latest is None else self._latest.accounts
        found = [lock for lock in self._opened_locks if lock.account_id not in latest]
        return found + [lock for account in latest.values() for lock in account.locks.values()]

    @property
    def _sealed(self) -> SealedTables:
        if self._writer is not None:
            return self._writer.sealed
        return SealedTables() if self._mirrored is None else self._mirrored.seal

    async def _checkpoint_when_idle(self) -> None:
        """Off the path of any commit: SQLite would else do it inside one, every 1000 pages."""
        was_idle = self.commits == self._commits_at_last_beat
        self._commits_at_last_beat = self.commits
        if not was_idle or self._writing is not None or self.trouble is not None:
            return
        log = self.path.with_name(self.path.name + "-wal")
        try:
            size_bytes = log.stat().st_size
        except OSError:
            return
        if size_bytes > CHECKPOINT_ABOVE_BYTES:
            await self.checkpoint()

    async def _close(self, *, is_clean: bool) -> None:
        if self.journal is not None:
            await asyncio.to_thread(self.journal.close)
        if is_clean:
            batch = self._told("daemon", "stopped", "database")
            batch.put(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('last_clean_stop', ?)",
                str(micros(self._clock.now())),
            )
            await self._put(batch)
        await self._mirror()
        await self._witness(at_the_end=True)
        connection, self._connection, self._writer = self._connection, None, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_PATIENCE_S):
                await connection.close()
        except (TimeoutError, sqlite3.Error) as error:
            self._on_trouble(f"the database {self.path} could not be closed: {error!r}")


def verify_audit(path: Path) -> AuditBreak | None:
    """The first broken audit row of this file, if any. For any process. Raises `StoreError`."""
    mirror = read_audit_head(path)  # before the database, so that it cannot be ahead of it
    try:
        with upkeep.open_reader(path) as connection:
            return audit.verify(connection, mirror)
    except sqlite3.Error as error:
        raise StoreError(f"the audit rows of {path} cannot be read: {error}") from error


def _is_misshapen(error: sqlite3.Error) -> bool:
    """Whether a table or column is not as it must be: nothing of ours does that."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _identity(path: Path) -> tuple[object, ...]:
    """Which files these are; a file of the same name made later is another one."""
    found: list[object] = []
    for part in (path, path.with_name(path.name + "-wal")):
        try:
            status = os.stat(part)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)
