"""A stop that is widened or removed at a loss is put back, once, and never made worse."""

from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import MoveStop, Outcome, PlaceExit
from risk_manager.domain.records import OrderRecord, OrderStatus, OrderType
from risk_manager.domain.rule import MeterState

RULE = "stop_guard"


async def losing(d: Desk, lots: int = 2, *stops: float, price: float = 20980) -> list[int]:
    """A position from 21000 that loses, with a stop for each price given (for all lots if one)."""
    await d.position("MNQ", lots, 21000)
    each = -lots if len(stops) == 1 else -1 if lots > 0 else 1
    found = [await d.stop("MNQ", each, stop) for stop in stops]
    await d.quote("MNQ", price)
    return found


async def waits(d: Desk, seconds: int, price: float) -> None:
    """Time passes, with a quote each second."""
    for _ in range(seconds):
        await d.wait(seconds=1)
        await d.quote("MNQ", price)


async def gone(d: Desk, order_id: int, lots: int, price: float, **more: Any) -> None:
    await d.stop("MNQ", lots, price, order_id=order_id, status=OrderStatus.CANCELLED, **more)


@pytest.mark.parametrize(("net", "was", "now"), [(2, 20940, 20900), (-2, 21060, 21100)])
async def test_a_stop_widened_at_a_loss_is_put_back(
    desk: DeskMaker, net: int, was: float, now: float
) -> None:
    d = desk(stop_guard={"grace": "5s"})
    price = 21000 - net * 10
    (stop,) = await losing(d, net, was, price=price)
    await d.stop("MNQ", -net, now, order_id=stop)
    await waits(d, 4, price)
    assert d.actions == []
    await waits(d, 1, price)
    assert d.actions == [f"move {stop} to {was}.00 for 2"]
    await d.obey()
    await waits(d, 60, price)
    assert len(d.actions) == 1
    assert d.reasons == [
        f"MNQZ6 loses $80.00 and its stop was moved away; put back at {was}.00 for 2"
    ]


