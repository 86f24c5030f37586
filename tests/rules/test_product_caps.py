"""Product caps (EXTRA-021), example by example. The morning of the desk is 2026-11-20."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.rule import MeterState

GC = {"roots": ["GC"], "limit": 3}
METALS = {"roots": ["GC", "MGC"], "limit": 30, "count": "micro_equivalents"}
BLOCKED = {"roots": ["CL", "MCL"], "limit": 0}


async def test_021_1_the_cap_itself_is_fine_and_one_more_is_closed(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC]})
    await d.position("GC", 3, 4000)
    assert d.actions == []
    await d.position("GC", 4, 4000)
    assert d.actions == ["reduce GC to 3"]
    assert d.reasons == ["holding 4 contracts of GC, cap 3 without an end; closing 1 GCZ6"]


async def test_021_2_other_products_are_free(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC]})
    await d.position("MGC", 9, 4000)
    await d.position("ES", 9, 6000)
    assert d.actions == []


async def test_021_3_minis_and_micros_count_together_as_micros(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [METALS]})
    await d.position("GC", 2, 4000)
    await d.wait(seconds=1)
    await d.position("MGC", 10, 4000)
    assert d.actions == []  # 20 + 10
    await d.wait(seconds=1)
    await d.position("MGC", 11, 4000)
    assert d.actions == ["reduce MGC to 10"]


async def test_021_4_the_newest_goes_first_by_whole_contracts(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [METALS]})
    await d.position("MGC", 15, 4000)
    await d.wait(seconds=1)
    await d.position("GC", 2, 4000)  # 35: one mini less is 25
    assert d.actions == ["reduce GC to 1"]


async def test_021_5_a_cap_of_0_closes_and_cancels_entries_at_once(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [BLOCKED]})
    order = await d.order("CL", 1, price=60)
    assert d.actions == [f"cancel {order}"]
    await d.position("MCL", 2, 60)
    assert d.actions == [f"cancel {order}", "close MCL"]
    assert d.reasons == [
        "CL + MCL is blocked without an end; cancelling entry orders",
        "CL + MCL is blocked without an end; closing 2 MCLZ6",
    ]


async def test_021_6_a_stop_of_what_may_be_held_is_not_touched(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC]})
    await d.position("GC", 3, 4000)
    await d.stop("GC", -3, 3990)
    entry = await d.order("GC", 1, price=3995)
    assert d.actions == []
    await d.position("GC", 4, 4000)
    assert d.actions == ["reduce GC to 3", f"cancel {entry}"]


async def test_021_7_entries_stay_where_the_rule_is_told_so(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC], "cancel_entry_orders": False})
    await d.order("GC", 1, price=3995)
    await d.position("GC", 4, 4000)
    assert d.actions == ["reduce GC to 3"]


async def test_021_8_a_cap_begins_at_the_days_turn_and_what_is_held_is_reduced(
    desk: DeskMaker,
) -> None:
    # The trading date of Monday 23 November begins on Friday at 17:00 in New York, 22:00 UTC.
    d = desk(product_caps={"caps": [{**GC, "from": "2026-11-23"}]})
    await d.position("GC", 5, 4000)
    await d.wait_until(datetime(2026, 11, 20, 21, 59, 59, tzinfo=UTC))
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["reduce GC to 3"]


async def test_021_9_the_last_date_counts_and_then_it_is_over(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [{**GC, "until": "2026-11-20"}]})
    await d.position("GC", 4, 4000)
    assert d.actions == ["reduce GC to 3"]
    await d.obey()
    await d.wait_until(datetime(2026, 11, 20, 22, tzinfo=UTC))
    await d.position("GC", 9, 4000)
    assert d.actions == ["reduce GC to 3"]
    assert d.meter("product_caps").sentence == "no cap today"


async def test_021_10_of_two_caps_on_a_product_both_hold(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC, METALS]})
    await d.position("MGC", 20, 4000)
    await d.wait(seconds=1)
    await d.position("GC", 4, 4000)  # one above its own cap; with the micros 60, allowed 30
    assert d.actions == ["reduce GC to 1"]


async def test_021_11_two_expiries_are_one_product(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC]})
    await d.position("GC.G27", 2, 4000)
    await d.wait(seconds=1)
    await d.position("GC.Z26", -2, 4000)
    assert d.actions == ["reduce GC to 1"]


async def test_021_12_while_the_clocks_differ_the_later_one_begins_a_cap(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [{**GC, "from": "2026-11-23"}]})
    await d.wait_until(datetime(2026, 11, 20, 21, 0, tzinfo=UTC))
    d.lead = datetime(2026, 11, 20, 22, 0, tzinfo=UTC) - d.now
    await d.wait(seconds=1)
    await d.position("GC", 5, 4000)
    assert d.actions == ["reduce GC to 3"]


async def test_a_restart_forgets_nothing(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC]})
    await d.position("GC", 4, 4000)
    await d.restart()
    assert d.actions == ["reduce GC to 3", "reduce GC to 3"]


async def test_the_meter_shows_the_cap_that_is_used_most(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [GC, METALS, {"roots": "SI", "limit": 2, "from": "2027-01-04"}]})
    await d.position("GC", 2, 4000)
    await d.position("MGC", 9, 4000)
    meter = d.meter("product_caps")
    assert (meter.current, meter.limit) == (Decimal(29), Decimal(30))
    assert meter.state is MeterState.OK
    assert meter.sentence == "29 of 30 GC + MGC held, without an end"


async def test_the_meter_tells_of_a_cap_to_come(desk: DeskMaker) -> None:
    d = desk(product_caps={"caps": [{"roots": "SI", "limit": 2, "from": "2027-01-04"}]})
    await d.wait(seconds=1)
    assert d.meter("product_caps").sentence == "no cap today, the next from 2027-01-04"


@pytest.mark.parametrize(
    ("cap", "why"),
    [
        ({**GC, "from": "2026-11-23", "until": "2026-11-20"}, "is before from"),
        ({**GC, "limit": -1}, "greater than or equal to 0"),
        ({**GC, "roots": []}, "at least 1 item"),
        ({**GC, "roots": ["G*"]}, "is not a product"),
        ({**GC, "roots": ["GC", "gc"]}, "named twice"),
    ],
)
def test_a_cap_without_sense_is_refused(cap: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules_from(product_caps={"caps": [cap]})
