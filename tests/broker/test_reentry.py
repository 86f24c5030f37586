"""A trader who comes back at once: each entry is closed like the first, whatever the reads do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from enforcement_bench import Bench, bench
from paper_broker import (
    ACCOUNTS,
    CLOSE,
    MNQ,
    ORDERS,
    PARTIAL_CLOSE,
    POSITIONS,
    TRADES,
    Fault,
    PaperBroker,
    hang,
    slow,
    status,
)
from virtual_time import LoopClock, in_virtual_time

from risk_manager.domain.decisions import ClosePosition, Outcome
from risk_manager.domain.events import PositionChanged, TradeExecuted
from risk_manager.domain.records import OrderSide, PositionType
from risk_manager.domain.rule import Rule
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.symbol_blocks import SymbolBlocks

READS = (POSITIONS, ORDERS, TRADES, ACCOUNTS)
NO_NQ = SymbolBlocks(blocked=("MNQ",))
READ_ANSWERS: dict[str, Fault | None] = {
    "well": None,
    "429": status(429, retry_after="60"),
    "500": status(500),
    "slowly": slow(2.0),
}
ENTRIES = 10


class Stream:
    """The user stream: what the broker holds after each fill, as position frames."""

    def __init__(self, broker: PaperBroker, b: Bench) -> None:
        self.broker = broker
        self.b = b
        self.number = 5000
        self.created: datetime | None = None
        self.trades = 0
        broker.on_fill = lambda account_id, contract_id, net: self.fill(net)

    def fill(self, net: int) -> None:
        """What our close did: the execution, then the position it left."""
        before = self.b.account().net(MNQ)
        self.trades += 1
        now = self.b.clock.now()
        self.b.pipeline.inbox.put_nowait(
            TradeExecuted(
                at=now,
                id=self.trades,
                account_id=101,
                contract_id=MNQ,
                creation_timestamp=now,
                price=Decimal(21000),
                profit_and_loss=Decimal(0),
                fees=Decimal(0),
                side=OrderSide.BUY if net > before else OrderSide.SELL,
                size=abs(net - before),
                order_id=90_000 + self.trades,
            )
        )
        self.say(net)

    def say(self, net: int) -> None:
        """One frame: so many are held now."""
        self.b.pipeline.inbox.put_nowait(
            PositionChanged(
                at=self.b.clock.now(),
                id=self.number,
                account_id=101,
                contract_id=MNQ,
                creation_timestamp=self.created,
                type=PositionType.SHORT if net < 0 else PositionType.LONG,
                size=abs(net),
                average_price=None,
            )
        )

    def enter(self, net: int) -> float:
        """The trader holds so many from now on; when that was."""
        if not self.broker.held.get((101, MNQ)):
            self.number += 1
            self.created = self.b.clock.now()
        identity = None if self.created is None else (self.number, self.created)
        self.broker.hold(101, MNQ, net, identity)
        self.say(net)
        return asyncio.get_running_loop().time()


@asynccontextmanager
async def trading(
    broker: PaperBroker, *rules: Rule, reads: Fault | None = None
) -> AsyncIterator[tuple[Bench, Stream]]:
    """An account whose broker has been read once; from then on reads are answered like this."""
    async with bench(broker, LoopClock(), rules=rules) as b:
        await b.until(lambda: b.account().reported_at is not None)
        if reads is not None:
            for path in READS:
                broker.always[path] = reads
        yield b, Stream(broker, b)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the broker, which tells nobody."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def called(broker: PaperBroker, path: str, count: int) -> float:
    """When the call of that number left."""
    await until(lambda: len(broker.calls(path)) >= count)
    return broker.calls(path)[count - 1].at


async def held(broker: PaperBroker, net: int) -> None:
    await until(lambda: broker.held.get((101, MNQ), 0) == net)


@pytest.mark.parametrize("reads", READ_ANSWERS)
@pytest.mark.parametrize("fill_seconds", [0.0, 0.05])
@in_virtual_time
async def test_each_reentry_into_a_blocked_product_is_closed_like_the_first(
    reads: str, fill_seconds: float
) -> None:
    """F2.1: Ten re-entries, each 10 ms after the close before: every close leaves at once."""
    broker = PaperBroker(fill_seconds=fill_seconds)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS[reads]) as (b, stream):
        for number in range(1, ENTRIES + 1):
            entered = stream.enter(1 if number % 2 else -1)
            assert await called(broker, CLOSE, number) - entered < 0.005
            await held(broker, 0)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        assert len(broker.calls(CLOSE)) == ENTRIES
        assert broker.reversals == 0
        settled = b.settled()
        assert len(settled) == ENTRIES
        assert {s.outcome for s in settled} == {Outcome.DONE}
        if reads == "well":
            assert all(s.verified for s in settled)
            assert {s.message for s in settled} == {""}
        assert b.account().attempts == {}
        assert b.enforcer.under_way == 0


@in_virtual_time
async def test_a_storm_leaves_room_for_the_closes_that_come_after_it() -> None:
    """The gateway takes 200 requests a minute. Reading back each close at once used most of them,
    and a close that came later in that minute was refused."""
    broker = PaperBroker(fill_seconds=0.05)
    storm = 50
    async with trading(broker, NO_NQ) as (b, stream):
        await asyncio.sleep(61)
        known, began = len(broker.asked), b.clock.monotonic()
        for number in range(1, storm + 1):
            entered = stream.enter(1 if number % 2 else -1)
            assert await called(broker, CLOSE, number) - entered < 0.005
            await held(broker, 0)
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        sent = [each for each in broker.asked[known:] if each.at - began < 60]
        reads = [each for each in sent if each.path in READS]
        assert len(reads) <= 90
        settled = b.settled()
        assert len(settled) == storm
        assert all(s.verified for s in settled)


@pytest.mark.parametrize("reads", ["well", "429", "500"])
@in_virtual_time
async def test_each_lot_above_the_size_cap_is_closed_like_the_first(reads: str) -> None:
    """F2.2: Ten times one lot more than the cap, each 10 ms after the last was cut back."""
    broker = PaperBroker(fill_seconds=0.0)
    async with trading(broker, MaxContracts(limit=2), reads=READ_ANSWERS[reads]) as (b, stream):
        for number in range(1, ENTRIES + 1):
            entered = stream.enter(3)
            # The first reads what is held before it cuts back; so does each.
            assert await called(broker, PARTIAL_CLOSE, number) - entered < 0.05
            await held(broker, 2)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        assert [c.body["size"] for c in broker.calls(PARTIAL_CLOSE)] == [1] * ENTRIES
        assert broker.held[101, MNQ] == b.account().net(MNQ) == 2
        assert b.account().attempts == {}


@in_virtual_time
async def test_the_same_position_told_twice_more_is_not_closed_a_second_time() -> None:
    """F2.1: Late and doubled frames of a position that has ended are no re-entry."""
    broker = PaperBroker(latency=0.02)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS["429"]) as (_, stream):
        stream.enter(2)
        await held(broker, 0)
        for net in (2, 0, 2, 2, 0):
            stream.say(net)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        assert len(broker.executed) == len(broker.calls(CLOSE)) == 1


@in_virtual_time
async def test_a_denied_close_is_over_once_a_list_shows_the_next_position() -> None:
    """The broker knows nothing to close, as the trader was out by himself. He is in again
    before the list is read: that is another position, and the denied close is not waited for."""
    broker = PaperBroker()
    async with trading(broker) as (b, stream):

        async def out_and_in_again(effect: object) -> object:
            broker.hold(101, MNQ, 0)
            denied = effect() if callable(effect) else None
            broker.hold(101, MNQ, 2, (stream.number + 1, b.clock.now()))
            return denied

        broker.faults[CLOSE].append(out_and_in_again)
        stream.enter(2)
        await b.until(lambda: b.account().net(MNQ) == 2)
        asked_at = b.clock.monotonic()
        b.enforcer.submit(ClosePosition(id="101-x1", account_id=101, contract_id=MNQ, episode=1))
        await b.until(lambda: len(b.settled()) == 1)
        assert b.clock.monotonic() - asked_at < 0.1
        assert (b.settled()[0].outcome, b.settled()[0].verified) == (Outcome.GONE, True)
        assert b.account().positions[MNQ].episode == 2


@in_virtual_time
async def test_a_second_close_waits_for_the_answer_of_the_first() -> None:
    """F2.1: A first close that still hangs may yet be carried out: no second one beside it."""
    broker = PaperBroker(fill_seconds=0.05)
    gate = asyncio.Event()
    async with trading(broker, NO_NQ) as (b, stream):
        broker.faults[CLOSE].append(hang(gate))
        stream.enter(2)
        await called(broker, CLOSE, 1)
        # The trader is out by himself and in again while ours is on its way.
        broker.hold(101, MNQ, 0)
        stream.say(0)
        await asyncio.sleep(0.01)
        stream.enter(2)
        await asyncio.sleep(0.5)
        assert len(broker.calls(CLOSE)) == 1
        gate.set()
        await b.until_flat()
        assert broker.held == {}
        assert broker.reversals == 0
        assert len(broker.executed) == 1


@in_virtual_time
async def test_a_first_close_that_never_answers_does_not_hold_up_the_next_for_long() -> None:
    """F2.1: The fate of a first close stays unknown: the next goes out when that is clear."""
    broker = PaperBroker()
    async with trading(broker, NO_NQ, reads=READ_ANSWERS["429"]) as (b, stream):

        async def done_and_silent(effect: object) -> object:
            assert callable(effect)
            effect()
            await asyncio.sleep(60)
            raise TimeoutError

        broker.faults[CLOSE].append(done_and_silent)
        stream.enter(2)
        await held(broker, 0)
        await asyncio.sleep(0.01)
        entered = stream.enter(1)
        assert await called(broker, CLOSE, 2) - entered < 4.0
        await b.until_flat()
        assert len(broker.executed) == 2
        assert broker.reversals == 0


@pytest.mark.parametrize(("reads", "within_seconds"), [("429", 0.15), ("slowly", 0.4)])
@in_virtual_time
async def test_a_reversal_under_one_position_id_is_closed_once_and_at_once(
    reads: str, within_seconds: float
) -> None:
    """F2.1: A gateway that keeps the id over a reversal: the other side is a new position."""
    broker = PaperBroker(fill_seconds=0.02)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS[reads]) as (b, stream):
        stream.enter(2)
        await called(broker, CLOSE, 1)
        await asyncio.sleep(0.02)
        # Our close has been taken, and with it the trader sells three: short three in the end.
        broker.hold(101, MNQ, -1)
        stream.say(-1)
        now = asyncio.get_running_loop().time()
        assert await called(broker, CLOSE, 2) - now < within_seconds
        assert (broker.held[101, MNQ], b.account().net(MNQ)) == (-3, -3)
        await b.until_flat()
        assert len(broker.executed) == 2
        assert broker.reversals == 1  # his order and our first, which crossed; not our second


@in_virtual_time
async def test_a_first_close_that_met_the_other_side_is_not_followed_by_a_second() -> None:
    """F2.1: Turned round before our close arrived: that close was the one for the other side."""
    broker = PaperBroker(fill_seconds=0.05)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS["429"]) as (b, stream):
        stream.enter(2)
        broker.hold(101, MNQ, -1)
        await called(broker, CLOSE, 1)
        stream.say(-1)
        await b.until_flat()
        assert broker.held == {}
        assert len(broker.calls(CLOSE)) == 1
        assert broker.reversals == 0


@in_virtual_time
async def test_a_close_that_waited_is_not_sent_for_what_has_ended_meanwhile() -> None:
    """F2.3: A close that waits for the answer of the one before is dropped with its position."""
    broker = PaperBroker(latency=0.3)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS["429"]) as (b, stream):
        stream.enter(2)
        await called(broker, CLOSE, 1)
        for net in (0, 1, 0):
            broker.hold(101, MNQ, net)
            stream.created = b.clock.now()
            stream.number += net
            stream.say(net)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
        assert len(broker.calls(CLOSE)) == 1
        closes = [a for a in b.feed.actions if isinstance(a, ClosePosition)]
        assert len(closes) == len(b.settled()) == 2
        assert b.account().attempts == {}
        assert b.clock.now() - b.settled()[-1].at > timedelta(seconds=50)


@in_virtual_time
async def test_a_close_that_was_never_sent_does_not_hold_up_the_next() -> None:
    """F2.1: One that still looks whether the call before met its position has nothing to say once
    that position is over: the next one goes by that call's answer, which came long ago."""
    broker = PaperBroker(fill_seconds=0.02)
    async with trading(broker, NO_NQ, reads=READ_ANSWERS["slowly"]) as (b, stream):
        stream.enter(2)
        await called(broker, CLOSE, 1)
        await asyncio.sleep(0.02)
        broker.hold(101, MNQ, -1)
        stream.say(-1)  # without a word of flat: the first close may have met it
        await asyncio.sleep(0.05)
        broker.hold(101, MNQ, 0)
        stream.say(0)
        await asyncio.sleep(0.02)
        entered = stream.enter(1)
        assert await called(broker, CLOSE, 2) - entered < 0.005
        await b.until_flat()
        await asyncio.sleep(60)
        assert len(broker.calls(CLOSE)) == len(broker.executed) == 2
        assert [s.outcome for s in b.settled()].count(Outcome.GONE) == 1
        assert b.account().attempts == {}


@in_virtual_time
async def test_the_third_close_waits_for_a_first_that_hangs_though_the_second_was_never_sent() -> (
    None
):
    """F2.1: Nothing is sent beside a call that may yet be carried out."""
    broker = PaperBroker(fill_seconds=0.05)
    gate = asyncio.Event()
    async with trading(broker, NO_NQ) as (b, stream):
        broker.faults[CLOSE].append(hang(gate))
        stream.enter(2)
        await called(broker, CLOSE, 1)
        for net in (0, 2, 0):
            broker.hold(101, MNQ, net)
            stream.created = b.clock.now()
            stream.number += 1 if net else 0
            stream.say(net)
            await asyncio.sleep(0.01)
        stream.enter(1)
        await asyncio.sleep(0.5)
        assert len(broker.calls(CLOSE)) == 1
        gate.set()
        await b.until_flat()
        await asyncio.sleep(60)
        assert broker.held == {}
        assert broker.reversals == 0
        assert len(broker.executed) == 1
