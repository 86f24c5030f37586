"""RULE-002, example by example."""

from decimal import Decimal

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.records import OrderStatus
from risk_manager.domain.symbols import Symbols

LIMITS = {"limits": {"MNQ": 2, "ES": 1, "MES": 3}}


async def test_002_1_what_exceeds_the_product_limit_is_closed(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument=LIMITS)
    await d.position("MNQ", 3)
    assert d.actions == ["reduce MNQ to 2"]
    assert d.reasons == ["holding 3 MNQ, limit 2; closing 1 MNQZ6"]


async def test_002_2_expiries_add_up_unless_each_contract_is_counted(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument=LIMITS)
    await d.position("MNQ.U26", 2)
    await d.wait(seconds=1)
    await d.position("MNQ.Z26", -1)
    assert d.actions == ["close MNQ"]

    apart = desk(max_contracts_per_instrument={**LIMITS, "scope": "contract"})
    await apart.position("MNQ.U26", 2)
    await apart.position("MNQ.Z26", -1)
    assert apart.actions == []


async def test_002_3_the_gateway_code_of_es_is_es(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"ES": 1}})
    await d.position("CON.F.US.EP.U25", 2, 5800)
    assert d.actions == ["reduce ES.U25 to 1"]


async def test_002_4_es_is_not_mes(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument=LIMITS)
    await d.position("MES", 3)
    assert d.actions == []


async def test_002_5_a_product_nobody_named(desk: DeskMaker) -> None:
    blocked = desk(max_contracts_per_instrument={**LIMITS, "unknown_symbol": "block"})
    await blocked.position("RTY", 1)
    assert blocked.actions == ["close RTY"]

    one = desk(max_contracts_per_instrument={**LIMITS, "unknown_symbol": "allow_with_limit:1"})
    await one.position("RTY", 1)
    assert one.actions == []
    await one.position("RTY", 2)
    assert one.actions == ["reduce RTY to 1"]

    free = desk(max_contracts_per_instrument={**LIMITS, "unknown_symbol": "allow_unlimited"})
    await free.position("RTY", 9)
    assert free.actions == []


async def test_002_6_an_order_counts_when_it_fills_unless_asked_otherwise(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument=LIMITS)
    await d.position("MNQ", 2)
    await d.order("MNQ", 1, price=20900)
    assert d.actions == []

    counted = desk(max_contracts_per_instrument={**LIMITS, "count_working_entries": True})
    await counted.position("MNQ", 2)
    order = await counted.order("MNQ", 1, price=20900)
    assert counted.actions == [f"cancel {order}"]


async def test_a_group_is_capped_in_micro_equivalents(desk: DeskMaker) -> None:
    d = desk(
        symbols=Symbols(groups={"sp500": ("ES", "MES")}),
        max_contracts_per_instrument={
            "limits": {"ES": 5, "MES": 50},
            "group_limits": {"sp500": {"limit": 15, "count": "micro_equivalents"}},
        },
    )
    await d.position("ES", 1, 6000)
    await d.wait(seconds=1)
    await d.position("MES", 6, 6000)
    assert d.actions == ["reduce MES to 5"]


async def test_the_product_limit_is_cut_first_and_may_cure_the_total(desk: DeskMaker) -> None:
    d = desk(
        max_contracts={"limit": 5},
        max_contracts_per_instrument={"limits": {"MNQ": 2, "ES": 3}},
    )
    await d.position("MNQ", 2)
    await d.position("ES", 3)
    await d.position("MNQ", 4)
    assert d.actions == ["reduce MNQ to 2"]
    assert [x.spec_id for x in d.decisions] == ["RULE-002"]


@pytest.mark.parametrize("limits", [{"MNQ": 0}, {"MNQ": -1}, {}, {" ": 2}])
def test_impossible_limits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        rules_from(max_contracts_per_instrument={"limits": limits})


async def test_the_most_specific_key_wins(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"M*": 1, "MN*": 2, "MNQ": 3}})
    await d.position("MNQ", 3)
    await d.position("MES", 2)
    assert d.actions == ["reduce MES to 1"]


Z26 = "CON.F.US.EP.Z26"


@pytest.mark.parametrize(
    ("limits", "held", "asked"),
    [
        ({"ES": 5, Z26: 1}, {"ES.H27": 1, "ES.Z26": 3}, ["reduce ES to 1"]),
        ({"ES": 5, Z26: 1}, {"ES.Z26": 3, "ES.H27": 1}, ["reduce ES to 1"]),
        ({"ES": 5, Z26: 1}, {"ES.H27": 4, "ES.Z26": 1}, []),
        ({"ES": 5, Z26: 1}, {"ES.Z26": 1, "ES.H27": 5}, ["reduce ES.H27 to 4"]),
        ({"ES": 5, Z26: 1}, {"ES.H27": 5, "ES.Z26": 3}, ["close ES"]),
        ({"ES": 1, Z26: 5}, {"ES.Z26": 4, "ES.H27": 1}, []),
        ({"ES": 1, Z26: 5}, {"ES.Z26": 3, "ES.H27": 2}, ["reduce ES.H27 to 1"]),
        ({Z26: 3}, {"ES.Z26": 3}, []),
        ({Z26: 3}, {"ES.H27": 1, "ES.Z26": 2}, []),
        ({Z26: 3}, {"ES.Z26": 1, "ES.H27": 2}, ["reduce ES.H27 to 1"]),
        ({"CON.F.US.EP.*": 3}, {"ES.Z26": 2, "ES.H27": 2}, ["reduce ES.H27 to 1"]),
    ],
)
async def test_a_contract_named_by_its_id_has_its_limit_while_other_expiries_are_held(
    desk: DeskMaker, limits: dict[str, int], held: dict[str, int], asked: list[str]
) -> None:
    d = desk(max_contracts_per_instrument={"limits": limits})
    for symbol, net in held.items():
        await d.position(symbol, net, 5800)
        await d.wait(seconds=1)
    assert d.actions == asked


