"""Exits this program places: rounded, clamped, never through the market, tidied up."""

from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, contract_id, make_desk

from risk_manager.domain.decisions import Action, MoveStop, Outcome, PlaceExit, Protect
from risk_manager.domain.exit_orders import stop_ticks, target_ticks
from risk_manager.domain.records import OrderStatus
from risk_manager.engine.exit_placement import merged, protect

MNQ = contract_id("MNQ")


def wanted(d: Desk, ask: Protect) -> list[Action]:
    state = d.pipeline.state
    account = state.accounts[101]
    return list(protect(state, account, account.positions[MNQ], ask))


def stop(price: str, **more: Any) -> Protect:
    return Protect(MNQ, stop_price=Decimal(price), **more)


@pytest.mark.parametrize(
    ("price", "side", "stop_at", "target_at"),
    [
        ("21000.125", 1, "21000.25", "21000.00"),
        ("21000.125", -1, "21000.00", "21000.25"),
        ("21000.25", 1, "21000.25", "21000.25"),
        ("21000.25", -1, "21000.25", "21000.25"),
    ],
)
def test_prices_are_rounded_towards_safety(
    price: str, side: int, stop_at: str, target_at: str
) -> None:
    tick = Decimal("0.25")
    assert stop_ticks(Decimal(price), side, tick) * tick == Decimal(stop_at)
    assert target_ticks(Decimal(price), side, tick) * tick == Decimal(target_at)


async def test_the_sum_of_all_stops_never_exceeds_the_position() -> None:
    d = make_desk()
    await d.position("MNQ", 3)
    await d.stop("MNQ", -2, 20990)
    (placed,) = wanted(d, stop("20995"))
    assert isinstance(placed, PlaceExit)
    assert placed.size == 1
    await d.stop("MNQ", -1, 20990)
    assert wanted(d, stop("20995")) == []


async def test_a_stop_being_cancelled_still_counts_and_a_suspended_one_does_not() -> None:
    d = make_desk()
    await d.position("MNQ", 1)
    leaving = await d.stop("MNQ", -1, status=OrderStatus.PENDING_CANCELLATION)
    assert wanted(d, stop("20995")) == []
    await d.stop("MNQ", -1, order_id=leaving, status=OrderStatus.CANCELLED)
    await d.stop("MNQ", -1, status=OrderStatus.SUSPENDED)
    assert len(wanted(d, stop("20995"))) == 1


async def test_a_stop_is_never_moved_away_from_the_market() -> None:
    d = make_desk()
    await d.position("MNQ", 2)
    order = await d.stop("MNQ", -1, 20995)
    (moved,) = wanted(d, stop("20990", stop_order_id=order))
    assert isinstance(moved, MoveStop)
    assert (moved.stop_price, moved.size) == (Decimal("20995"), 2)


async def test_a_stop_is_never_sent_through_the_market() -> None:
    d = make_desk()
    await d.position("MNQ", 1)
    await d.quote("MNQ", bid=21000, ask=21000.25)
    assert wanted(d, stop("21000")) == []
    assert len(wanted(d, stop("20999.75"))) == 1
    await d.position("MNQ", -1)
    assert wanted(d, stop("21000.25")) == []
    assert len(wanted(d, stop("21000.50"))) == 1


async def test_a_stop_that_has_ended_meanwhile_is_not_replaced_blindly() -> None:
    d = make_desk()
    await d.position("MNQ", 1)
    assert wanted(d, stop("20995", stop_order_id=4711)) == []


def test_of_two_wishes_the_first_decides() -> None:
    target = Protect(MNQ, limit_price=Decimal(21010))
    assert merged(None, target) is target
    both = merged(target, stop("20995", size=1))
    assert (both.stop_price, both.limit_price, both.size) == (Decimal("20995"), Decimal(21010), 1)
    assert merged(stop("20995"), stop("20990")).stop_price == Decimal("20995")


async def test_our_orphaned_exit_is_cancelled_and_the_traders_is_not() -> None:
    d = make_desk()
    await d.position("MNQ", 1)
    ours = await d.stop("MNQ", -1, tag="rm-1-101-1")
    await d.stop("MNQ", -1)
    await d.position("MNQ", 0)
    assert d.actions == [f"cancel {ours}"]


async def test_of_two_exits_of_ours_too_many_the_newer_goes() -> None:
    d = make_desk()
    await d.position("MNQ", 1)
    await d.stop("MNQ", -1, tag="rm-1")
    newer = await d.stop("MNQ", -1, tag="rm-2")
    await d.wait(seconds=1)
    await d.obey()
    assert d.actions == [f"cancel {newer}"]


async def test_the_exits_of_a_position_we_cut_back_are_cut_back_with_it() -> None:
    d = make_desk(max_contracts={"limit": 5})
    await d.position("MNQ", 6)
    stop = await d.stop("MNQ", -6)
    target = await d.order("MNQ", -6, price=21100)
    assert d.taken() == ["reduce MNQ to 5"]
    await d.obey()
    await d.wait(seconds=1)
    assert d.taken() == [f"cancel {target}", f"move {stop} to 20990.00 for 5"]
    await d.obey()
    await d.wait(minutes=1)
    assert d.taken() == []


