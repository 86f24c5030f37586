"""Actions carried out: the real core, over a broker that is slow, forgetful or broken."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from enforcement_bench import Bench, bench
from paper_broker import (
    ACCOUNTS,
    CANCEL,
    CLOSE,
    ES,
    MNQ,
    MODIFY,
    ORDERS,
    PARTIAL_CLOSE,
    PLACE,
    POSITIONS,
    TRADES,
    Fault,
    PaperBroker,
    answer,
    fails_after_effect,
    garbled,
    hang,
    lost_reply,
    never_left,
    no_line,
    refuse,
    slow,
    status,
)
from virtual_time import LoopClock, in_virtual_time

from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.reading.readings import Parts, Reading
from risk_manager.broker.replies import Answer, Reply
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import (
    AccountReported,
    ActionSettled,
    AnyEvent,
    OrderChanged,
    PositionChanged,
)
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType, PositionType
from risk_manager.rules.max_contracts import MaxContracts


async def holding(broker: PaperBroker, b: Bench, net: int, contract_id: str = MNQ) -> None:
    """The trader holds this, and we have seen it."""
    broker.hold(101, contract_id, net)
    b.pipeline.inbox.put_nowait(
        PositionChanged(
            at=b.clock.now(),
            account_id=101,
            contract_id=contract_id,
            type=PositionType.LONG if net > 0 else PositionType.SHORT,
            size=abs(net),
        )
    )
    await b.until(lambda: b.account().net(contract_id) == net)


def effective_closes(broker: PaperBroker) -> int:
    return sum(path in (CLOSE, PARTIAL_CLOSE) for path, _ in broker.executed)


def closing(number: int = 1, contract_id: str = MNQ) -> ClosePosition:
    return ClosePosition(id=f"101-x{number}", account_id=101, contract_id=contract_id, episode=1)


def reducing(keep: int, side: int = 1) -> ReducePosition:
    return ReducePosition(
        id="101-x1", account_id=101, contract_id=MNQ, episode=1, side=side, keep=keep
    )


def stop_exit(size: int = 2, side: int = 1) -> PlaceExit:
    return PlaceExit(
        id="101-x1",
        account_id=101,
        contract_id=MNQ,
        side=side,
        size=size,
        episode=1,
        stop_price=Decimal("20990.25"),
    )


def order_stated(b: Bench, order_id: int, status: OrderStatus) -> None:
    """The stream tells of an order of the trader."""
    b.pipeline.inbox.put_nowait(
        OrderChanged(
            at=b.clock.now(),
            id=order_id,
            account_id=101,
            contract_id=MNQ,
            status=status,
            type=OrderType.STOP,
            side=OrderSide.SELL,
            size=1,
        )
    )


async def settle(b: Bench, action: Action) -> ActionSettled:
    """Carry out one action the core knows nothing of, and return how it ended."""
    b.enforcer.submit(action)
    await b.until(lambda: any(s.action_id == action.id for s in b.settled()))
    (settled,) = [s for s in b.settled() if s.action_id == action.id]
    return settled


# --- the core drives, the broker misbehaves ------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (status(500), 3),
        (status(503), 3),
        (status(429, "1"), 5),
        (status(401), 3),
        (status(404), 5),
        (refuse(5, "order rejected"), 5),
        (refuse(7), 5),
        (answer({}), 3),
        (lost_reply, 3),
        (fails_after_effect, 3),
        (garbled, 3),
        (no_line, 3),
        (never_left, 0.6),
        (slow(3.0), 6),
        (slow(20.0), 8),
    ],
    ids=lambda v: getattr(v, "__qualname__", str(v)).split(".")[0],
)
@in_virtual_time
async def test_a_locked_account_ends_flat_with_one_effective_close_and_never_reversed(
    fault: Fault, seconds: float
) -> None:
    broker = PaperBroker(fill_seconds=0.15)
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 3)
        broker.faults[CLOSE].append(fault)
        began = b.clock.monotonic()
        b.lock()
        await b.until(lambda: b.account().locks != {})
        await b.until_flat()
        assert b.clock.monotonic() - began <= seconds
        await asyncio.sleep(60)
        assert broker.held == {}
        assert effective_closes(broker) == 1
        assert all(s.outcome in Outcome for s in b.settled())


@in_virtual_time
async def test_a_close_that_hangs_and_then_happens_does_no_harm() -> None:
    broker = PaperBroker()
    gate = asyncio.Event()
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 3)
        broker.faults[CLOSE].append(hang(gate))
        began = b.clock.monotonic()
        b.lock()
        await b.until(lambda: b.account().locks != {})
        await b.until_flat()
        assert b.clock.monotonic() - began < 5
        gate.set()
        await asyncio.sleep(30)
        assert broker.held == {}
        assert effective_closes(broker) == 1


@pytest.mark.parametrize("fill_seconds", [0.0, 0.05, 0.3, 1.0, 2.5])
@in_virtual_time
async def test_while_the_first_close_is_filling_no_second_one_is_sent(fill_seconds: float) -> None:
    broker = PaperBroker(fill_seconds=fill_seconds)
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, -4)
        b.lock()
        await b.until(lambda: b.account().locks != {})
        await b.until_flat()
        assert len(broker.calls(CLOSE)) == 1
        assert broker.held == {}


@in_virtual_time
async def test_a_trader_who_fights_the_lock_is_closed_each_time() -> None:
    broker = PaperBroker(fill_seconds=0.05)
    async with bench(broker, LoopClock()) as b:
        b.lock()
        for net in (2, -1, 3):
            await holding(broker, b, net)
            await b.until_flat(seconds=5)
        assert broker.held == {}
        assert effective_closes(broker) == 3


@in_virtual_time
async def test_with_every_read_refused_a_close_still_leaves_at_once() -> None:
    broker = PaperBroker()
    for path in (POSITIONS, ORDERS, TRADES, ACCOUNTS):
        broker.always[path] = status(429, "60")
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 2)
        began = b.clock.monotonic()
        b.lock()
        await b.until(lambda: bool(broker.calls(CLOSE)))
        assert broker.calls(CLOSE)[0].at == began
        await b.until(lambda: bool(b.settled()))
        (settled,) = b.settled()
        assert (settled.outcome, settled.verified) == (Outcome.DONE, False)
        assert b.clock.monotonic() - began <= 3.5


@in_virtual_time
async def test_with_every_read_hanging_a_reduction_acts_on_what_the_stream_said() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock(), rules=[MaxContracts(limit=2)]) as b:
        await asyncio.sleep(0.5)
        for path in (POSITIONS, ORDERS, TRADES, ACCOUNTS):
            broker.always[path] = slow(60)
        began = b.clock.monotonic()
        broker.hold(101, MNQ, 5)
        b.pipeline.inbox.put_nowait(
            PositionChanged(
                at=b.clock.now(), account_id=101, contract_id=MNQ, type=PositionType.LONG, size=5
            )
        )
        await b.until(lambda: bool(broker.calls(PARTIAL_CLOSE)))
        (asked,) = broker.calls(PARTIAL_CLOSE)
        assert asked.body["size"] == 3
        assert asked.at - began <= 1.1
        await b.until(lambda: bool(b.settled()))
        assert not b.settled()[0].verified
        assert b.clock.monotonic() - began <= 5


@in_virtual_time
async def test_too_many_contracts_are_reduced_to_the_limit_and_no_further() -> None:
    broker = PaperBroker(fill_seconds=0.2)
    async with bench(broker, LoopClock(), rules=[MaxContracts(limit=2)]) as b:
        for net in (5, -5):
            broker.hold(101, MNQ, net)
            b.pipeline.inbox.put_nowait(
                PositionChanged(
                    at=b.clock.now(),
                    account_id=101,
                    contract_id=MNQ,
                    type=PositionType.LONG if net > 0 else PositionType.SHORT,
                    size=5,
                )
            )
            await b.until(lambda: b.account().contracts_held == 5)
            await b.until(lambda: b.account().contracts_held == 2 and b.enforcer.under_way == 0)
            assert abs(broker.held[101, MNQ]) == 2
        assert len(broker.calls(PARTIAL_CLOSE)) == 2


@in_virtual_time
async def test_three_contracts_are_closed_at_the_same_moment() -> None:
    broker = PaperBroker(latency=0.2, fill_seconds=0.1)
    third = "CON.F.US.CLE.F27"
    async with bench(broker, LoopClock()) as b:
        for contract_id in (MNQ, ES, third):
            await holding(broker, b, 2, contract_id)
        b.lock()
        await b.until(lambda: b.account().locks != {})
        await b.until_flat()
        closes = broker.calls(CLOSE)
        assert len(closes) == 3
        assert len({c.at for c in closes}) == 1
        assert broker.held == {}


@in_virtual_time
async def test_working_orders_are_cancelled_beside_the_close() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        entry = broker.add_order(101, MNQ, side=0, type=1, size=1, limitPrice=20000)
        await asyncio.sleep(1)
        await holding(broker, b, 2)
        b.reconciler.ask(101)
        await b.until(lambda: entry in b.account().orders)
        b.lock()
        await b.until(lambda: not b.account().orders and not b.account().positions)
        assert broker.orders == {}
        assert broker.held == {}


# --- a list that lags behind the stream ----------------------------------------------------------


async def told(b: Bench, broker: PaperBroker, *sizes: int) -> None:
    """The stream tells these sizes one after the other; the broker's list shows the first."""
    opened_at = b.clock.now()
    broker.hold(101, MNQ, sizes[0], (5001, opened_at))
    for size in sizes:
        b.pipeline.inbox.put_nowait(
            PositionChanged(
                at=b.clock.now(),
                id=5001,
                account_id=101,
                contract_id=MNQ,
                creation_timestamp=opened_at,
                type=PositionType.LONG,
                size=size,
            )
        )
        await b.pipeline.inbox.join()
        await asyncio.sleep(0.01)
    assert b.account().net(MNQ) == sizes[-1]


