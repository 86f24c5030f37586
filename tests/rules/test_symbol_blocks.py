"""RULE-011, example by example (blocked RTY, BTC, GC*)."""

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

BLOCKED = {"blocked": ["rty", "BTC", "GC*"]}


async def test_011_1_an_order_in_a_blocked_product_is_cancelled(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    order = await d.order("CON.F.US.RTY.H25", 1, price=2200)
    assert d.actions == [f"cancel {order}"]
    assert d.locked_by() == {"symbol_blocks": "root:RTY"}


async def test_011_2_what_filled_first_is_closed(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("RTY", 1, 2200)
    await d.obey()
    assert d.actions == ["close RTY"]
    assert d.reasons == ["RTY is blocked; 1 RTYZ6 closed"]


async def test_011_3_a_name_is_matched_whole_and_through_the_contract(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"blocked": ["ES"]})
    await d.position("MES", 1, 6000)
    assert d.actions == []
    await d.position("CON.F.US.EP.Z26", 1, 6000)
    assert d.actions == ["close ES"]


async def test_011_4_every_expiry_is_closed_under_one_lock(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("RTY.H25", 1, 2200)
    await d.position("RTY.M25", 1, 2210)
    assert d.actions == ["close RTY.H25", "close RTY.M25"]
    assert len(d.locks_set) == 1


async def test_011_5_a_block_added_later_closes_or_only_stops_increases(desk: DeskMaker) -> None:
    d = desk()
    await d.position("ES", 2, 6000)
    await d.new_rules(rules_from(symbol_blocks={"blocked": ["ES"]}))
    assert d.actions == ["close ES"]

    kept = desk()
    await kept.position("ES", 2, 6000)
    await kept.new_rules(
        rules_from(symbol_blocks={"blocked": ["ES"], "existing_positions": "close_only"})
    )
    assert kept.actions == []
    await kept.position("ES", 3, 6000)
    assert kept.actions == ["reduce ES to 2"]


async def test_011_6_a_wildcard_reaches_only_where_it_is_written(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("MGC", 1, 2600)
    assert d.actions == []
    await d.position("GC", 1, 2600)
    assert d.actions == ["close GC"]


async def test_011_7_an_odd_contract_is_never_let_through_a_whitelist(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"allow_only": ["MNQ"]})
    await d.position("MNQ", 1)
    assert d.actions == []
    await d.position("CON.X", 1, 10)
    assert d.actions == ["close CON.X"]


async def test_a_block_taken_out_of_the_configuration_is_lifted(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("RTY", 1, 2200)
    await d.obey()
    await d.new_rules(rules_from(symbol_blocks={"blocked": ["BTC"]}))
    assert d.locked_by() == {}
    gone = desk(symbol_blocks=BLOCKED)
    await gone.position("RTY", 1, 2200)
    await gone.obey()
    await gone.new_rules([])
    assert gone.locked_by() == {}
    await gone.position("RTY", 1, 2200)
    assert gone.actions == ["close RTY"]


async def test_kept_orders_stay_and_what_they_fill_is_closed(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"blocked": ["RTY"], "working_orders": "keep"})
    order = await d.order("RTY", 2, price=2190)
    assert (d.actions, d.decisions) == ([], [])
    await d.position("RTY", 1, 2190)
    await d.wait(seconds=1)
    await d.obey()
    assert d.actions == ["close RTY"]
    assert d.reasons == ["RTY is blocked; 1 RTYZ6 closed"]
    assert order in d.account().orders
    await d.position("RTY", 1, 2190)
    await d.obey()
    assert d.actions == ["close RTY", "close RTY"]


async def test_a_block_that_now_keeps_orders_has_no_lock_left(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("RTY", 1, 2200)
    await d.obey()
    await d.new_rules(rules_from(symbol_blocks={"blocked": ["RTY"], "working_orders": "keep"}))
    assert d.locked_by() == {}


async def test_other_products_are_not_touched(desk: DeskMaker) -> None:
    d = desk(symbol_blocks=BLOCKED)
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.position("RTY", 1, 2200)
    await d.obey()
    assert d.account().net("CON.F.US.MNQ.Z26") == 2
    assert stop in d.account().orders


@pytest.mark.parametrize(
    "fields",
    [
        {"blocked": ["RTY", "rty"]},
        {"blocked": ["RTY"], "allow_only": ["ES"]},
        {"blocked": ["RTY"], "existing_positions": "close_only", "working_orders": "keep"},
    ],
)
def test_contradictions_are_refused(fields: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        rules_from(symbol_blocks=fields)