async def test_a_stop_the_trader_made_too_big_is_his_own_affair() -> None:
    d = make_desk(max_contracts={"limit": 5})
    await d.position("MNQ", 4)
    stop = await d.stop("MNQ", -5)
    await d.wait(seconds=2)
    await d.position("MNQ", 6)
    assert d.taken() == ["reduce MNQ to 5"]
    await d.position("MNQ", 0)
    await d.position("MNQ", 3)
    await d.wait(seconds=5)
    assert d.taken() == []
    assert stop in d.account().orders


async def test_cutting_back_never_takes_a_stop_for_an_entry() -> None:
    d = make_desk(max_contracts_per_instrument={"limits": {"MNQ": 2}})
    stop = await d.stop("MNQ", -6)
    await d.position("MNQ", 5)
    await d.obey()
    await d.wait(seconds=1)
    assert d.actions == ["reduce MNQ to 2", f"move {stop} to 20990.00 for 2"]


async def test_of_our_stop_and_the_traders_the_traders_stays_under_a_lock() -> None:
    d = make_desk()
    await d.position("MNQ", 2)
    ours = await d.stop("MNQ", -2, tag="rm-1-101-1")
    traders = await d.stop("MNQ", -4, 20980.0)
    await d.wait(seconds=1)
    await d.admin("lock", policy="no_entries")
    await d.obey()
    await d.wait(seconds=5)
    await d.obey()
    assert d.actions == [f"cancel {ours}", f"move {traders} to 20980.0 for 2"]
    assert [(o.id, o.remaining) for o in d.account().orders.values()] == [(traders, 2)]


# --- an exit only for a position that is still there ----------------------------------------------

STOP = {"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}}


async def protected() -> Desk:
    desk = make_desk(trade_management=STOP)
    await desk.hub("user", "up")
    await desk.position("MNQ", 1, 21000)
    await desk.quote("MNQ", 21000)
    await desk.obey()
    assert desk.actions == ["place stop MNQ -1 at 20990.00"]
    await desk.wait(seconds=5)
    desk.rest = False
    return desk


async def test_a_stop_gone_from_the_list_is_not_placed_anew_before_the_position_is_read() -> None:
    desk = await protected()
    step = await desk.report(positions=None, orders=[])
    assert step.reads == (101,)
    await desk.wait(seconds=4)
    assert len(desk.actions) == 1
    await desk.report(positions={}, orders=[])
    await desk.wait(minutes=1)
    assert len(desk.actions) == 1  # it had been filled


async def test_a_stop_cancelled_by_hand_is_placed_anew_once_the_position_has_been_read() -> None:
    desk = await protected()
    [order] = desk.account().orders.values()
    await desk.wait(seconds=1)
    asked_at = desk.now
    await desk.wait(seconds=1)
    # Positions and orders are read one after the other: it may have been filled between the two.
    await desk.report(positions={"MNQ": 1}, orders=[], asked_at=asked_at)
    await desk.wait(seconds=4)
    assert order.id not in desk.account().orders
    assert len(desk.actions) == 1
    await desk.report(positions={"MNQ": 1}, orders=[])
    assert desk.actions[1:] == ["place stop MNQ -1 at 20990.00"]


async def test_while_the_stream_is_down_a_stop_is_placed_only_for_what_was_read_lately() -> None:
    breakeven = {"enabled": True, "breakeven": {"trigger_ticks": 10, "offset_ticks": 1}}
    desk = make_desk(trade_management=breakeven)
    desk.rest = False
    await desk.hub("user", "up")
    await desk.position("MNQ", 1, 21000)
    await desk.hub("user", "down")
    await desk.wait(seconds=4)
    step = await desk.quote("MNQ", 21002.50)
    assert (desk.actions, step.reads) == ([], (101,))
    await desk.report(positions={"MNQ": 1})
    assert desk.actions == ["place stop MNQ -1 at 21000.25"]


async def test_no_stop_is_placed_while_another_may_have_been_made_larger() -> None:
    """Moving the one stop to two lots is never answered and nothing can be read: the stop may cover
    the position by now, and a second one beside it could open a position."""
    d = make_desk(
        trade_management={
            "enabled": True,
            "breakeven": {"enabled": False},
            "trailing": {"activation_ticks": 20, "distance_ticks": 10, "step_ticks": 1},
        },
        no_stop_loss_grace={
            "action": "place_stop", "place_stop_ticks": 40, "grace": "5s", "rearm_grace": "5s",
        },
    )  # fmt: skip
    await d.position("MNQ", 1)
    await d.wait(seconds=6)
    await d.obey()
    await d.quote("MNQ", 21010)
    await d.wait(seconds=3)
    await d.obey()
    d.rest = False
    await d.position("MNQ", 2)
    asked = 0
    for _ in range(40):
        await d.wait(seconds=0.5)
        await d.quote("MNQ", 21010)
        for action in list(d.enforcer.actions):
            attempt = d.account().attempts.get(action.key)
            if attempt is not None and attempt.in_flight and attempt.action.id == action.id:
                asked += isinstance(action, MoveStop)
                await d.settle(action, Outcome.UNKNOWN, verified=False)
    placed = [a for a in d.enforcer.actions if isinstance(a, PlaceExit)]
    assert asked > 2, "the stop is moved to the size of the position again and again"
    assert len(placed) == 1, "the first stop, and none beside it"
    d.rest = True
    await d.wait(seconds=10)
    await d.obey()
    assert sum(o.remaining for o in d.account().orders.values()) == 2