@pytest.mark.parametrize(("net", "closed"), [(7, [2]), (6, [1]), (5, []), (0, [])])
@in_virtual_time
async def test_no_more_is_taken_off_than_the_stream_has_left(net: int, closed: list[int]) -> None:
    """The trader has sold some himself; the list does not know it yet."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await told(b, broker, 7, net)
        await settle(b, reducing(keep=5))
        assert [each.body["size"] for each in broker.calls(PARTIAL_CLOSE)] == closed


@pytest.mark.parametrize(("net", "placed"), [(3, [3]), (2, [2]), (0, [])])
@in_virtual_time
async def test_no_exit_is_placed_for_more_than_the_stream_has_left(
    net: int, placed: list[int]
) -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await told(b, broker, 3, net)
        await settle(b, stop_exit(size=3))
        assert [each.body["size"] for each in broker.calls(PLACE)] == placed


@pytest.mark.parametrize(("told_before_s", "placed"), [(0.5, [2]), (2.5, [3])])
@in_virtual_time
async def test_a_stop_that_the_list_may_not_know_yet_counts(
    told_before_s: float, placed: list[int]
) -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await told(b, broker, 3)
        order_stated(b, 7, OrderStatus.OPEN)
        await b.until(lambda: 7 in b.account().orders)
        await asyncio.sleep(told_before_s)
        await settle(b, stop_exit(size=3))
        assert [each.body["size"] for each in broker.calls(PLACE)] == placed


@in_virtual_time
async def test_a_stop_is_not_withdrawn_because_a_list_does_not_know_its_position_yet() -> None:
    """The list read before the placing knew the position, the one after it is an older one."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await told(b, broker, 3)

        async def from_before(effect: object) -> object:
            return {"success": True, "errorCode": 0, "positions": []}

        b.enforcer.submit(stop_exit(size=3))
        await asyncio.sleep(1.5 * broker.latency)
        assert broker.calls(PLACE)
        broker.faults[POSITIONS].append(from_before)
        broker.faults[ORDERS].append(lambda _: _orders_from_before())
        await b.until(lambda: bool(b.settled()))
        assert broker.calls(CANCEL) == []
        assert b.settled()[0].outcome is Outcome.DONE


