"""After a losing trade nobody trades larger; parts, reversals and exits are left alone."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError

RULE = "size_after_loss"


async def lost(d: Desk, lots: int, symbol: str = "MNQ", *, pnl: float = -50) -> None:
    """A trade of so many lots, opened and closed."""
    await d.fill(symbol, lots, order_id=1)
    await d.position(symbol, lots)
    await d.fill(symbol, -lots, pnl=pnl, order_id=2)
    await d.position(symbol, 0)


async def entered(
    d: Desk, lots: int, symbol: str = "MNQ", *, net: int | None = None, order: int | None = None
) -> None:
    await d.fill(symbol, lots, order_id=order)
    await d.position(symbol, lots if net is None else net)


@pytest.mark.parametrize(
    ("lost_lots", "lots", "fields", "asked"),
    [
        (2, 2, {}, []),
        (2, 3, {}, ["reduce MNQ to 2"]),
        (2, -3, {}, ["reduce MNQ to 2"]),
        (4, 4, {"factor": "1.25", "trip": "reach"}, []),
        (4, 5, {"factor": "1.25", "trip": "reach"}, ["reduce MNQ to 4"]),
        (4, 5, {"factor": "1.25"}, []),
        (4, 6, {"factor": "1.25"}, ["reduce MNQ to 5"]),
        (4, 3, {"factor": "0.5"}, ["reduce MNQ to 2"]),
        (1, 1, {"factor": "0.5"}, []),
        (1, 2, {"factor": "0.5"}, ["reduce MNQ to 1"]),
        (1, 1, {"factor": "1.25", "trip": "reach"}, []),
        (1, 2, {"factor": "1.25", "trip": "reach"}, ["reduce MNQ to 1"]),
        (2, 3, {"action": "close_position"}, ["close MNQ"]),
    ],
)
async def test_an_entry_after_a_loss_is_capped_by_its_size(
    desk: DeskMaker, lost_lots: int, lots: int, fields: dict[str, Any], asked: list[str]
) -> None:
    d = desk(size_after_loss=fields)
    await lost(d, lost_lots)
    await d.wait(minutes=5)
    await entered(d, lots)
    await d.wait(seconds=1)
    assert d.actions == asked


async def test_it_says_why(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2)
    await entered(d, 3)
    assert d.reasons == ["3 MNQZ6 after a losing MNQZ6 trade of 2: 2 allowed; reduced to 2"]


@pytest.mark.parametrize(("minutes", "asked"), [(14, ["reduce MNQ to 2"]), (16, [])])
async def test_the_window_ends(desk: DeskMaker, minutes: int, asked: list[str]) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2)
    await d.wait(minutes=minutes)
    await entered(d, 3)
    assert d.actions == asked


async def test_a_winner_or_a_scratch_caps_nothing(desk: DeskMaker) -> None:
    d = desk(size_after_loss={"scratch_below": 5})
    await lost(d, 1, pnl=60)
    await lost(d, 1, pnl=0)
    await lost(d, 1, pnl=-5)
    await entered(d, 9)
    assert d.actions == []


async def test_fees_make_a_loss_where_they_count(desk: DeskMaker) -> None:
    for basis, asked in (("net", ["reduce MNQ to 1"]), ("gross", [])):
        d = desk(size_after_loss={"pnl_basis": basis})
        await d.fill("MNQ", 1, order_id=1, fees="0.37")
        await d.position("MNQ", 1)
        await d.fill("MNQ", -1, pnl=0, order_id=2, fees="0.37")
        await d.position("MNQ", 0)
        await entered(d, 2)
        assert d.actions == asked


async def test_an_entry_in_five_fills_is_one_entry(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 5)
    for lots in range(1, 6):
        await entered(d, 1, net=lots, order=7)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_what_goes_beyond_in_parts_is_reduced_and_the_rest_cancelled(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2)
    working = await d.order("MNQ", 5, price=20990)
    await entered(d, 2, net=2, order=working)
    assert d.actions == []
    await d.order("MNQ", 5, price=20990, order_id=working, filled=3)
    await entered(d, 1, net=3, order=working)
    assert d.actions == ["reduce MNQ to 2", f"cancel {working}"]


async def test_entries_that_add_up_are_capped_together(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2)
    await entered(d, 1, net=1)
    await entered(d, 1, net=2)
    assert d.actions == []
    await entered(d, 1, net=3)
    assert d.actions == ["reduce MNQ to 2"]


async def test_the_size_of_a_trade_is_the_most_it_held(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    for step, net in ((2, 2), (1, 3), (-2, 1), (1, 2), (-2, 0)):
        await d.fill("MNQ", step, pnl=None if step > 0 else -30)
        await d.position("MNQ", net)
    await entered(d, 3)
    assert d.actions == []
    await entered(d, 1, net=4)
    assert d.actions == ["reduce MNQ to 3"]


async def test_products_are_compared_in_micros(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2, "MNQ")
    await entered(d, 1, "ES")
    assert d.actions == ["close ES"]
    await d.position("ES", 0)
    await entered(d, 3, "MES")
    assert d.taken()[-1] == "reduce MES to 2"


async def test_a_mini_lost_allows_ten_micros(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 1, "ES")
    await entered(d, 10, "MES")
    assert d.actions == []
    await entered(d, 1, "MES", net=11)
    assert d.actions == ["reduce MES to 10"]


async def test_a_product_by_itself(desk: DeskMaker) -> None:
    d = desk(size_after_loss={"scope": "root"})
    await lost(d, 1, "MNQ")
    await entered(d, 5, "MES")
    assert d.actions == []
    await entered(d, 2, "MNQ")
    assert d.actions == ["reduce MNQ to 1"]


async def test_the_new_side_of_a_reversal_is_left_alone(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await entered(d, 2)
    await d.fill("MNQ", -2, pnl=-60, order_id=7)
    await d.fill("MNQ", -3, order_id=7)
    await d.position("MNQ", -3)
    await d.wait(minutes=1)
    assert d.actions == []
    await d.fill("MNQ", 8, pnl=-60, order_id=8)  # in one execution: long 5
    await d.position("MNQ", 5)
    await d.wait(minutes=1)
    assert d.actions == []
    await entered(d, 1, net=6)  # an entry like any other, after a losing trade of 3
    assert d.actions == ["reduce MNQ to 5"]


async def test_an_entry_that_began_before_the_loss_goes_on(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await entered(d, 1, "MES", net=1, order=70)
    await lost(d, 1, "MNQ")
    await d.wait(seconds=5)
    await entered(d, 4, "MES", net=5, order=70)
    await d.wait(minutes=1)
    assert d.actions == []
    await entered(d, 1, "MES", net=6)
    assert d.actions == ["reduce MES to 5"]


async def test_scaling_out_and_stops_that_fill_are_left_alone(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 3)
    await entered(d, 3)
    for left in (2, 1):
        await d.fill("MNQ", -1, pnl=-20, order_id=9)
        await d.position("MNQ", left)
    await d.wait(minutes=1)
    assert d.actions == []


@pytest.mark.parametrize(("counts", "asked"), [(False, []), (True, ["reduce MNQ to 2"])])
async def test_a_loss_that_this_program_cut_counts_only_if_so_configured(
    desk: DeskMaker, counts: bool, asked: list[str]
) -> None:
    fields = {"include_enforced": counts}
    d = desk(max_contracts={"limit": 1, "action": "close_all"}, size_after_loss=fields)
    await entered(d, 1, net=1)
    await entered(d, 1, net=2)
    assert d.taken() == ["close MNQ"]
    await d.fill("MNQ", -2, pnl=-50)
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[0])
    await d.wait(minutes=2)
    await d.new_rules(rules_from(size_after_loss=fields))
    await entered(d, 3)
    assert d.taken() == asked


async def test_a_restart_forgets_nothing(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await lost(d, 2)
    await d.restart()
    await entered(d, 3)
    assert d.actions == ["reduce MNQ to 2"]


async def test_the_meter_counts_down(desk: DeskMaker) -> None:
    d = desk(size_after_loss={})
    await d.wait(seconds=1)
    assert d.meter(RULE).sentence == "no losing trade lately: any size"
    await lost(d, 2)
    await d.wait(minutes=5)
    meter = d.meter(RULE)
    assert (meter.current, meter.limit) == (Decimal(0), Decimal(2))
    assert meter.sentence == "at most 2 MNQ for another 10m after a loss"
    await entered(d, 2)
    assert d.meter(RULE).headroom == 0


@pytest.mark.parametrize(
    "fields", [{"factor": 0}, {"factor": 1, "trip": "reach"}, {"window": timedelta(0)}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rules_from(size_after_loss=fields)
