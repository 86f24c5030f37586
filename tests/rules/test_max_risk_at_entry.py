"""A position may lose no more at its stops than the limit."""

from decimal import Decimal

import pytest
from desk import DeskMaker

from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rule import MeterState

RULE = "max_risk_at_entry"


async def test_two_micros_with_a_stop_sixty_points_away_risk_240(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 240})
    await d.position("MNQ", 2, 21000)
    await d.stop("MNQ", -2, 20940)
    await d.wait(minutes=1)
    assert d.actions == []
    meter = d.meter(RULE)
    assert (meter.current, meter.limit, meter.state) == (Decimal(240), Decimal(240), MeterState.OK)


@pytest.mark.parametrize(
    ("net", "stop", "limit", "kept"),
    [
        (2, 20940, "239.99", "reduce MNQ to 1"),
        (2, 20940, "120", "reduce MNQ to 1"),
        (2, 20940, "119.99", "close MNQ"),
        (5, 20940, "400", "reduce MNQ to 3"),
        (-2, 21060, "200", "reduce MNQ to 1"),
        (-2, 21060, "100", "close MNQ"),
    ],
)
async def test_what_is_above_the_limit_is_reduced(
    desk: DeskMaker, net: int, stop: float, limit: str, kept: str
) -> None:
    d = desk(max_risk_at_entry={"limit": limit})
    await d.position("MNQ", net, 21000)
    await d.stop("MNQ", -net, stop)
    await d.wait(seconds=1)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == [kept]
    assert "would lose" in d.reasons[0]


async def test_the_position_may_be_closed_instead(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 200, "action": "close_position", "grace": "0s"})
    await d.position("MNQ", 2, 21000)
    await d.stop("MNQ", -2, 20940)
    assert d.actions == ["close MNQ"]


async def test_the_order_of_the_messages_does_not_matter(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 200, "grace": "0s"})
    await d.stop("MNQ", -2, 20940)
    assert d.actions == []
    await d.position("MNQ", 2, 21000)
    assert d.actions == ["reduce MNQ to 1"]


async def test_a_stop_moved_nearer_within_the_grace_is_in_time(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 200, "grace": "5s"})
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20900)
    await d.wait(seconds=4)
    await d.stop("MNQ", -2, 20960, order_id=stop)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_without_a_stop_the_risk_is_unknown_and_left_to_the_rule_of_stops(
    desk: DeskMaker,
) -> None:
    d = desk(max_risk_at_entry={"limit": 10})
    await d.position("MNQ", 2, 21000)
    await d.order("MNQ", -2, price=21100)
    await d.stop("MNQ", -2, 20900, status=OrderStatus.SUSPENDED)
    await d.wait(minutes=5)
    assert d.actions == []
    assert d.meter(RULE).state is MeterState.UNKNOWN
    assert d.meter(RULE).current is None


async def test_the_known_part_counts_while_another_part_has_no_stop(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 100, "grace": "0s"})
    await d.position("MNQ", 3, 21000)
    await d.stop("MNQ", -2, 20960)  # 80 a contract
    assert d.actions == ["reduce MNQ to 2"]


async def test_stops_of_several_orders_add_up_the_nearest_first(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 150, "grace": "0s"})
    await d.position("MNQ", 2, 21000)
    await d.stop("MNQ", -1, 20980)  # 40
    await d.stop("MNQ", -1, 20950)  # 100
    assert d.actions == []
    await d.stop("MNQ", -1, 20940)  # beyond the position: the two nearest count
    assert d.actions == []
    assert d.meter(RULE).current == 140


async def test_a_stop_in_profit_risks_nothing(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 10, "grace": "0s"})
    await d.position("MNQ", 2, 21000)
    await d.stop("MNQ", -2, 21500)
    assert d.actions == []
    assert d.meter(RULE).current == 0


async def test_a_stop_widened_later_is_judged_at_once(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 240})
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20940)
    await d.wait(minutes=1)
    await d.stop("MNQ", -2, 20930, order_id=stop)
    assert d.actions == ["reduce MNQ to 1"]


async def test_an_unknown_average_or_tick_is_no_verdict(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 1, "grace": "0s"})
    await d.position("MNQ", 2, 0)
    await d.stop("MNQ", -2, 20000)
    await d.position("CON.F.US.XYZ.Z26", 2, 100)
    await d.stop("CON.F.US.XYZ.Z26", -2, 50)
    await d.wait(seconds=5)
    assert d.actions == []
    assert d.meter(RULE).state is MeterState.UNKNOWN


async def test_a_trailing_stop_without_a_price_is_unknown(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": 1, "grace": "0s"})
    await d.position("MNQ", 2, 21000)
    await d.order("MNQ", -2, kind=OrderType.TRAILING_STOP)
    await d.wait(seconds=5)
    assert d.actions == []


async def test_an_average_between_the_ticks_is_counted_exactly(desk: DeskMaker) -> None:
    d = desk(max_risk_at_entry={"limit": "80.24", "grace": "0s"})
    await d.position("MNQ", 1, 21000.125)
    await d.stop("MNQ", -1, 20960)
    assert d.meter(RULE).current == Decimal("80.25")
    assert d.actions == ["close MNQ"]