async def _orders_from_before() -> object:
    return {"success": True, "errorCode": 0, "orders": []}


# --- one action at a time ------------------------------------------------------------------------


@in_virtual_time
async def test_the_account_is_reported_before_the_action_is_settled() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().net(MNQ) == 2)
        settled = await settle(b, closing())
        assert (settled.outcome, settled.verified, settled.error_code) == (Outcome.DONE, True, 0)
        events = b.feed.events
        reports = [e for e in events if isinstance(e, AccountReported) and e.positions == ()]
        assert events.index(reports[0]) < events.index(settled)
        assert settled.took_ms == pytest.approx(20, abs=5)


@in_virtual_time
async def test_closing_what_is_already_flat_is_gone() -> None:
    async with bench(PaperBroker(), LoopClock()) as b:
        settled = await settle(b, closing())
        assert (settled.outcome, settled.verified, settled.error_code) == (Outcome.GONE, True, 2)


@in_virtual_time
async def test_a_gateway_that_denies_what_it_still_lists_is_not_believed() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    order = broker.add_order(101, MNQ)
    broker.faults[CLOSE].append(refuse(2))
    broker.faults[CANCEL].append(refuse(2))
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, closing())
        assert (settled.outcome, settled.error_code) == (Outcome.REFUSED, 2)
        assert "still listed" in settled.message
        cancel = CancelOrder(id="101-x2", account_id=101, contract_id=MNQ, order_id=order)
        assert (await settle(b, cancel)).outcome is Outcome.REFUSED
        assert order in b.account().orders


