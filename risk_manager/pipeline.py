"""inbox -> turn -> store -> enforcer -> feed: one turn is carried to completion before the next."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from risk_manager.domain.decisions import Action
from risk_manager.domain.events import (
    AccountOpened,
    AdminAsked,
    AnyEvent,
    PositionChanged,
    QuoteChanged,
    RulebookReplaced,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.trading_day import is_day_over
from risk_manager.engine.turn import ENDS_NO_ACTION, SHARES_A_TURN, Judged, Turn
from risk_manager.right_of_way import RightOfWay

LONGEST_READING_S = 0.25
IDLE_TURNS = 5
LONG_LINE = 200
"""From this many waiting facts on, the `TAKEN_FIRST` kinds overtake the others."""
TAKEN_FIRST = frozenset({PositionChanged, TradeExecuted, AdminAsked})
NEVER_PASSED = frozenset({AccountOpened, RulebookReplaced})
"""Facts behind these are to be judged under them, so they are never overtaken."""
MOST_IN_A_TURN = 1000
LONGEST_TURN_S = 0.05
"""A turn ends after this much time spent on judging, so that its actions go out."""


class Store(Protocol):
    """Persists. Returns once everything that must survive is durable.

    Never raises for a failing disk.
    """

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None: ...

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        """Commit the events of one turn: all of them or none."""
        ...


class Enforcer(Protocol):
    """Carries out actions. Returns at once; the results come back as events."""

    def submit(self, action: Action) -> None: ...


class Feed(Protocol):
    """Reports steps to the screens. Returns at once and cannot fail."""

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None: ...


@dataclass(slots=True)
class _InLine:
    """A waiting event, with its number in the order of arrival."""

    number: int
    event: AnyEvent


class Inbox:
    """The queue that puts all events into one order.

    A newer quote replaces a waiting one of the same contract and takes over the prices that it
    does not state itself. Where very many facts wait, positions, executions and a person's orders
    are taken first, in their own order: a breach must not wait behind thousands of orders.
    """

    def __init__(self, right_of_way: RightOfWay) -> None:
        self._waiting: OrderedDict[object, _InLine] = OrderedDict()
        self._first: deque[_InLine] = deque()
        self._numbers = count()
        self.facts = 0
        """The number of waiting events other than quotes."""
        self._not_passed = 0
        self._right_of_way = right_of_way
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._awaited: dict[int, asyncio.Future[None]] = {}

    @property
    def pressing(self) -> int:
        """The number of waiting events that are taken first."""
        return len(self._first)

    def put_nowait(self, event: AnyEvent) -> None:
        kind = type(event)
        if type(event) is QuoteChanged:
            known = self._waiting.get(event.contract_id)
            if known is None:
                self._waiting[event.contract_id] = _InLine(next(self._numbers), event)
            else:
                waiting = known.event
                assert type(waiting) is QuoteChanged
                known.event = event.completed_by(waiting)
        else:
            number = next(self._numbers)
            if kind in TAKEN_FIRST:
                self._first.append(_InLine(number, event))
            else:
                self._waiting[number] = _InLine(number, event)
                self._not_passed += kind in NEVER_PASSED
            self.facts += 1
            self._right_of_way.take()
        self._filled.set()
        self._empty.clear()

    async def get(self) -> AnyEvent:
        while not len(self):
            self._empty.set()
            self._filled.clear()
            await self._filled.wait()
        return self._pop()

    def next_of_turn(self, *, is_urgent: bool = False) -> AnyEvent | None:
        """Return the next event if it may share a turn with those before it, else None.

        `is_urgent`: an action of the turn is due. Only events that may end it are returned.
        """
        kind = type(self._next().event) if len(self) else None
        if kind not in SHARES_A_TURN or (is_urgent and kind in ENDS_NO_ACTION):
            return None
        return self._pop()

    def _next(self) -> _InLine:
        if not self._first:
            return next(iter(self._waiting.values()))
        first = self._first[0]
        if not self._waiting or (self.facts >= LONG_LINE and not self._not_passed):
            return first
        other = next(iter(self._waiting.values()))
        return first if first.number < other.number else other

    def _pop(self) -> AnyEvent:
        line = self._next()
        kind = type(line.event)
        if kind in TAKEN_FIRST:
            self._first.popleft()
        else:
            self._waiting.popitem(last=False)
            self._not_passed -= kind in NEVER_PASSED
        self.facts -= kind is not QuoteChanged
        return line.event

    async def take(self, *events: AnyEvent) -> None:
        """Enqueue facts, and return once the last one has been judged and stored."""
        if not events:
            return
        future = self._awaited[id(events[-1])] = asyncio.get_running_loop().create_future()
        for event in events:
            self.put_nowait(event)
        await future

    def processed(self, event: AnyEvent) -> None:
        """Release the caller of `take` that waits for this event."""
        future = self._awaited.pop(id(event), None)
        if future is not None and not future.done():
            future.set_result(None)

    async def join(self) -> None:
        """Wait until every event that arrived has been processed."""
        await self._empty.wait()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._first)


class Pipeline:
    """Owns the state.

    `watch` is called with the contracts in play whenever they change. `read` is called with each
    account that must be read from the broker now.
    """

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
            if self.inbox.facts >= LONG_LINE:
                await self._let_the_rest_in()
            event = await self.inbox.get()
            if type(event) in SHARES_A_TURN and self.inbox.facts:
                await self.process_turn(event)
            else:
                await self.process(event)
                self.inbox.processed(event)
                if len(self.inbox) and not self.inbox.facts:
                    # Judging a quote seldom waits for anything: let messages in before the next.
                    await asyncio.sleep(0)

    async def _let_the_rest_in(self) -> None:
        """Give the stream a moment to be read before judging goes on.

        A breach may be waiting behind thousands of order messages, and reading is faster than
        judging.
        """
        now = asyncio.get_running_loop().time
        ends = now() + LONGEST_READING_S
        known, idle = self.inbox.facts, 0
        while idle < IDLE_TURNS and not self.inbox.pressing and now() < ends:
            await asyncio.sleep(0)
            idle = idle + 1 if self.inbox.facts == known else 0
            known = self.inbox.facts

    async def process(self, event: AnyEvent) -> Step:
        """Judge one event in a turn of its own."""
        if type(event) is QuoteChanged and is_day_over(self.state, event.at):
            # No quote starts a day. It would be judged, and lock, by the figures of the day before.
            await self._process(Tick(at=event.at, lead=self.state.lead))
        return await self._process(event)

    async def _process(self, event: AnyEvent) -> Step:
        turn = Turn(self.state)
        turn.take(event)
        (judged,) = turn.end()
        await self._carry_through([judged])
        return judged.outcome

    async def process_turn(self, event: AnyEvent | None) -> None:
        """Judge this event, and those waiting behind it that may share its turn."""
        turn = Turn(self.state)
        now = asyncio.get_running_loop().time
        ends = now() + LONGEST_TURN_S
        while event is not None:
            turn.take(event)
            is_over = len(turn) == MOST_IN_A_TURN or turn.state.day != self.state.day
            is_over = is_over or now() >= ends
            event = None if is_over else self.inbox.next_of_turn(is_urgent=turn.has_actions)
        judged = turn.end()
        await self._carry_through(judged)
        for event, _, _ in judged:
            self.inbox.processed(event)

    async def _carry_through(self, turn: Sequence[Judged]) -> None:
        """Store the turn, then send its actions, then publish it."""
        before, self.state = turn[0].before, turn[-1].outcome.state
        actions = [action for judged in turn for action in judged.outcome.actions]
        if actions:
            self._right_of_way.take()  # a fact took it on arrival; a quote takes it only now
        if len(turn) == 1:
            await self._store.commit(*turn[0])
        else:
            await self._store.commit_turn(turn)
        for action in actions:
            self._enforcer.submit(action)
        for account_id in dict.fromkeys(a for judged in turn for a in judged.outcome.reads):
            self._read(account_id)
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
