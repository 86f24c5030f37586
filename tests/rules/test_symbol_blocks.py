"""RULE-011, example by example (blocked RTY, BTC, GC*)."""

from typing import Any

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
    assert d.reasons == ["RTY is blocked; closing 1 RTYZ6"]


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
    assert d.reasons == ["RTY is blocked; closing 1 RTYZ6"]
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


async def test_allowing_one_contract_blocks_its_other_expiries_by_themselves(
    desk: DeskMaker,
) -> None:
    d = desk(symbol_blocks={"allow_only": ["CON.F.US.EP.Z26"]})
    await d.position("ES.Z26", 1, 5800)
    order = await d.order("ES.H27", 1, price=5700)
    assert d.taken() == [f"cancel {order}"]
    assert d.locked_by() == {"symbol_blocks": "contract:CON.F.US.EP.H27"}
    await d.obey()
    await d.position("ES.Z26", 2, 5800)
    await d.wait(seconds=5)
    assert d.taken() == []
    await d.position("ES.H27", 1, 5800)
    assert d.taken() == ["close ES.H27"]


async def test_a_product_of_which_no_contract_is_allowed_is_blocked_whole(
    desk: DeskMaker,
) -> None:
    d = desk(symbol_blocks={"allow_only": ["CON.F.US.EP.Z26"]})
    await d.position("RTY.H27", 1, 2200)
    await d.position("RTY.Z26", 1, 2200)
    assert d.locked_by() == {"symbol_blocks": "root:RTY"}


async def test_a_wildcard_over_contract_ids_parts_the_expiries_of_every_product(
    desk: DeskMaker,
) -> None:
    d = desk(symbol_blocks={"allow_only": ["CON.F.US.*.Z26"]})
    await d.position("RTY.Z26", 1, 2200)
    await d.position("RTY.H27", 1, 2200)
    assert d.actions == ["close RTY.H27"]
    assert d.locked_by() == {"symbol_blocks": "contract:CON.F.US.RTY.H27"}


async def test_blocking_one_contract_leaves_its_other_expiries_alone(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"blocked": ["CON.F.US.EP.Z26"]})
    await d.position("ES.H27", 1, 5800)
    order = await d.order("ES.Z26", 1, price=5700)
    assert d.actions == [f"cancel {order}"]
    assert d.locked_by() == {"symbol_blocks": "contract:CON.F.US.EP.Z26"}
    assert d.reasons == ["ESZ6 is blocked; cancelling orders"]


@pytest.mark.parametrize(
    ("before", "after", "locked"),
    [
        ({"blocked": ["CON.F.US.EP.Z26"]}, {"blocked": ["RTY"]}, {}),
        (
            {"blocked": ["CON.F.US.EP.Z26"]},
            {"blocked": ["CON.F.US.EP.Z26", "RTY"]},
            {"symbol_blocks": "contract:CON.F.US.EP.Z26"},
        ),
        ({"blocked": ["ES"]}, {"blocked": ["CON.F.US.EP.H27"]}, {}),
        ({"allow_only": ["RTY"]}, {"allow_only": ["RTY", "CON.F.US.EP.Z26"]}, {}),
        ({"allow_only": ["CON.F.US.EP.H27"]}, {"allow_only": ["ES"]}, {}),
    ],
)
async def test_a_lock_ends_when_what_it_covers_is_no_longer_blocked(
    desk: DeskMaker, before: dict[str, Any], after: dict[str, Any], locked: dict[str, str]
) -> None:
    d = desk(symbol_blocks=before)
    await d.position("ES.Z26", 1, 5800)
    await d.obey()
    assert "symbol_blocks" in d.locked_by()
    await d.new_rules(rules_from(symbol_blocks=after))
    assert d.locked_by() == locked


async def test_a_block_that_grows_to_the_whole_product_is_one_lock(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"blocked": ["CON.F.US.EP.Z26"], "existing_positions": "close_only"})
    await d.position("ES.Z26", 1, 5800)
    await d.new_rules(rules_from(symbol_blocks={"blocked": ["ES"]}))
    assert d.locked_by() == {"symbol_blocks": "root:ES"}
    assert len(d.account().locks) == 1


async def test_with_kept_orders_only_the_blocked_contract_is_closed(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"blocked": ["CON.F.US.EP.Z26"], "working_orders": "keep"})
    await d.position("ES.H27", 1, 5800)
    await d.position("ES.Z26", 1, 5800)
    assert d.actions == ["close ES"]
    assert d.reasons == ["ESZ6 is blocked; closing 1 ESZ6"]


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