async def test_the_reason_names_the_contract_whose_own_limit_is_passed(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"ES": 5, Z26: 1}})
    await d.position("ES.H27", 1, 5800)
    await d.position("ES.Z26", 3, 5800)
    assert d.reasons == ["holding 3 ESZ6, limit 1; closing 2 ESZ6"]
    assert d.meter("max_contracts_per_instrument").sentence == "3 of 1 ESZ6 held"


async def test_both_limits_of_a_product_are_passed_at_once(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"ES": 5, Z26: 1}})
    await d.report(positions={"ES.H27": 6, "ES.Z26": 2})
    assert d.actions == ["reduce ES.H27 to 4", "reduce ES to 1"]
    assert d.reasons == [
        "holding 2 ESZ6, limit 1; closing 1 ESZ6",
        "holding 7 ES, limit 5; closing 2 ES",
    ]


async def test_entry_orders_count_against_the_contracts_own_limit(desk: DeskMaker) -> None:
    d = desk(
        max_contracts_per_instrument={"limits": {"ES": 5, Z26: 1}, "count_working_entries": True}
    )
    await d.position("ES.H27", 3, 5800)
    near = await d.order("ES.Z26", 2, price=5700)
    assert d.taken() == [f"cancel {near}"]
    await d.order("ES.H27", 2, price=5700)
    assert d.taken() == []  # the one being cancelled no longer counts


async def test_a_bracket_that_adds_within_the_product_limit_keeps_its_sleeping_stop(
    desk: DeskMaker,
) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"MNQ": 4}, "count_working_entries": True})
    await d.position("MNQ", 2)
    await d.stop("MNQ", -2, 20980)
    await d.order("MNQ", 2, price=20990)
    await d.stop("MNQ", -2, 20980, status=OrderStatus.SUSPENDED)
    assert d.actions == []


async def test_a_product_without_a_limit_is_not_called_nothing(desk: DeskMaker) -> None:
    """F7.10: A product that is held and has no limit is named, not passed over."""
    d = desk(
        max_contracts_per_instrument={"limits": {"ES": 3}, "unknown_symbol": "allow_unlimited"}
    )
    await d.position("MNQ", 5)
    meter = d.meter("max_contracts_per_instrument")
    assert meter.sentence == "MNQ: no limit of its own; limits: ES 3"
    await d.position("ES", 2)
    meter = d.meter("max_contracts_per_instrument")
    assert meter.sentence == "2 of 3 ES held, room for 1; MNQ: no limit of its own"


async def test_the_meter_says_the_room_for_the_product_held(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"MNQ": 3, "ES": 1}})
    await d.wait(seconds=1)
    meter = d.meter("max_contracts_per_instrument")
    assert (meter.sentence, meter.unit) == ("nothing held; limits: MNQ 3, ES 1", "contracts")
    await d.position("MNQ", 2)
    meter = d.meter("max_contracts_per_instrument")
    assert (meter.sentence, meter.unit) == ("2 of 3 MNQ held, room for 1", "MNQ contracts")
    assert meter.headroom == 1
    await d.position("MNQ", 3)
    assert d.meter("max_contracts_per_instrument").sentence == "3 of 3 MNQ held, no room"


async def test_with_nothing_held_the_meter_measures_against_the_smallest_limit(
    desk: DeskMaker,
) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"MNQ": 6, "ES": 2}})
    await d.wait(seconds=1)
    meter = d.meter("max_contracts_per_instrument")
    assert (meter.current, meter.limit) == (Decimal(0), Decimal(2))


async def test_the_meter_tells_of_a_group_that_is_nearer_to_its_limit(desk: DeskMaker) -> None:
    d = desk(
        symbols=Symbols(groups={"sp500": ("ES", "MES")}),
        max_contracts_per_instrument={
            "limits": {"ES": 5, "MES": 50},
            "group_limits": {"sp500": {"limit": 25, "count": "micro_equivalents"}},
        },
    )
    await d.position("ES", 1, 6000)
    meter = d.meter("max_contracts_per_instrument")
    assert (meter.sentence, meter.unit) == (
        "10 of 25 sp500 micro-equivalents held, room for 15",
        "sp500 micro-equivalents",
    )
    await d.position("MES", 15, 6000)
    meter = d.meter("max_contracts_per_instrument")
    assert (meter.sentence, meter.headroom) == (
        "25 of 25 sp500 micro-equivalents held, no room",
        Decimal(0),
    )
    await d.position("MES", 0)
    await d.position("ES", 0)
    assert d.meter("max_contracts_per_instrument").sentence == "nothing held; limits: ES 5, MES 50"
