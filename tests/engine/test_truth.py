"""Stream and reports together: which word about positions and orders counts."""

from datetime import timedelta
from decimal import Decimal

import pytest
from desk import DeskMaker, contract_id

from risk_manager.domain.events import OrderChanged
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType

MNQ = contract_id("MNQ")


async def test_a_report_replaces_what_the_stream_lost(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 1})
    await d.report(positions={"MNQ": 3})
    assert d.actions == ["reduce MNQ to 1"]
    await d.wait(seconds=5)
    await d.report(positions={})
    assert d.account().positions == {}


async def test_a_report_asked_for_before_the_stream_spoke_is_older(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 1)
    asked = d.now
    await d.wait(seconds=1)
    await d.position("MNQ", 0)
    await d.report(positions={"MNQ": 1}, asked_at=asked)
    assert d.account().positions == {}
    await d.position("ES", 2, 6000)
    await d.report(positions={}, asked_at=asked)
    assert d.account().net(contract_id("ES")) == 2


async def test_orders_missing_from_a_report_are_gone_but_suspended_brackets_stay(
    desk: DeskMaker,
) -> None:
    d = desk()
    gone = await d.order("MNQ", 1, price=20900)
    entry = await d.order("MNQ", 1, price=20800)
    child = await d.stop("MNQ", -1, status=OrderStatus.SUSPENDED)
    await d.wait(seconds=5)
    assert set(d.account().orders) == {gone, entry, child}
    await d.report(positions={}, orders=[d.account().orders[entry]])
    assert set(d.account().orders) == {entry, child}


async def test_a_suspended_bracket_goes_when_no_entry_it_could_wait_for_works(
    desk: DeskMaker,
) -> None:
    """Its end was not heard, and the list never shows it: it would be cancelled for ever."""
    d = desk()
    await d.stop("MNQ", -1, status=OrderStatus.SUSPENDED)
    sell = await d.order("MNQ", -1, price=21100)
    await d.wait(seconds=5)
    await d.report(positions={}, orders=[d.account().orders[sell]])
    assert set(d.account().orders) == {sell}


async def test_a_finished_order_never_works_again(desk: DeskMaker) -> None:
    d = desk()
    order = await d.order("MNQ", 1, price=20900)
    await d.order("MNQ", 1, order_id=order, status=OrderStatus.FILLED, filled=1)
    await d.order("MNQ", 1, order_id=order)
    assert d.account().orders == {}


async def test_a_late_word_of_an_order_that_a_list_left_out_is_not_believed(
    desk: DeskMaker,
) -> None:
    d = desk()
    stop = await d.stop("MNQ", -1)
    await d.wait(seconds=5)
    await d.report(positions={}, orders=[])
    listed_at = d.now
    d.now -= timedelta(seconds=1)
    await d.stop("MNQ", -1, order_id=stop)
    assert d.account().orders == {}
    d.now = listed_at + timedelta(seconds=1)
    await d.stop("MNQ", -1, order_id=stop)
    assert set(d.account().orders) == {stop}, "this it says as of now: the list was wrong"


async def test_a_list_that_shows_an_order_again_is_believed(desk: DeskMaker) -> None:
    d = desk()
    order = await d.order("MNQ", 1, price=20900)
    known = d.account().orders[order]
    await d.wait(seconds=5)
    await d.report(positions={}, orders=[])
    assert d.account().orders == {}
    await d.wait(seconds=1)
    await d.report(positions={}, orders=[known])
    assert set(d.account().orders) == {order}


async def test_an_older_version_of_an_order_is_ignored(desk: DeskMaker) -> None:
    d = desk()
    order = await d.order("MNQ", 3, price=20900, filled=2)
    d.now -= timedelta(seconds=5)
    await d.order("MNQ", 3, price=20900, filled=0, order_id=order)
    assert d.account().orders[order].remaining == 1


async def test_an_episode_lasts_from_flat_or_reversal_to_flat_or_reversal(
    desk: DeskMaker,
) -> None:
    d = desk()
    episodes = []
    for net in (1, 3, 1, -1, -2, 0, 1):
        await d.position("MNQ", net)
        held = d.account().positions.get(MNQ)
        episodes.append(held.episode if held else 0)
    assert episodes == [1, 1, 1, 2, 2, 0, 3]