@in_virtual_time
async def test_an_accepted_close_without_effect_is_settled_after_three_seconds() -> None:
    broker = PaperBroker(fill_seconds=1e6)
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, closing())
        assert (settled.outcome, settled.verified) == (Outcome.DONE, True)
        assert "without effect" in settled.message
        assert 2800 <= settled.took_ms <= 3500


@in_virtual_time
async def test_a_new_position_on_the_other_side_ends_the_waiting_for_the_old_one() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)

    async def closed_and_reversed(effect: object) -> object:
        broker.hold(101, MNQ, -1)
        return {"success": True, "errorCode": 0}

    broker.faults[CLOSE].append(closed_and_reversed)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().net(MNQ) == 2)
        settled = await settle(b, closing())
        assert settled.outcome is Outcome.DONE
        assert settled.took_ms < 100


@in_virtual_time
async def test_a_pending_close_of_someone_else_is_waited_for() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    broker.faults[CLOSE].append(refuse(6))
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().net(MNQ) == 2)
        asyncio.get_running_loop().call_later(0.4, broker.hold, 101, MNQ, 0)
        settled = await settle(b, closing())
        assert (settled.outcome, settled.error_code) == (Outcome.DONE, 6)


@pytest.mark.parametrize(
    ("net", "keep", "side", "expected"),
    [
        (5, 2, 1, (PARTIAL_CLOSE, 3)),
        (-5, 2, -1, (PARTIAL_CLOSE, 3)),
        (3, 2, 1, (PARTIAL_CLOSE, 1)),
        (5, 0, 1, (CLOSE, None)),
        (2, 2, 1, None),
        (1, 2, 1, None),
        (0, 2, 1, None),
        (-5, 2, 1, None),
    ],
)
@in_virtual_time
async def test_a_reduction_closes_what_stands_above_on_that_side_and_nothing_else(
    net: int, keep: int, side: int, expected: tuple[str, int | None] | None
) -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, net)
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, reducing(keep, side))
        calls = [(a.path, a.body.get("size")) for a in broker.calls(CLOSE, PARTIAL_CLOSE)]
        assert calls == ([expected] if expected else [])
        assert settled.outcome is (Outcome.DONE if expected else Outcome.GONE)
        assert settled.verified


