"""inbox -> step -> store -> enforcer -> feed: one event to completion before the next."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Protocol

from risk_manager.domain.decisions import Action
from risk_manager.domain.engine import Step, step
from risk_manager.domain.events import AnyEvent, QuoteChanged
from risk_manager.domain.state import State

TURNS_TO_SEND = 6
LONGEST_RIGHT_S = 0.1


class Store(Protocol):
    """Remembers. Returns once what matters is durable; never raises for a failing disk."""

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None: ...


class Enforcer(Protocol):
    """Carries out. Returns at once; the result comes back as events."""

    def submit(self, action: Action) -> None: ...


class Feed(Protocol):
    """Tells. Returns at once and cannot fail."""

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None: ...


class RightOfWay:
    """Enforcement goes first: quotes are read and steps are told when nothing is being judged.

    It is taken when a fact arrives or a quote leads to an action, and given back when nothing but
    quotes waits. It is never taken for long: of a busy time only the first 0.1 s count, and each
    free second gives as much back as it lasts, so that whoever gives way has at least half of the
    time.
    """

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._left_s = LONGEST_RIGHT_S
        self._since = 0.0

    def take(self) -> None:
        if self._free.is_set():
            now = asyncio.get_running_loop().time()
            self._left_s = min(LONGEST_RIGHT_S, self._left_s + now - self._since)
            self._since = now
            self._free.clear()

    def give_back(self) -> None:
        if self._free.is_set():
            return
        now = asyncio.get_running_loop().time()
        self._left_s = max(0.0, self._left_s - (now - self._since))
        self._since = now
        self._free.set()

    async def give_way(self) -> None:
        """Wait while it is taken, for as long as it counts."""
        if self._free.is_set():
            return
        left_s = self._left_s - (asyncio.get_running_loop().time() - self._since)
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._free.wait()


class Inbox:
    """One queue, one order of the world. A quote still waiting is replaced by a newer one, which
    keeps the prices of it that the newer one does not tell."""

    def __init__(self, right_of_way: RightOfWay) -> None:
        self._waiting: OrderedDict[object, AnyEvent] = OrderedDict()
        self._numbers = count()
        self.facts = 0
        """How many wait that are not quotes."""
        self._right_of_way = right_of_way
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._awaited: dict[int, asyncio.Future[None]] = {}

    def put_nowait(self, event: AnyEvent) -> None:
        if type(event) is QuoteChanged:
            waiting = self._waiting.get(event.contract_id)
            if type(waiting) is QuoteChanged:
                event = event.completed_by(waiting)
            self._waiting[event.contract_id] = event
        else:
            self._waiting[next(self._numbers)] = event
            self.facts += 1
            self._right_of_way.take()
        self._filled.set()
        self._empty.clear()

    async def get(self) -> AnyEvent:
        while not self._waiting:
            self._empty.set()
            self._filled.clear()
            await self._filled.wait()
        event = self._waiting.popitem(last=False)[1]
        self.facts -= type(event) is not QuoteChanged
        return event

    async def take(self, *events: AnyEvent) -> None:
        """Put facts in line, and return once the last has been judged and is stored."""
        if not events:
            return
        future = self._awaited[id(events[-1])] = asyncio.get_running_loop().create_future()
        for event in events:
            self.put_nowait(event)
        await future

    def processed(self, event: AnyEvent) -> None:
        """This one has been; whoever waits for it goes on."""
        future = self._awaited.pop(id(event), None)
        if future is not None and not future.done():
            future.set_result(None)

    async def join(self) -> None:
        """Wait until everything that came has been processed."""
        await self._empty.wait()

    def __len__(self) -> int:
        return len(self._waiting)


async def _let_requests_out() -> None:
    """The HTTP client writes a request after a few turns of the loop; what is told can wait."""
    for _ in range(TURNS_TO_SEND):
        await asyncio.sleep(0)


class Pipeline:
    """Owns the state. `watch` is told the contracts in play whenever they change, `read` an account
    on which the broker's word is wanted now."""

    def __init__(
        self,
        state: State,
        *,
        store: Store,
        enforcer: Enforcer,
        feed: Feed,
        watch: Callable[[frozenset[str]], None] = lambda _: None,
        read: Callable[[int], None] = lambda _: None,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        self.state = state
        self._right_of_way = right_of_way or RightOfWay()
        self.inbox = Inbox(self._right_of_way)
        self._store = store
        self._enforcer = enforcer
        self._feed = feed
        self._watch = watch
        self._read = read
        self._watched: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Process events until cancelled."""
        while True:
            event = await self.inbox.get()
            await self.process(event)
            self.inbox.processed(event)

    async def process(self, event: AnyEvent) -> Step:
        before = self.state
        outcome = step(before, event)
        self.state = outcome.state
        if outcome.actions:
            self._right_of_way.take()  # a fact has it since it arrived; a quote only now
        await self._store.commit(event, before, outcome)
        for action in outcome.actions:
            self._enforcer.submit(action)
        for account_id in outcome.reads:
            self._read(account_id)
        if outcome.actions:
            await _let_requests_out()
        self._feed.publish(event, before, outcome)
        if outcome.state.roots is not before.roots:
            self._watch_contracts()
        if not self.inbox.facts:
            self._right_of_way.give_back()
        return outcome

    def _watch_contracts(self) -> None:
        contracts = frozenset(self.state.roots)
        if contracts != self._watched:
            self._watched = contracts
            self._watch(contracts)