async def test_a_position_of_unknown_side_counts_but_has_no_result(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 2})
    await d.position("MNQ", 3, type=0)
    await d.quote("MNQ", 21000)
    assert d.actions == ["reduce MNQ to 2"]
    assert d.account().positions[MNQ].valuation is None


async def test_an_average_price_of_zero_is_unknown(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 1, 0.0)
    assert d.account().positions[MNQ].average_price is None


@pytest.mark.parametrize(
    ("symbol", "net", "average", "price", "pnl"),
    [
        # The figures the sources got wrong, and their right values (section A.2).
        ("MNQ", 2, 21000, 20700, "-1200"),
        ("ES", 1, 5800, 5792, "-400"),
        ("MNQ", 2, 21000, 21500, "2000"),
        ("ES", 1, 5800, 5848, "2400"),
        ("ES", -1, 5800, 5848, "-2400"),
        ("MNQ", 2, 21000, 20970, "-120"),
        ("MNQ", 2, 21000, 20990, "-40"),
        ("ES", 1, 5800, 5810, "500"),
        ("MNQ", 2, 21000, 20925.0, "-300"),
        ("MNQ", 2, 21000, 20925.25, "-299"),
        ("ES", -1, 5800, 5806, "-300"),
        ("RTY", 1, 2200, 2200.1, "5"),
        ("6E", 1, 1.05, 1.05005, "6.25"),
        ("MNQ", 3, 21003.333333333332, 21010, "40"),
    ],
)
async def test_open_profit_is_exact(
    desk: DeskMaker, symbol: str, net: int, average: float, price: float, pnl: str
) -> None:
    d = desk()
    await d.position(symbol, net, average)
    valuation = d.account().positions[contract_id(symbol)].valuation
    assert valuation is not None
    assert round(valuation.unrealised(price), 8) == Decimal(pnl)


async def test_a_contract_resolved_later_gives_the_position_its_value(desk: DeskMaker) -> None:
    d = desk()
    await d.position("CON.F.US.XYZ.Z26", 1, 100)
    held = d.account().positions["CON.F.US.XYZ.Z26"]
    assert held.valuation is None


async def test_a_bracket_stop_that_wakes_up_is_known_by_a_slower_gateway_clock(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management={"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}})
    child = await d.stop("MNQ", -1, 20980, status=OrderStatus.SUSPENDED)
    await d.wait(seconds=1)
    await d.report(positions={}, orders=[])
    await d.happens(
        OrderChanged.model_validate(
            {
                "at": d.now,
                "id": child,
                "accountId": 101,
                "contractId": contract_id("MNQ"),
                "creationTimestamp": d.now - timedelta(seconds=2),
                "updateTimestamp": d.now - timedelta(milliseconds=300),
                "status": OrderStatus.OPEN,
                "type": OrderType.STOP,
                "side": OrderSide.SELL,
                "size": 1,
                "stopPrice": 20980.0,
                "fillVolume": 0,
            }
        )
    )
    await d.position("MNQ", 1)
    await d.quote("MNQ", 21000)
    await d.wait(seconds=2)
    assert d.actions == []


async def test_an_order_that_is_never_dated_is_not_late(desk: DeskMaker) -> None:
    d = desk()

    async def says(size: int) -> None:
        await d.happens(
            OrderChanged.model_validate(
                {
                    "at": d.now,
                    "id": 77,
                    "accountId": 101,
                    "contractId": MNQ,
                    "creationTimestamp": d.now,
                    "updateTimestamp": "0001-01-01T00:00:00",
                    "status": OrderStatus.OPEN,
                    "type": OrderType.LIMIT,
                    "side": OrderSide.SELL,
                    "size": size,
                    "limitPrice": 21050.0,
                    "fillVolume": 0,
                }
            )
        )

    await says(1)
    await d.wait(seconds=5)
    await d.report(positions={}, orders=[])
    await d.wait(seconds=1)
    await says(5)
    assert set(d.account().orders) == {77}
