"""Enforcement goes first: quotes and telling wait while a fact is judged, and never for long."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from virtual_time import BEGAN, in_virtual_time

from risk_manager.domain.decisions import Action
from risk_manager.domain.events import AnyEvent, QuoteChanged, Tick
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import Pipeline
from risk_manager.right_of_way import LONGEST_RIGHT_S, RightOfWay


class SlowStore:
    """A disk that takes its time for everything but quotes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        if not isinstance(event, QuoteChanged):
            await asyncio.sleep(self.seconds)

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        await self.commit(*turn[-1])


class NoEnforcer:
    def submit(self, action: Action) -> None:
        raise AssertionError(action)


class Telling:
    """What was published, and what had been let through by then."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.events.append(event)


class Road:
    """A pipeline at work, and somebody who gives way to it before each piece of his own work."""

    def __init__(self, commit_s: float) -> None:
        self.right_of_way = RightOfWay()
        self.told = Telling()
        self.pipeline = Pipeline(
            State.at(BEGAN, Rulebook(accounts={})),
            store=SlowStore(commit_s),
            enforcer=NoEnforcer(),
            feed=self.told,
            right_of_way=self.right_of_way,
        )

    async def waited_s(self) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.right_of_way.give_way()
        return loop.time() - began

    def fact(self, number: int = 1) -> None:
        self.pipeline.inbox.put_nowait(Tick(at=BEGAN + timedelta(seconds=number)))

    def quote(self, price: float, contract_id: str = "MNQ") -> None:
        at = BEGAN + timedelta(milliseconds=1)
        quote = QuoteChanged(at=at, contract_id=contract_id, last_price=price)
        self.pipeline.inbox.put_nowait(quote)

    async def __aenter__(self) -> "Road":
        self._run = asyncio.create_task(self.pipeline.run(), name="pipeline")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._run.cancel()


@in_virtual_time
async def test_whoever_gives_way_waits_from_the_arrival_of_a_fact_until_it_is_told() -> None:
    async with Road(commit_s=0.004) as road:
        assert await road.waited_s() == 0
        road.fact()
        assert 0.004 <= await road.waited_s() < 0.005
        assert len(road.told.events) == 1
        assert await road.waited_s() == 0


@in_virtual_time
async def test_facts_that_came_together_are_all_judged_before_anybody_else_has_a_turn() -> None:
    async with Road(commit_s=0.004) as road:
        for number in (1, 2, 3):
            road.fact(number)
        await road.waited_s()
        assert len(road.told.events) == 3


@in_virtual_time
async def test_for_quotes_alone_nobody_waits() -> None:
    async with Road(commit_s=0.004) as road:
        road.quote(21000.0)
        assert await road.waited_s() == 0
        road.fact()
        road.quote(21000.25)
        road.quote(21000.5)
        await road.waited_s()
        await road.pipeline.inbox.join()
        # The one that waited was replaced by the newest, which keeps its place in the order.
        assert [type(one) for one in road.told.events] == [QuoteChanged, Tick]
        (newest,) = (one for one in road.told.events if isinstance(one, QuoteChanged))
        assert newest.last_price == 21000.5


@in_virtual_time
async def test_a_disk_that_hangs_holds_nobody_up_for_longer_than_a_tenth_of_a_second() -> None:
    async with Road(commit_s=5.0) as road:
        road.fact()
        assert abs(await road.waited_s() - LONGEST_RIGHT_S) < 1e-6
        assert await road.waited_s() == 0  # not once more for each piece of work
        assert road.told.events == []


@in_virtual_time
async def test_without_a_pause_between_facts_the_others_have_half_of_the_time() -> None:
    async with Road(commit_s=0.009) as road:
        loop = asyncio.get_running_loop()
        waited = 0.0
        while loop.time() < 10.0:
            road.fact()
            waited += await road.waited_s()
            await asyncio.sleep(0.001)
        assert waited <= 5.0 + LONGEST_RIGHT_S


@in_virtual_time
async def test_between_two_quotes_messages_are_let_in() -> None:
    async with Road(commit_s=0.004) as road:
        judged_before: list[int] = []
        for number in range(5):
            road.quote(21000.0 + number, contract_id=f"CON.{number}")
        for _ in range(5):
            await asyncio.sleep(0)
            judged_before.append(len(road.told.events))
        assert judged_before == [1, 2, 3, 4, 5]