@in_virtual_time
async def test_a_reduction_that_the_trader_beats_us_to_has_nothing_left_to_do() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 5)

    async def beaten(effect: object) -> object:
        broker.hold(101, MNQ, 1)
        return {"success": False, "errorCode": 5}

    broker.faults[PARTIAL_CLOSE].append(beaten)
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, reducing(2))
        assert (settled.outcome, settled.verified) == (Outcome.GONE, True)
        assert b.account().net(MNQ) == 1
        assert effective_closes(broker) == 0


@pytest.mark.parametrize(
    ("fault", "outcome", "verified"),
    [
        (None, Outcome.DONE, True),
        (refuse(2), Outcome.REFUSED, True),
        (refuse(3), Outcome.REFUSED, True),
        (status(500), Outcome.UNKNOWN, True),
        (lost_reply, Outcome.UNKNOWN, True),
    ],
)
@in_virtual_time
async def test_a_cancel_is_settled_by_what_the_list_of_orders_says(
    fault: Fault | None, outcome: Outcome, verified: bool
) -> None:
    broker = PaperBroker()
    order = broker.add_order(101, MNQ)
    if fault is not None:
        broker.faults[CANCEL].append(fault)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: order in b.account().orders)
        action = CancelOrder(id="101-x1", account_id=101, contract_id=MNQ, order_id=order)
        settled = await settle(b, action)
        assert (settled.outcome, settled.verified) == (outcome, verified)
        assert (order in b.account().orders) == (order in broker.orders)


@in_virtual_time
async def test_a_cancel_refused_because_the_order_is_cancelled_already_is_no_failure() -> None:
    broker = PaperBroker()
    order = broker.add_order(101, MNQ)

    async def too_late(effect: object) -> object:
        del broker.orders[order]
        return {"success": False, "errorCode": 3, "errorMessage": "order is already cancelled"}

    broker.faults[CANCEL].append(too_late)
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: order in b.account().orders)
        action = CancelOrder(id="101-x1", account_id=101, contract_id=MNQ, order_id=order)
        settled = await settle(b, action)
        assert (settled.outcome, settled.verified) == (Outcome.GONE, True)
        assert "nothing is left to do" in settled.message
        assert order not in b.account().orders


@in_virtual_time
async def test_a_cancel_that_hangs_is_repeated_after_two_seconds_whether_or_not_reads_answer() -> (
    None
):
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        b.lock()
        await b.until(lambda: b.account().locks != {})
        broker.faults[CANCEL].append(slow(60))
        for path in (POSITIONS, ORDERS, TRADES, ACCOUNTS):
            broker.always[path] = status(429, "60")
        order = broker.add_order(101, MNQ)
        order_stated(b, order, OrderStatus.OPEN)
        await b.until(lambda: order not in broker.orders)
        first, second = broker.calls(CANCEL)
        assert second.at - first.at < 2.1


@in_virtual_time
async def test_a_cancel_of_an_order_nobody_knows_is_gone() -> None:
    async with bench(PaperBroker(), LoopClock()) as b:
        order_stated(b, 7, OrderStatus.SUSPENDED)
        await b.until(lambda: 7 in b.account().orders)
        action = CancelOrder(id="101-x1", account_id=101, contract_id=MNQ, order_id=7)
        assert (await settle(b, action)).outcome is Outcome.GONE


@pytest.mark.parametrize(("held", "wanted", "placed"), [(2, 2, 2), (1, 2, 1), (5, 2, 2)])
@in_virtual_time
async def test_a_stop_goes_the_other_way_and_is_never_larger_than_the_position(
    held: int, wanted: int, placed: int
) -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, held)
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, stop_exit(wanted))
        (call,) = broker.calls(PLACE)
        assert call.body == {
            "accountId": 101,
            "contractId": MNQ,
            "type": 4,
            "side": 1,
            "size": placed,
            "stopPrice": 20990.25,
            "customTag": "rm-test-101-x1",
        }
        assert settled.outcome is Outcome.DONE
        assert settled.order_id in broker.orders