async def test_a_stop_removed_at_a_loss_is_placed_again(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    await waits(d, 5, 20980)
    assert d.actions == ["place stop MNQ -2 at 20940.00"]
    assert d.reasons == ["MNQZ6 loses $80.00 and its stop was removed; put back at 20940.00 for 2"]
    await d.obey()
    await waits(d, 60, 20980)
    assert len(d.actions) == 1


async def test_who_puts_it_back_himself_in_time_is_left_alone(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    await waits(d, 3, 20980)
    await d.stop("MNQ", -2, 20940)
    await waits(d, 60, 20980)
    assert d.actions == []
    assert d.decisions == []


async def test_a_wider_stop_placed_anew_is_moved_back_and_none_is_added(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    await waits(d, 2, 20980)
    new = await d.stop("MNQ", -2, 20900)
    await waits(d, 3, 20980)
    assert d.actions == [f"move {new} to 20940.00 for 2"]


async def test_moving_it_again_and_again_does_not_restart_the_grace(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    for away in range(5):
        await d.stop("MNQ", -2, 20930 - away, order_id=stop)
        await waits(d, 1, 20980)
    assert d.actions == [f"move {stop} to 20940.00 for 2"]


async def test_a_stop_moved_toward_profit_is_the_one_that_is_guarded(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20960, order_id=stop)
    await waits(d, 10, 20980)
    assert d.actions == []
    await d.stop("MNQ", -2, 20950, order_id=stop)
    await waits(d, 5, 20980)
    assert d.actions == [f"move {stop} to 20960.00 for 2"]


@pytest.mark.parametrize("price", [21000, 21010])
async def test_in_profit_or_at_the_entry_stops_may_be_moved(desk: DeskMaker, price: float) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940, price=price)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 10, price)
    await waits(d, 10, 20980)
    assert d.actions == []
    await d.stop("MNQ", -2, 20890, order_id=stop)
    await waits(d, 5, 20980)
    assert d.actions == [f"move {stop} to 20900.00 for 2"]


async def test_what_was_widened_at_a_loss_waits_while_the_position_is_up(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 20, 21010)
    assert d.actions == []
    assert "once the position is known to lose" in d.meter(RULE).sentence
    await waits(d, 1, 20980)
    await waits(d, 1, 20980)
    assert d.actions == [f"move {stop} to 20940.00 for 2"]


async def test_without_a_price_it_is_a_doubt_and_the_next_price_decides(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await d.wait(minutes=2)
    assert d.actions == []
    assert d.meter(RULE).state is MeterState.UNKNOWN
    await waits(d, 7, 20980)
    assert d.actions == [f"move {stop} to 20940.00 for 2"]


async def test_a_doubt_that_a_price_in_profit_ends(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 2, 21010)
    await waits(d, 20, 20980)
    assert d.actions == []


async def test_a_price_that_is_lost_during_the_grace_holds_the_hand(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "20s"})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await d.wait(seconds=60)
    assert d.actions == []
    await waits(d, 2, 20980)
    assert d.actions == [f"move {stop} to 20940.00 for 2"]


async def test_a_stop_that_the_price_has_passed_closes_the_position(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940, price=20950)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 5, 20935)
    assert d.actions[0] == "close MNQ"
    assert "cannot be put back at 20940.00, as the price has passed it; closing" in d.reasons[0]


async def test_or_it_is_only_told(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s", "if_impossible": "alert"})
    (stop,) = await losing(d, 2, 20940, price=20950)
    await gone(d, stop, -2, 20940)
    await waits(d, 30, 20935)
    assert d.actions == []
    assert "the price has passed it" in d.reasons[0]


async def test_closing_may_be_the_answer_to_every_widening(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s", "action": "close_position"})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20939.75, order_id=stop)
    await waits(d, 5, 20980)
    assert d.actions[0] == "close MNQ"


@pytest.mark.parametrize("removed", [True, False])
async def test_a_platform_that_refuses_the_stop_makes_it_close(
    desk: DeskMaker, removed: bool
) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    if removed:
        await gone(d, stop, -2, 20940)
    else:
        await d.stop("MNQ", -2, 20900, order_id=stop)
    refused = 0
    for _ in range(120):
        await waits(d, 1, 20980)
        for action in d.enforcer.actions[refused:]:
            if isinstance(action, PlaceExit | MoveStop):
                refused += 1
                await d.settle(action, Outcome.REFUSED, code=2)
    assert refused == 3
    assert d.actions[3] == "close MNQ"
    assert "the platform has refused it" in d.reasons[-1]


# --- stops in several orders ----------------------------------------------------------------------


async def test_of_two_brackets_the_widened_one_is_put_back(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    first, second = await losing(d, 2, 20960, 20940)
    await d.stop("MNQ", -1, 20970, order_id=first)
    await d.stop("MNQ", -1, 20930, order_id=second)
    await waits(d, 5, 20980)
    assert d.actions == [f"move {second} to 20940.00 for 1"]


async def test_of_two_brackets_both_are_put_back_one_after_the_other(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    first, second = await losing(d, 2, 20960, 20940)
    await d.stop("MNQ", -1, 20900, order_id=second)
    await gone(d, first, -1, 20960)
    await waits(d, 5, 20980)
    assert d.actions == [f"move {second} to 20960.00 for 1"]
    await d.obey()
    await waits(d, 5, 20980)
    assert d.actions[1:] == ["place stop MNQ -1 at 20940.00"]
    await d.obey()
    await waits(d, 60, 20980)
    assert len(d.actions) == 2


async def test_two_stops_removed_are_placed_one_after_the_other(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    first, second = await losing(d, 2, 20960, 20940)
    await gone(d, first, -1, 20960)
    await gone(d, second, -1, 20940)
    for _ in range(30):
        await waits(d, 1, 20980)
        await d.obey()
    assert d.actions == ["place stop MNQ -1 at 20960.00", "place stop MNQ -1 at 20940.00"]


async def test_a_target_that_fills_takes_its_stop_with_it(desk: DeskMaker) -> None:
    """One cancels the other: the stop of the lot that left is not missed."""
    d = desk(stop_guard={"grace": "1s"})
    first, _second = await losing(d, 2, 20960, 20940)
    await gone(d, first, -1, 20960)
    await d.fill("MNQ", -1, pnl=-10)
    await d.position("MNQ", 1, 21000)
    await waits(d, 30, 20980)
    assert d.actions == []


@pytest.mark.parametrize("position_first", [True, False])
async def test_a_stop_that_fills_in_parts_is_not_missed(
    desk: DeskMaker, position_first: bool
) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 3, 20940)
    for filled in (1, 2):
        if position_first:
            await d.position("MNQ", 3 - filled, 21000)
        await d.stop("MNQ", -3, 20940, order_id=stop, filled=filled)
        if not position_first:
            await d.position("MNQ", 3 - filled, 21000)
        await waits(d, 5, 20941)
    assert d.actions == []


async def test_a_stop_that_has_filled_closes_nothing_more(desk: DeskMaker) -> None:
    """The position's own word is lost; the account is read before anything is done."""
    d = desk(stop_guard={"grace": "1s"}, desk_rest=False)
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20940, order_id=stop, status=OrderStatus.FILLED, filled=2)
    await waits(d, 2, 20980)
    await d.report(positions={}, orders=[])
    await waits(d, 30, 20980)
    assert d.actions == []


async def test_one_stop_for_lots_that_had_two_risks_no_more_than_they_did(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    first, second = await losing(d, 2, 20960, 20940)
    await gone(d, first, -1, 20960)
    await gone(d, second, -1, 20940)
    new = await d.stop("MNQ", -2, 20900)
    await waits(d, 5, 20980)
    assert d.actions == [f"move {new} to 20950.00 for 2"]
    await d.obey()
    await waits(d, 60, 20980)
    assert len(d.actions) == 1


async def test_a_far_stop_beyond_the_position_is_no_way_round_it(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    first, second = await losing(d, 2, 20960, 20940)
    decoy = await d.stop("MNQ", -1, 20800)
    await d.stop("MNQ", -1, 20900, order_id=first)
    await waits(d, 5, 20980)
    assert d.actions == [f"cancel {decoy}"]
    for _ in range(10):
        await d.obey()
        await waits(d, 1, 20980)
    assert d.actions[1:] == [f"move {first} to 20960.00 for 1"]
    assert d.account().orders.keys() == {first, second}


async def test_a_far_stop_that_is_too_large_is_cut_and_moved(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    far = await d.stop("MNQ", -3, 20800)
    await d.stop("MNQ", -1, 20940, order_id=stop)
    for _ in range(10):
        await waits(d, 1, 20980)
        await d.obey()
    assert d.actions == [f"move {far} to 20940.00 for 1"]


async def test_lots_added_without_a_stop_are_left_to_the_rule_of_stops(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    await losing(d, 2, 20940)
    await d.position("MNQ", 3, 20990)
    await waits(d, 30, 20980)
    assert d.actions == []


async def test_a_stop_cut_to_fewer_lots_is_filled_up_to_what_it_was(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 3, 20940)
    await d.stop("MNQ", -1, 20940, order_id=stop)
    await waits(d, 5, 20980)
    assert d.actions == ["place stop MNQ -2 at 20940.00"]


async def test_scaling_out_with_its_stop_is_left_alone(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 3, 20940)
    await d.stop("MNQ", -2, 20940, order_id=stop)
    await d.position("MNQ", 2, 21000)
    await waits(d, 30, 20980)
    assert d.actions == []


async def test_a_trailing_stop_counts_wherever_it_is(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 2, 20940)
    trail = await d.order("MNQ", -2, kind=OrderType.TRAILING_STOP, price=20930)
    await gone(d, stop, -2, 20940)
    await waits(d, 30, 20980)
    assert d.actions == []
    await d.order(
        "MNQ",
        -2,
        kind=OrderType.TRAILING_STOP,
        price=20930,
        order_id=trail,
        status=OrderStatus.CANCELLED,
    )
    await waits(d, 5, 20980)
    assert d.actions == ["place stop MNQ -2 at 20940.00"]


# --- words that are taken back --------------------------------------------------------------------


async def test_an_order_told_cancelled_and_then_open_again_is_not_doubled(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 2, 20940)
    d.listed = [_listed(d, stop)]
    await gone(d, stop, -2, 20940)
    await waits(d, 30, 20980)
    assert d.actions == []
    assert d.account().orders.keys() == {stop}


async def test_no_stop_is_placed_while_no_list_says_that_the_old_one_is_gone(
    desk: DeskMaker,
) -> None:
    d = desk(stop_guard={"grace": "1s"}, desk_rest=False)
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    await waits(d, 120, 20980)
    assert d.actions == []
    await d.report(positions={"MNQ": 2}, orders=[])
    await waits(d, 1, 20980)
    assert d.actions == ["place stop MNQ -2 at 20940.00"]


async def test_a_restart_in_between_changes_nothing(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 2, 20980)
    await d.restart()
    await waits(d, 1, 20980)
    assert d.actions == []
    await waits(d, 3, 20980)
    assert d.actions == [f"move {stop} to 20940.00 for 2"]


async def test_what_happened_to_a_stop_while_nobody_watched_is_found(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    await losing(d, 2, 20940)
    d.listed = []
    await d.restart()
    await waits(d, 8, 20980)
    assert d.actions == ["place stop MNQ -2 at 20940.00"]


async def test_a_new_position_begins_with_the_stops_it_has(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    await d.position("MNQ", 0, 21000)
    await d.position("MNQ", 2, 21000, id=5001)
    await d.stop("MNQ", -2, 20900)
    await waits(d, 30, 20980)
    assert d.actions == []


async def test_the_stop_of_the_new_side_is_not_that_of_the_old(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "1s"})
    (stop,) = await losing(d, 2, 20940)
    await d.position("MNQ", -2, 20980)
    await gone(d, stop, -2, 20940)
    await waits(d, 30, 20990)
    assert d.actions == []


# --- with others ----------------------------------------------------------------------------------


async def test_it_comes_before_the_rule_that_wants_a_stop(desk: DeskMaker) -> None:
    d = desk(
        stop_guard={"grace": "5s"},
        no_stop_loss_grace={"rearm_grace": "5s", "action": "place_stop", "place_stop_ticks": 400},
    )
    (stop,) = await losing(d, 2, 20940)
    await gone(d, stop, -2, 20940)
    for _ in range(20):
        await waits(d, 1, 20980)
        await d.obey()
    assert d.actions == ["place stop MNQ -2 at 20940.00"]


async def test_a_stop_that_was_trailed_is_guarded_where_it_was_trailed_to(desk: DeskMaker) -> None:
    d = desk(
        stop_guard={"grace": "5s"},
        trade_management={"enabled": True, "breakeven": {"trigger_ticks": 20}, "trailing": {}},
    )
    (stop,) = await losing(d, 2, 20940, price=21012.5)
    for _ in range(5):
        await waits(d, 1, 21012.5)
        await d.obey()
    trailed = d.account().orders[stop].stop_price
    assert trailed is not None
    assert trailed > 21000
    d.taken()
    await waits(d, 1, 20999)
    await gone(d, stop, -2, float(trailed))
    await waits(d, 5, 20999)
    assert [a for a in d.taken() if not a.startswith("cancel")] == ["close MNQ"]


async def test_in_shadow_it_only_tells(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s", "shadow": True})
    (stop,) = await losing(d, 2, 20940)
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 20, 20980)
    assert d.actions == []
    assert len(d.decisions) == 1


async def test_the_meter_counts_down(desk: DeskMaker) -> None:
    d = desk(stop_guard={"grace": "5s"})
    (stop,) = await losing(d, 2, 20940)
    assert d.meter(RULE).sentence == "the stops of 2 contracts stand"
    await d.stop("MNQ", -2, 20900, order_id=stop)
    await waits(d, 2, 20980)
    meter = d.meter(RULE)
    assert meter.sentence == "MNQZ6: stop widened or removed; put back in 3 s"
    assert (meter.current, meter.limit, meter.state) == (Decimal(2), Decimal(5), MeterState.WARN)
    await waits(d, 3, 20980)
    assert d.meter(RULE).state is MeterState.BREACH


@pytest.mark.parametrize("grace", ["0s", "10m"])
def test_a_grace_must_be_one(grace: str) -> None:
    with pytest.raises(ValidationError, match="between 1s and 5m"):
        rules_from(stop_guard={"grace": grace})


def _listed(d: Desk, order_id: int) -> OrderRecord:
    order = d.account().orders[order_id]
    return OrderRecord(
        id=order.id,
        account_id=101,
        contract_id=order.contract_id,
        status=OrderStatus.OPEN,
        type=order.type,
        side=order.side,
        size=order.size,
        stop_price=order.stop_price,
        creation_timestamp=order.created_at,
        update_timestamp=order.updated_at,
    )
