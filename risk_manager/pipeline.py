"""inbox -> turn -> store -> enforcer -> feed: what has arrived to completion before the next."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from risk_manager.domain.decisions import Action
from risk_manager.domain.engine import Step
from risk_manager.domain.events import AnyEvent, QuoteChanged
from risk_manager.domain.state import State
from risk_manager.domain.turn import SHARES_A_TURN, Judged, Turn

TURNS_TO_SEND = 6
LONGEST_RIGHT_S = 0.1
MOST_IN_A_TURN = 100
LONGEST_TURN_S = 0.01
"""When so much time has been spent on judging, what was decided goes out first."""


class Store(Protocol):
    """Remembers. Returns once what matters is durable; never raises for a failing disk."""

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None: ...

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        """The same for events that came together: all of them or none."""
        ...


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

    def next_of_turn(self) -> AnyEvent | None:
        """The next event, where it may be judged in one turn with those before it."""
        if not self._waiting or type(next(iter(self._waiting.values()))) not in SHARES_A_TURN:
            return None
        self.facts -= 1
        return self._waiting.popitem(last=False)[1]

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
            if type(event) in SHARES_A_TURN and self.inbox.facts:
                await self.process_turn(event)
            else:
                await self.process(event)
                self.inbox.processed(event)

    async def process(self, event: AnyEvent) -> Step:
        """One event, as a turn of its own."""
        turn = Turn(self.state)
        turn.take(event)
        (judged,) = turn.end()
        await self._carry_through([judged])
        return judged.outcome

    async def process_turn(self, event: AnyEvent | None) -> None:
        """This event and those that wait behind it, as far as they may share a turn."""
        turn = Turn(self.state)
        now = asyncio.get_running_loop().time
        ends = now() + LONGEST_TURN_S
        while event is not None:
            turn.take(event)
            is_over = len(turn) == MOST_IN_A_TURN or turn.state.day != self.state.day
            is_over = is_over or now() >= ends
            event = None if is_over else self.inbox.next_of_turn()
        judged = turn.end()
        await self._carry_through(judged)
        for event, _, _ in judged:
            self.inbox.processed(event)

    async def _carry_through(self, turn: Sequence[Judged]) -> None:
        """Keep what was judged, then act on it, then tell of it."""
        before, self.state = turn[0].before, turn[-1].outcome.state
        actions = [action for judged in turn for action in judged.outcome.actions]
        if actions:
            self._right_of_way.take()  # a fact has it since it arrived; a quote only now
        if len(turn) == 1:
            await self._store.commit(*turn[0])
        else:
            await self._store.commit_turn(turn)
        for action in actions:
            self._enforcer.submit(action)
        for account_id in dict.fromkeys(a for judged in turn for a in judged.outcome.reads):
            self._read(account_id)
        if actions:
            await _let_requests_out()
        for judged in turn:
            self._feed.publish(*judged)
        if self.state.roots is not before.roots:
            self._watch_contracts()
        if not self.inbox.facts:
            self._right_of_way.give_back()

    def _watch_contracts(self) -> None:
        contracts = frozenset(self.state.roots)
        if contracts != self._watched:
            self._watched = contracts
            self._watch(contracts)