@in_virtual_time
async def test_a_target_for_a_short_is_a_limit_to_buy() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, -3)
    action = PlaceExit(
        id="101-x1",
        account_id=101,
        contract_id=MNQ,
        side=-1,
        size=3,
        episode=1,
        limit_price=Decimal("20000"),
    )
    async with bench(broker, LoopClock()) as b:
        assert (await settle(b, action)).outcome is Outcome.DONE
        (call,) = broker.calls(PLACE)
        assert (call.body["type"], call.body["side"], call.body["limitPrice"]) == (1, 0, 20000.0)
        assert "stopPrice" not in call.body


@pytest.mark.parametrize("net", [0, -2])
@in_virtual_time
async def test_no_exit_is_placed_for_a_position_that_is_gone_or_has_turned(net: int) -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, net)
    async with bench(broker, LoopClock()) as b:
        assert (await settle(b, stop_exit())).outcome is Outcome.GONE
        assert broker.calls(PLACE) == []


@in_virtual_time
async def test_while_looks_pause_no_stop_is_placed_beside_one_that_only_a_list_shows() -> None:
    """The stream has not told of the trader's stop, and the gateway refuses lists for a moment."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 2)
        await asyncio.sleep(1)
        broker.add_order(101, MNQ, size=2, type=4, side=1, stopPrice=20980.0)
        broker.faults[POSITIONS].append(status(429, "1"))
        refused = await b.lanes.look(POSITIONS, {"accountId": 101})
        assert refused.answer is Answer.LIMITED
        settled = await settle(b, stop_exit())
        assert settled.outcome is Outcome.GONE
        assert broker.calls(PLACE) == []


@pytest.mark.parametrize("refused", [(ORDERS,), (POSITIONS, ORDERS)])
@in_virtual_time
async def test_while_lists_are_waited_for_the_stream_may_tell_of_a_stop(
    refused: tuple[str, ...],
) -> None:
    """The trader's stop comes while ours waits for a list: ours is not placed beside it."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 2)
        await asyncio.sleep(1)
        for path in refused:
            broker.always[path] = status(429, "30")
        b.enforcer.submit(stop_exit())
        await asyncio.sleep(1)
        order = broker.add_order(101, MNQ, size=2, type=4, side=1, stopPrice=20980.0)
        record = {**broker.orders[order], "at": b.clock.now()}
        b.pipeline.inbox.put_nowait(OrderChanged.model_validate(record))
        await b.until(lambda: bool(b.settled()))
        assert [s.outcome for s in b.settled()] == [Outcome.GONE]
        assert broker.calls(PLACE) == []


@in_virtual_time
async def test_while_lists_are_refused_for_long_a_stop_is_placed_without_them() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await holding(broker, b, 2)
        await asyncio.sleep(1)
        broker.always[POSITIONS] = status(429, "30")
        asked = b.clock.monotonic()
        b.enforcer.submit(stop_exit())
        await b.until(lambda: bool(broker.calls(PLACE)))
        assert b.clock.monotonic() - asked < 4


@in_virtual_time
async def test_an_exit_whose_position_closed_meanwhile_is_withdrawn() -> None:
    broker = PaperBroker(latency=0.05)
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        asyncio.get_running_loop().call_later(0.08, broker.hold, 101, MNQ, 0)
        settled = await settle(b, stop_exit())
        assert settled.outcome is Outcome.GONE
        assert "no longer works" in settled.message
        assert broker.orders == {}


@pytest.mark.parametrize("fault", [lost_reply, fails_after_effect, garbled])
@in_virtual_time
async def test_an_exit_whose_reply_was_lost_is_found_by_its_tag(fault: Fault) -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    broker.faults[PLACE].append(fault)
    async with bench(broker, LoopClock()) as b:
        settled = await settle(b, stop_exit())
        assert (settled.outcome, settled.verified) == (Outcome.DONE, True)
        assert settled.order_id in broker.orders
        assert len(broker.calls(PLACE)) == 1


