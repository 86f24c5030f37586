"""inbox -> step -> store -> enforcer -> feed: one event to completion before the next."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Protocol

from risk_manager.domain.decisions import Action
from risk_manager.domain.engine import Step, step
from risk_manager.domain.events import AnyEvent, QuoteChanged
from risk_manager.domain.state import State

TURNS_TO_SEND = 6


class Store(Protocol):
    """Remembers. Returns once what matters is durable; never raises for a failing disk."""

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None: ...


class Enforcer(Protocol):
    """Carries out. Returns at once; the result comes back as events."""

    def submit(self, action: Action) -> None: ...


class Feed(Protocol):
    """Tells. Returns at once and cannot fail."""

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None: ...


class Inbox:
    """One queue, one order of the world. A quote still waiting is replaced by a newer one."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[object, AnyEvent] = OrderedDict()
        self._numbers = count()
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()

    def put_nowait(self, event: AnyEvent) -> None:
        if type(event) is QuoteChanged:
            self._waiting[event.contract_id] = event
        else:
            self._waiting[next(self._numbers)] = event
        self._filled.set()
        self._empty.clear()

    async def get(self) -> AnyEvent:
        while not self._waiting:
            self._empty.set()
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popitem(last=False)[1]

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
    ) -> None:
        self.state = state
        self.inbox = Inbox()
        self._store = store
        self._enforcer = enforcer
        self._feed = feed
        self._watch = watch
        self._read = read
        self._watched: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Process events until cancelled."""
        while True:
            await self.process(await self.inbox.get())

    async def process(self, event: AnyEvent) -> Step:
        before = self.state
        outcome = step(before, event)
        self.state = outcome.state
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
        return outcome

    def _watch_contracts(self) -> None:
        contracts = frozenset(self.state.roots)
        if contracts != self._watched:
            self._watched = contracts
            self._watch(contracts)
