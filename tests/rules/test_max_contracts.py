"""RULE-001, example by example."""

import pytest
from desk import DeskMaker

from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rule import MeterState


async def test_001_1_exactly_at_the_limit_is_fine(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    await d.position("MNQ", 3)
    await d.position("ES", 2)
    assert d.actions == []


async def test_001_2_the_contract_that_was_added_last_is_reduced(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    await d.position("MNQ", 3)
    await d.wait(seconds=1)
    for size in (1, 2, 3):
        await d.position("ES", size)
    assert d.actions == ["reduce ES to 2"]
    assert d.reasons == ["holding 6 contracts, limit 5; closing 1 ESZ6"]
    await d.obey()
    assert (d.account().net("CON.F.US.MNQ.Z26"), d.account().net("CON.F.US.EP.Z26")) == (3, 2)
    assert len(d.actions) == 1


async def test_001_3_longs_and_shorts_add_up_unless_net_is_asked_for(desk: DeskMaker) -> None:
    gross = desk(max_contracts={"limit": 5})
    await gross.position("MNQ", 5)
    await gross.wait(seconds=1)
    await gross.position("NQ", -5)
    assert gross.actions == ["close NQ"]

    net = desk(max_contracts={"limit": 5, "count": "net"})
    await net.position("MNQ", 5)
    await net.position("NQ", -5)
    assert net.actions == []

    micros = desk(max_contracts={"limit": 50, "count": "micro_equivalents"})
    await micros.position("MNQ", 5)
    await micros.wait(seconds=1)
    await micros.position("NQ", -5)
    assert micros.actions == ["reduce NQ to 4"]
    assert micros.reasons == ["holding 55 micro-equivalents, limit 50; closing 1 NQZ6"]


async def test_001_4_a_reversal_is_judged_by_where_it_ends(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    await d.position("ES", 5)
    await d.position("ES", -5)
    assert d.actions == []


async def test_001_5_what_the_trader_sold_meanwhile_is_not_sold_again(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    await d.position("ES", 6)
    await d.position("ES", 3)
    assert d.actions == ["reduce ES to 5"]  # computed from a fresh read when it is carried out
    await d.settle(d.enforcer.actions[0])
    assert len(d.actions) == 1


async def test_001_6_two_accounts_are_counted_apart(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5}, desk_accounts=(101, 102))
    await d.position("MNQ", 4, account=101)
    await d.position("MNQ", 4, account=102)
    assert d.actions == []


async def test_001_7_an_entry_that_fills_in_parts_is_cut_back_once(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 2})
    await d.position("MNQ", 1)
    await d.position("MNQ", 3)
    await d.obey()
    assert d.actions == ["reduce MNQ to 2"]


async def test_five_reports_of_one_oversize_position_ask_once(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    for _ in range(5):
        await d.position("MNQ", 6)
    await d.wait(seconds=2)
    assert d.actions == ["reduce MNQ to 5"]
    assert len(d.decisions) == 1


async def test_entry_orders_are_cancelled_and_the_stop_stays(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    stop = await d.stop("MNQ", -6)
    await d.position("MNQ", 5)
    entry = await d.order("MNQ", 2, price=20950)
    await d.position("MNQ", 6)
    assert d.taken() == ["reduce MNQ to 5", f"cancel {entry}"]
    assert stop in d.account().orders


async def test_working_entries_count_when_asked_for(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5, "count_working_entries": True})
    await d.position("MNQ", 4)
    first = await d.order("MNQ", 1, price=20990)
    second = await d.order("MNQ", 1, price=20980)
    target = await d.order("MNQ", -4, price=21100)
    assert d.actions == [f"cancel {second}"]
    assert {first, target} <= set(d.account().orders)


async def test_close_all_and_a_timed_lock(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 2, "action": "close_all", "lockout": "30m"})
    await d.position("MNQ", 2)
    await d.position("ES", 1)
    await d.obey()
    assert set(d.actions) == {"close MNQ", "close ES"}
    assert d.account().is_flat
    await d.wait(minutes=29)
    assert d.locked_by() == {"max_contracts": "account"}
    await d.wait(minutes=2)
    assert d.locked_by() == {}


async def test_the_largest_goes_first_when_asked_for(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5, "reduce_order": "largest_first"})
    await d.position("MNQ", 4)
    await d.wait(seconds=1)
    await d.position("ES", 2)
    assert d.actions == ["reduce MNQ to 3"]


async def test_the_worst_loser_goes_first_when_asked_for(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 3, "reduce_order": "worst_pnl_first"})
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.position("MES", 2, 6000)
    await d.quote("MES", 6001)
    assert d.actions == ["reduce MNQ to 1"]


async def test_the_meter_says_what_is_left(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5})
    await d.position("MNQ", 3)
    assert d.meter("max_contracts").sentence == "3 of 5 contracts held, room for 2"


async def test_a_stuck_market_order_is_cancelled_like_any_other(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 1})
    await d.admin("lock")
    order = await d.order("MNQ", 1, kind=OrderType.MARKET)
    assert d.actions == []  # it fills by itself, or is our own close
    await d.wait(seconds=4)
    assert d.actions == [f"cancel {order}"]


async def test_a_bracket_entry_within_the_limit_keeps_its_sleeping_stop(
    desk: DeskMaker,
) -> None:
    d = desk(max_contracts={"limit": 2, "count_working_entries": True})
    await d.order("MNQ", 2, price=20990)
    await d.stop("MNQ", -2, 20980, status=OrderStatus.SUSPENDED)
    await d.order("MNQ", -2, price=21050, status=OrderStatus.SUSPENDED)
    assert d.actions == []


@pytest.mark.parametrize(
    ("policy", "allows"),
    [("flat", "locked flat"), ("no_entries", "locked, no new contracts")],
)
async def test_there_is_no_room_under_a_lock(desk: DeskMaker, policy: str, allows: str) -> None:
    """F7.23: Under a lock on the account the meter says what it allows, and no room in green."""
    d = desk(max_contracts={"limit": 5}, max_contracts_per_instrument={"limits": {"MNQ": 2}})
    await d.admin("lock", policy=policy)
    held, each = d.meter("max_contracts"), d.meter("max_contracts_per_instrument")
    assert held.sentence == f"{allows}: 0 of 5 contracts held"
    assert each.sentence == f"{allows}: nothing held; limits: MNQ 2"
    assert (held.state, each.state) == (MeterState.WARN, MeterState.WARN)


async def test_what_is_held_is_told_under_a_lock_on_entries(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 5}, max_contracts_per_instrument={"limits": {"MNQ": 2}})
    await d.position("MNQ", 1)
    await d.admin("lock", policy="no_entries")
    held, each = d.meter("max_contracts"), d.meter("max_contracts_per_instrument")
    assert held.sentence == "locked, no new contracts: 1 of 5 contracts held"
    assert each.sentence == "locked, no new contracts: 1 of 2 MNQ held"