@in_virtual_time
async def test_a_stop_is_moved_with_the_size_of_the_position() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    order = broker.add_order(101, MNQ, type=4, side=1, size=3, stopPrice=20900.0)
    action = MoveStop(
        id="101-x1",
        account_id=101,
        contract_id=MNQ,
        order_id=order,
        side=1,
        size=3,
        stop_price=Decimal("20950.5"),
    )
    async with bench(broker, LoopClock()) as b:
        assert (await settle(b, action)).outcome is Outcome.DONE
        (call,) = broker.calls(MODIFY)
        assert (call.body["size"], call.body["stopPrice"]) == (2, 20950.5)


@in_virtual_time
async def test_a_trailing_stop_that_is_filling_is_made_smaller_and_left_where_it_is() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 1)
    order = broker.add_order(101, MNQ, type=5, side=1, size=4, fillVolume=2, stopPrice=20900.0)
    action = MoveStop(
        id="101-x1",
        account_id=101,
        contract_id=MNQ,
        order_id=order,
        side=1,
        size=1,
        stop_price=None,
        filled=2,
    )
    async with bench(broker, LoopClock()) as b:
        assert (await settle(b, action)).outcome is Outcome.DONE
        (call,) = broker.calls(MODIFY)
        assert (call.body["size"], "stopPrice" in call.body) == (3, False)


@in_virtual_time
async def test_the_stop_of_a_closed_position_is_not_moved_and_not_forgotten() -> None:
    broker = PaperBroker()
    order = broker.add_order(101, MNQ, type=4, side=1, size=3, stopPrice=20900.0)
    action = MoveStop(
        id="101-x1",
        account_id=101,
        contract_id=MNQ,
        order_id=order,
        side=1,
        size=3,
        stop_price=Decimal("20950.5"),
    )
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: order in b.account().orders)
        assert (await settle(b, action)).outcome is Outcome.REFUSED
        assert broker.calls(MODIFY) == []
        assert order in b.account().orders


@in_virtual_time
async def test_a_close_that_fails_is_looked_after_until_reads_are_answered_again() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(0.5)
        broker.always[CLOSE] = status(503)
        broker.faults[POSITIONS].append(status(429, "60"))  # no look for two seconds
        settled = await settle(b, closing())
        assert (settled.outcome, settled.verified) == (Outcome.UNKNOWN, True)
        assert settled.took_ms <= 3000


@in_virtual_time
async def test_when_nothing_answers_a_close_is_looked_after_for_no_longer_than_one_look() -> None:
    """It would show by now, and closing twice is no more than closing."""
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(0.5)
        broker.always["*"] = slow(1e5)
        settled = await settle(b, closing())
        assert (settled.outcome, settled.verified) == (Outcome.UNKNOWN, False)
        assert settled.took_ms <= 3500 + 1200 + 100


@in_virtual_time
async def test_when_nothing_answers_a_cancel_is_settled_unknown_and_unverified() -> None:
    broker = PaperBroker()
    order = broker.add_order(101, MNQ, type=2, side=0, size=1, limitPrice=20900.0)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(0.5)
        broker.always["*"] = slow(1e5)
        cancel = CancelOrder(id="101-x1", account_id=101, contract_id=MNQ, order_id=order)
        settled = await settle(b, cancel)
        assert (settled.outcome, settled.verified) == (Outcome.UNKNOWN, False)
        assert settled.took_ms <= 2000 + 3000 + 100


# --- settled exactly once ------------------------------------------------------------------------


class Broken:
    """Lanes and reconciler with a fault of ours in them."""

    async def act(self, path: str, body: object) -> Reply:
        raise KeyError("oops")

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None:
        return None

    def ask_routine(self, account_id: int) -> None:
        return None


class Stuck(Broken):
    async def act(self, path: str, body: object) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError


