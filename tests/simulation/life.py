"""One life of the daemon: its real parts, from a start to a crash or a stop."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from simulation.gateway import Login

from risk_manager.broker.contracts import ContractBook
from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.hubs.supervisor import HubSupervisor
from risk_manager.broker.lanes import Lanes
from risk_manager.broker.reading.pacing import is_exposed
from risk_manager.broker.reading.reconciler import Reconciler
from risk_manager.clock import SystemClock, VenueTime
from risk_manager.daemon.watchdog import Watchdog
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action
from risk_manager.domain.events import AccountOpened, AnyEvent, Hub, Tick
from risk_manager.domain.state import State
from risk_manager.engine.disputes import is_for_news
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import Enforcer as Submits
from risk_manager.pipeline import Pipeline
from risk_manager.pipeline import Store as Commits
from risk_manager.right_of_way import RightOfWay
from risk_manager.store.connection import Connection
from risk_manager.store.journal import Journal
from risk_manager.store.opening import Opener
from risk_manager.store.schema import shipped_migrations
from risk_manager.store.sidecar_files import write_marker
from risk_manager.store.store import BACKLOG_LIMIT, PATIENCE, Store
from risk_manager.store.writer import Writer

if TYPE_CHECKING:
    from simulation.planted import Plant
    from simulation.world import World

DRAIN_SECONDS = 8.0
RESTING_TICK_S = 5


class Crashed(Exception):
    """The process ended here. Raised in the pipeline's task; the rest is torn down at once."""


