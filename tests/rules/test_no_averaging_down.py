"""Nothing is added to a losing trade; entries in parts, reversals and exits are left alone."""

from decimal import Decimal

import pytest
from desk import Desk, DeskMaker

from risk_manager.domain.rule import MeterState

RULE = "no_averaging_down"


async def bought(
    d: Desk, lots: int, price: float, net: int, average: float, *, order: int | None = None
) -> None:
    """A fill that opens or adds, and the position after it."""
    await d.fill("MNQ", lots, price=price, order_id=order)
    await d.position("MNQ", net, average)


async def test_a_lot_added_at_a_loss_is_taken_back(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)
    assert d.actions == ["reduce MNQ to 2"]
    assert d.reasons == ["MNQZ6 was added to while the trade was down $40.00; reduced to 2"]


async def test_the_position_may_be_closed_instead(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={"action": "close_position"})
    await bought(d, 2, 21000, 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)
    assert d.actions == ["close MNQ"]


@pytest.mark.parametrize("price", [21000, 21000.25, 21050])
async def test_a_lot_added_at_no_loss_stays(desk: DeskMaker, price: float) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await bought(d, 1, price, 3, 21000 + (price - 21000) / 3)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_a_short_that_is_added_to_higher_up_is_one_too(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, -1, 21000, -1, 21000)
    await bought(d, -1, 20990, -2, 20995)
    assert d.actions == []
    await bought(d, -2, 21000, -4, 20997.5)
    assert d.actions == ["reduce MNQ to 2"]


async def test_an_entry_of_five_in_five_fills_is_one_entry(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    for lots, price in enumerate((21000, 20999, 20998, 20997, 20996), start=1):
        await bought(d, 1, price, lots, 21000 - (lots - 1) / 2, order=7)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_an_addition_that_fills_in_parts_is_reduced_to_the_same_size(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    working = await d.order("MNQ", 3, price=20990)
    await d.order("MNQ", 3, price=20990, order_id=working, filled=1)
    await bought(d, 1, 20990, 3, 20996.67, order=working)
    assert d.actions == ["reduce MNQ to 2", f"cancel {working}"]
    await d.order("MNQ", 3, price=20990, order_id=working, filled=2)
    await bought(d, 1, 20995, 4, 20995, order=working)
    assert d.actions == ["reduce MNQ to 2", f"cancel {working}"]


async def test_an_addition_begun_in_profit_may_go_on_at_a_loss(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 1, 21000, 1, 21000)
    await bought(d, 1, 21010, 2, 21005, order=7)
    await bought(d, 1, 20990, 3, 21000, order=7)
    assert d.actions == []


async def test_a_reversal_begins_a_new_trade(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await d.fill("MNQ", -2, price=20990, pnl=-40, order_id=7)
    await d.fill("MNQ", -2, price=20990, order_id=7)
    await d.position("MNQ", -2, 20990)
    await d.wait(minutes=1)
    assert d.actions == []
    await bought(d, -1, 20980, -3, 20986.67)
    assert d.actions == []
    await bought(d, -1, 21000, -4, 20990)
    assert d.actions == ["reduce MNQ to 3"]


async def test_a_reversal_in_one_execution_is_one_too(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await d.fill("MNQ", -5, price=20990, pnl=-40, order_id=7)
    await d.position("MNQ", -3, 20990)
    await d.fill("MNQ", -1, price=20991, order_id=7)
    await d.position("MNQ", -4, 20990.25)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_scaling_out_is_left_alone_and_what_was_lost_by_it_counts(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 3, 21000, 3, 21000)
    await d.fill("MNQ", -1, price=20980, pnl=-40)
    await d.position("MNQ", 2, 21000)
    assert d.actions == []
    await bought(d, 1, 21005, 3, 21001.67)  # up 20, down 40 with what was closed
    assert d.actions == ["reduce MNQ to 2"]


async def test_what_was_won_by_scaling_out_counts_as_well(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 3, 21000, 3, 21000)
    await d.fill("MNQ", -1, price=21050, pnl=100)
    await d.position("MNQ", 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)  # down 40, up 60 with what was closed
    assert d.actions == []


async def test_a_tolerated_loss(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={"tolerance": 40})
    await bought(d, 2, 21000, 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)
    assert d.actions == []
    await bought(d, 1, 20980, 4, 20992.5)
    assert d.actions == ["reduce MNQ to 3"]


async def test_what_was_taken_back_does_not_count_for_the_next_look(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)
    await d.fill("MNQ", -1, price=20990, pnl="-13.33")
    await d.position("MNQ", 2, 20996.67)
    await d.settle(d.enforcer.actions[0])
    await d.wait(minutes=1)
    assert d.taken() == ["reduce MNQ to 2"]
    await bought(d, 1, 20990, 3, 20994.44)
    assert d.taken() == ["reduce MNQ to 2"]


async def test_an_execution_that_is_not_there_yet_is_awaited(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await d.position("MNQ", 3, 20996.67)
    await d.wait(seconds=5)
    assert d.actions == []
    await d.fill("MNQ", 1, price=20990)
    await d.wait(seconds=1)
    assert d.actions == ["reduce MNQ to 2"]


async def test_a_position_whose_fills_are_not_known_is_not_judged(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await d.position("MNQ", 2, 21000)
    await bought(d, 1, 20990, 3, 20996.67)
    await d.wait(minutes=1)
    assert d.actions == []
    assert d.meter(RULE).state is MeterState.UNKNOWN


async def test_a_restart_forgets_nothing(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await bought(d, 2, 21000, 2, 21000)
    await d.restart()
    await bought(d, 1, 20990, 3, 20996.67)
    await d.restart()
    assert d.taken()[-1] == "reduce MNQ to 2"


async def test_the_meter_says_whether_it_may_be_added_to(desk: DeskMaker) -> None:
    d = desk(no_averaging_down={})
    await d.wait(seconds=1)
    assert d.meter(RULE).sentence == "flat"
    await bought(d, 2, 21000, 2, 21000)
    assert d.meter(RULE).state is MeterState.UNKNOWN
    await d.quote("MNQ", 20990)
    meter = d.meter(RULE)
    assert (meter.current, meter.state) == (Decimal(40), MeterState.WARN)
    assert meter.sentence == "MNQZ6 is down $40.00: nothing may be added to it"
    await d.quote("MNQ", 21010)
    assert d.meter(RULE).state is MeterState.OK