class Unit:
    def __init__(self, edges: Broken) -> None:
        self.events: list[AnyEvent] = []
        self.errors: list[str] = []
        self.enforcer = Enforcer(
            edges,
            edges,
            LoopClock(),
            self.events.append,
            lambda account_id: None,
            run_id="test",
            on_error=lambda name, error: self.errors.append(f"{name}: {error}"),
        )

    def settled(self) -> list[tuple[str, Outcome, bool]]:
        found = [e for e in self.events if isinstance(e, ActionSettled)]
        return [(e.action_id, e.outcome, e.verified) for e in found]


@in_virtual_time
async def test_a_fault_of_our_own_is_visible_and_the_action_settled() -> None:
    unit = Unit(Broken())
    async with unit.enforcer:
        unit.enforcer.submit(closing())
        assert await unit.enforcer.drain()
    assert unit.settled() == [("101-x1", Outcome.UNKNOWN, False)]
    assert unit.errors == ["action 101-x1: 'oops'"]
    assert unit.enforcer.under_way == 0


@in_virtual_time
async def test_draining_waits_so_long_and_closing_settles_the_rest() -> None:
    unit = Unit(Stuck())
    async with unit.enforcer:
        unit.enforcer.submit(closing(1, MNQ))
        unit.enforcer.submit(closing(2, ES))
        assert not await unit.enforcer.drain(8.0)
        assert asyncio.get_running_loop().time() == pytest.approx(8)
        assert unit.settled() == []
    assert sorted(unit.settled()) == [
        ("101-x1", Outcome.UNKNOWN, False),
        ("101-x2", Outcome.UNKNOWN, False),
    ]
    unit.enforcer.submit(closing(3))
    assert unit.settled()[-1] == ("101-x3", Outcome.UNSENT, False)
    assert unit.errors == []


class StuckBefore(Stuck):
    """Lanes and a reconciler that never answers: a reduction waits for it before it is sent."""

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None:
        await asyncio.Event().wait()
        raise AssertionError


@in_virtual_time
async def test_what_had_not_been_sent_when_the_program_stops_is_settled_as_unsent() -> None:
    unit = Unit(StuckBefore())
    async with unit.enforcer:
        unit.enforcer.submit(closing(1, MNQ))
        unit.enforcer.submit(replace(closing(2, MNQ), follows="101-x1"))
        unit.enforcer.submit(replace(reducing(1), id="101-x3", contract_id=ES))
        assert not await unit.enforcer.drain(8.0)
    assert sorted(unit.settled()) == [
        ("101-x1", Outcome.UNKNOWN, False),  # it is on its way: nobody knows
        ("101-x2", Outcome.UNSENT, False),
        ("101-x3", Outcome.UNSENT, False),
    ]


class BrokenBefore(Broken):
    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None:
        raise KeyError("oops")


@in_virtual_time
async def test_a_fault_of_our_own_before_anything_was_sent_is_settled_as_unsent() -> None:
    unit = Unit(BrokenBefore())
    async with unit.enforcer:
        unit.enforcer.submit(reducing(1))
        assert await unit.enforcer.drain()
    assert unit.settled() == [("101-x1", Outcome.UNSENT, False)]
    assert unit.errors == ["action 101-x1: 'oops'"]


class BrokenAfter(BrokenBefore):
    async def act(self, path: str, body: object) -> Reply:
        return Reply(answer=Answer.OK)


@in_virtual_time
async def test_a_fault_of_our_own_after_the_call_was_sent_leaves_its_fate_open() -> None:
    unit = Unit(BrokenAfter())
    async with unit.enforcer:
        unit.enforcer.submit(closing())
        assert await unit.enforcer.drain()
    assert unit.settled() == [("101-x1", Outcome.UNKNOWN, False)]


@in_virtual_time
async def test_a_second_action_on_the_same_position_is_turned_down_and_told() -> None:
    unit = Unit(Stuck())
    async with unit.enforcer:
        unit.enforcer.submit(closing(1))
        unit.enforcer.submit(closing(2))
        assert unit.settled() == [("101-x2", Outcome.REFUSED, False)]
        assert len(unit.errors) == 1
        assert unit.enforcer.under_way == 1