class LoopClock(SystemClock):
    """The system clock, over the simulated wall and the loop's time."""

    def __init__(self, wall: Callable[[], datetime], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        super().__init__(wall=wall, elapsed=loop.time)

    def monotonic(self) -> float:
        return self._loop.time()


class InlineConnection(Connection):
    """A connection whose thread is this one."""

    async def connect(self, make: Callable[[], sqlite3.Connection]) -> Writer:
        connection = make()
        # A simulated crash leaves the operating system standing: nothing need reach a disk.
        connection.execute("PRAGMA synchronous = OFF")
        return Writer(connection)

    async def run[T](self, work: Callable[[], T]) -> T:
        return work()

    async def aside[T](self, work: Callable[[], T]) -> T:
        return work()

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.connection.close()
        await super().close()


class InlineStore(Store):
    """The real store without its thread: what it writes is written before the call returns."""

    CONNECTION = InlineConnection

    @classmethod
    async def begin(cls, path: Path, clock: LoopClock) -> "InlineStore":
        opener = Opener(
            path=path,
            now=clock.now,
            connection_class=sqlite3.Connection,
            migrations=shipped_migrations(),
        )
        store = cls(
            cls.CONNECTION(opener),
            clock,
            on_trouble=lambda _: None,
            patience=PATIENCE,
            backlog_limit=BACKLOG_LIMIT,
        )
        await store.start()
        return store

    def keep_journal_of(self, folder: Path) -> None:
        """The real journal, with its thread: nothing here waits for it."""
        connection = self._connection.open_writer().connection
        row = connection.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()
        self.journal = Journal(folder, last_seq=row[0], version="simulated")

    def end_journal(self) -> None:
        """Everything noted is in its file after this. A real crash loses the last second of it."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    async def abandon(self) -> None:
        """As a crash leaves it: nothing more is written. The keeper had written the marker up to a
        moment ago; nobody keeps it while a simulated life goes on."""
        self.end_journal()
        write_marker(self.path, self.mirror.marker())
        await self._connection.close()


class CrashPoints:
    """The store, the enforcer and the feed of a life, where the process may end."""

    def __init__(self, life: "Life", store: Commits, enforcer: Submits) -> None:
        self._life = life
        self._store = store
        self._enforcer = enforcer
        self._submitted = False

    def _maybe(self) -> None:
        if self._life.crashes_here():
            self._life.dead.set()
            raise Crashed

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self._life.world.oracle.on_decided(event, outcome)
        if outcome.actions:
            self._maybe()
        await self._store.commit(event, before, outcome)
        if outcome.actions:
            self._maybe()

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        for event, _, outcome in turn:
            self._life.world.oracle.on_decided(event, outcome)
        acts = any(outcome.actions for _, _, outcome in turn)
        if acts:
            self._maybe()
        await self._store.commit_turn(turn)
        if acts:
            self._maybe()

    def submit(self, action: Action) -> None:
        self._submitted = True
        self._enforcer.submit(action)

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        if self._submitted:
            self._submitted = False
            self._maybe()
        self._life.world.oracle.on_step(self._life, event, before, outcome)
        self._life.plant.after_step(self._life, outcome)


class Life:
    """Built like the daemon builds itself. `dead` is set by a crash from within."""

    def __init__(self, world: "World", number: int, plant: "Plant", dice: Random) -> None:
        self.world = world
        self.number = number
        self.plant = plant
        self.dead = asyncio.Event()
        self.began = world.now
        self.watched: frozenset[str] = frozenset()
        self.clock = LoopClock(world.wall, asyncio.get_running_loop())
        self.venue = VenueTime(self.clock)
        self.errors: list[str] = []
        self._dice = dice
        self._tasks: list[asyncio.Task[None]] = []

    def crashes_here(self) -> bool:
        chance = self.world.crash_chance
        return chance > 0 and self._dice.random() < chance

    async def start(self) -> None:
        """From the database to running tasks."""
        world = self.world
        self.store = await InlineStore.begin(world.folder / "state.db", self.clock)
        self.login = Login(world.gateway, self.dead, self.venue)
        right_of_way = RightOfWay()
        self.lanes = Lanes(
            self.login, self.clock, on_error=self._on_error, right_of_way=right_of_way
        )
        self.reconciler = Reconciler(
            self.lanes, self.clock, self.put, self.state, on_error=self._on_error
        )
        self.enforcer = Enforcer(
            self.lanes,
            self.reconciler,
            self.clock,
            self.put,
            self._account_of,
            run_id=f"s{self.number}",
            is_for_news=self._is_for_news,
            on_error=self._on_error,
        )
        await self._agree_on_the_time()
        book = self.plant.rulebook(world.book())
        await self.store.checked()
        state = self.plant.state(await self.store.restore(book, self.clock.now()))
        calls = [at for account in state.accounts.values() for at in account.brake.calls]
        self.lanes.take_up(self.clock.now() - at for at in calls)
        if world.journal is not None:
            self.store.keep_journal_of(world.journal)
        self.contracts = ContractBook(self.lanes, self.clock, self.put, on_error=self._on_error)
        address: Any = None  # whoever builds the sockets knows where to
        self.hubs = HubSupervisor(
            address,
            self.login,
            clock=self.clock,
            put=self.put,
            account_ids=world.account_ids,
            on_open=lambda hub: self.reconciler.ask() if hub is Hub.USER else None,
            on_unreadable=self.reconciler.ask,
            exposed=lambda: any(is_exposed(a) for a in self.state().accounts.values()),
            right_of_way=right_of_way,
            timings=self.plant.hub_timings(),
            build=world.streams.builder(self),
            dice=self._dice,
        )
        edges = CrashPoints(self, self.plant.store(self.store), self.plant.enforcer(self))
        self.pipeline: Pipeline = self.plant.pipeline(
            state,
            store=edges,
            enforcer=edges,
            feed=edges,
            watch=self._watch,
            read=self.reconciler.look_again,
            right_of_way=right_of_way,
        )
        world.oracle.on_restored(self, state)
        watchdog = self._watchdog()
        doubt = watchdog.first_doubt_of_time()
        if doubt is not None:
            await self.pipeline.process(doubt)
        for account_id in world.account_ids:
            await self.pipeline.process(AccountOpened(at=self.clock.now(), account_id=account_id))
            self.pipeline.state = self.plant.state(self.pipeline.state)
        await self.pipeline.process(Tick(at=self.clock.now(), lead=self.venue.lead))
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._guarded(self.pipeline.run()), name="pipeline"),
            loop.create_task(self.reconciler.run(), name="reconciler"),
            loop.create_task(self._tick(), name="ticker"),
            loop.create_task(watchdog.run(), name="watchdog"),
        ]
        self._watch(frozenset(state.roots) | frozenset(self.pipeline.state.roots))
        self._tasks.append(loop.create_task(self.hubs.run(), name="hubs"))
        self.reconciler.ask()

    async def _tick(self) -> None:
        """The ticker, which counts more slowly while nothing can happen: days must pass."""
        while True:
            self.put(Tick(at=self.clock.now(), lead=self.venue.lead))
            await asyncio.sleep(1.0)
            for _ in range(RESTING_TICK_S - 1):
                if not self.world.is_at_rest():
                    break
                await asyncio.sleep(1.0)

    async def _agree_on_the_time(self) -> None:
        """As the daemon does before it judges anything."""

        async def ask() -> bool:
            return (await self.lanes.read("/Account/search", {"onlyActiveAccounts": True})).ok

        at, day = await self.store.recovery.last_judged()
        began = None if day is None else self.world.book().day.began(day)
        for judged_at in filter(None, (at, began)):
            self.clock.correct(judged_at)
        await self.venue.agree(ask)

    def _watchdog(self) -> Watchdog:
        return Watchdog(
            clock=self.clock,
            put=self.put,
            state=self.state,
            reads=self.reconciler,
            mark_suspect=self.hubs.mark_suspect,
            heartbeat=self.world.folder / "heartbeat",
            venue=self.venue,
            elapsed=self.clock.monotonic,
            resident_mb=lambda: None,
        )

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Crashed:
            return
        except Exception as error:  # a fault of the daemon or of the judge, never of the weather
            self.world.oracle.violate("a task has failed", f"{type(error).__name__}: {error}")
            raise

    @property
    def is_judging(self) -> bool:
        """Whether events are taken: from the first accounts opened to the end."""
        return bool(self._tasks) and not self.dead.is_set()

    def put(self, event: AnyEvent) -> None:
        heard = self.plant.heard(event)
        if heard is not None:
            self.pipeline.inbox.put_nowait(heard)

    def state(self) -> State:
        return self.pipeline.state

    def _account_of(self, account_id: int) -> Account | None:
        return self.state().accounts.get(account_id)

    def _is_for_news(self, action: Action) -> bool:
        account = self.state().accounts.get(action.account_id)
        return account is not None and is_for_news(account, action, self.clock.now())

    def _watch(self, contract_ids: frozenset[str]) -> None:
        self.watched = contract_ids
        self.hubs.watch(contract_ids)
        self.contracts.want(contract_ids)

    def _on_error(self, name: str, error: BaseException) -> None:
        if not self.dead.is_set():
            self.world.oracle.violate("internal error", f"{name}: {type(error).__name__}: {error}")

    async def stop(self) -> None:
        """A service's stop: what is under way may finish, unless the process dies of it."""
        await self.enforcer.drain(DRAIN_SECONDS)
        ends: list[asyncio.Task[Any]] = [
            asyncio.create_task(self.pipeline.inbox.join(), name="inbox empty"),
            asyncio.create_task(self.dead.wait(), name="dead"),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        if self.dead.is_set():
            await self.crash()
            return
        await self._end()
        self.store.end_journal()
        await self.store.stop(is_clean=True)

    async def crash(self) -> None:
        """Gone at once; what was in flight is lost here, but not at the gateway."""
        self.dead.set()
        await self._end()
        await self.store.abandon()

    async def _end(self) -> None:
        self.dead.set()
        self.world.streams.process_ended()
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        for task, end in zip(self._tasks, ends, strict=True):
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                self.world.oracle.violate(
                    "a task ended", f"{task.get_name()}: {type(end).__name__}: {end}"
                )
        await self.enforcer.close()
        await self.contracts.close()
        await self.reconciler.close()
        await self.lanes.close()
