"""Stream and lists at odds, with enforcer and reconciler at work: who is believed, and how soon."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from enforcement_bench import Bench, bench
from paper_broker import ACCOUNTS, CANCEL, CLOSE, MNQ, ORDERS, PLACE, PaperBroker
from virtual_time import LoopClock, in_virtual_time

from risk_manager.domain.decisions import Outcome, PlaceExit
from risk_manager.domain.events import AccountChanged, OrderChanged, PositionChanged
from risk_manager.domain.records import OrderStatus, PositionType
from risk_manager.rules.no_stop_loss_grace import NoStopLossGrace

STOP = {"type": 4, "side": 1, "stopPrice": 5990.25}


@dataclass
class LaggingBroker(PaperBroker):
    """REST knows of an order, or that it has ended, only `lag` seconds after the stream does."""

    lag: float = 0.0
    known_from: dict[int, float] = field(default_factory=dict)
    immortal: bool = False  # cancels are accepted, and do nothing

    def enters(self, b: Bench, **fields: Any) -> int:
        order_id = self.add_order(101, MNQ, **fields)
        self.known_from[order_id] = asyncio.get_running_loop().time() + self.lag
        self.tells(b, order_id, OrderStatus.OPEN)
        return order_id

    def tells(self, b: Bench, order_id: int, status: OrderStatus) -> None:
        now = b.clock.now()
        record = {**self.orders[order_id], "status": int(status), "updateTimestamp": now}
        self.orders[order_id] = {**record, "status": 1, "updateTimestamp": now.isoformat()}
        b.pipeline.inbox.put_nowait(OrderChanged.model_validate({**record, "at": now}))

    def _answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        hidden = {i: o for i, o in self.orders.items() if self.known_from.get(i, 0.0) > now}
        if path == CANCEL and self.immortal and body["orderId"] not in hidden:
            return {"success": True, "errorCode": 0, "errorMessage": None}
        self.orders = {i: o for i, o in self.orders.items() if i not in hidden}
        try:
            return super()._answer(path, body)
        finally:
            self.orders |= hidden


@pytest.mark.parametrize("lag", [0.0, 0.4, 0.6, 1.5])
@in_virtual_time
async def test_an_entry_under_a_lock_is_cancelled_as_soon_as_the_gateway_can(lag: float) -> None:
    """F1.4: The stream tells of an entry before REST knows it: it is cancelled once REST does."""
    broker = LaggingBroker(lag=lag)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().reported_at is not None)
        b.lock()
        await asyncio.sleep(5)
        began = b.clock.monotonic()
        order = broker.enters(b)
        while order in broker.orders:
            await asyncio.sleep(0.01)
            assert b.clock.monotonic() - began < 40
        took = b.clock.monotonic() - began
        assert took < max(0.05, lag + (0.35 if lag < 1 else 1.2))
        await asyncio.sleep(10)
        assert b.account().orders == {}
        assert len(broker.calls(CANCEL)) <= 12


@in_virtual_time
async def test_a_cancel_that_is_accepted_and_does_nothing_is_repeated_at_a_bounded_pace() -> None:
    """F1.2: The list shows the order after its cancel was accepted: cancelled again, no storm."""
    broker = LaggingBroker(immortal=True)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().reported_at is not None)
        b.lock()
        await asyncio.sleep(5)
        order = broker.enters(b)
        for _ in range(60):
            await asyncio.sleep(1)
            broker.tells(b, order, OrderStatus.CANCELLED)
        assert 5 <= len(broker.calls(CANCEL)) <= 30
        assert len(broker.calls(ORDERS)) <= 200
        broker.immortal = False
        await asyncio.sleep(30)
        assert broker.orders == {}


@in_virtual_time
async def test_a_stop_told_cancelled_that_works_keeps_its_position_open() -> None:
    """F1.1: Told as cancelled and never again as open: the list is asked and shows it."""
    broker = LaggingBroker()
    broker.hold(101, MNQ, 1)
    rule = NoStopLossGrace(grace=timedelta(seconds=3), rearm_grace=timedelta(seconds=1))
    async with bench(broker, LoopClock(), rules=[rule]) as b:
        stop = broker.enters(b, **STOP)
        await asyncio.sleep(8)
        broker.tells(b, stop, OrderStatus.CANCELLED)
        await asyncio.sleep(20)
        assert broker.calls(CLOSE) == []
        assert stop in b.account().orders
        del broker.orders[stop]
        await asyncio.sleep(10)
        assert len(broker.calls(CLOSE)) == 1


@pytest.mark.parametrize(("works", "placed"), [(0, 2), (1, 1), (2, None)])
@in_virtual_time
async def test_an_exit_leaves_room_for_those_that_work_by_the_list(
    works: int, placed: int | None
) -> None:
    """F1.3: Whatever the core was told, ours is placed for what the list leaves unprotected."""
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().reported_at is not None)
        if works:
            broker.add_order(101, MNQ, **STOP, **{"size": works})
        broker.add_order(101, MNQ, type=1, side=1, size=2, limitPrice=6100)  # a target beside it
        action = PlaceExit(
            id="101-x1",
            account_id=101,
            contract_id=MNQ,
            side=1,
            size=2,
            episode=1,
            stop_price=Decimal("5980"),
        )
        b.enforcer.submit(action)
        await b.until(lambda: bool(b.settled()))
        assert [c.body["size"] for c in broker.calls(PLACE)] == ([] if placed is None else [placed])
        expected = Outcome.GONE if placed is None else Outcome.DONE
        assert b.settled()[0].outcome is expected


@pytest.mark.parametrize("lag", [0.0, 0.4, 0.6])
@in_virtual_time
async def test_a_position_opened_under_a_lock_is_closed_as_soon_as_the_gateway_can(
    lag: float,
) -> None:
    """F1.4: The stream tells of a position before REST knows it: it is closed once REST does."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().reported_at is not None)
        b.lock()
        await asyncio.sleep(5)
        began = b.clock.monotonic()
        b.pipeline.inbox.put_nowait(
            PositionChanged(
                at=b.clock.now(),
                account_id=101,
                contract_id=MNQ,
                type=PositionType.LONG,
                size=1,
            )
        )
        asyncio.get_running_loop().call_later(lag, broker.hold, 101, MNQ, 1)
        await asyncio.sleep(lag + 0.001)
        while broker.held:
            await asyncio.sleep(0.01)
            assert b.clock.monotonic() - began < 40
        assert b.clock.monotonic() - began < lag + 0.35
        await asyncio.sleep(10)
        assert b.account().positions == {}
        assert len(broker.calls(CLOSE)) <= 6


@in_virtual_time
async def test_the_permission_is_read_again_soon_where_stream_and_list_differ() -> None:
    """F1.4: Not half a minute later, when a flat account is read as it always is."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().can_trade is True)
        await asyncio.sleep(5)
        said = AccountChanged(at=b.clock.now(), id=101, name="A", can_trade=False)
        b.pipeline.inbox.put_nowait(said)
        await asyncio.sleep(0.1)
        b.reconciler.ask(101)
        await asyncio.sleep(0.5)
        assert b.account().can_trade is False
        await asyncio.sleep(3.5)
        assert b.account().can_trade is True
        assert len(broker.calls(ACCOUNTS)) <= 4
