"""A close is told as a fill and as a position. Between the two nothing is counted twice."""

from datetime import timedelta

from desk import Desk, DeskMaker
from trading_month import open_profit, opened

OPEN_COUNTS = {"limit": 500, "include_unrealized": True}


async def losing(desk: DeskMaker) -> Desk:
    """One MNQ stands at -300, and no limit of 500 is near."""
    d = desk(daily_realized_loss=OPEN_COUNTS)
    await opened(d)
    await open_profit(d, "-300")
    d.now += timedelta(seconds=1)
    return d


async def test_a_loss_of_300_is_not_600_while_its_position_is_still_shown(desk: DeskMaker) -> None:
    d = await losing(desk)
    await d.fill("MNQ", -1, pnl="-300.00", fees="0.37")
    assert d.locked_by() == {}
    d.now += timedelta(milliseconds=20)
    await d.position("MNQ", 0)
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    assert d.reasons == ["$300.37 of the daily loss limit $500.00 is used"]


async def test_a_position_that_is_never_said_to_end_is_not_waited_for(desk: DeskMaker) -> None:
    d = await losing(desk)
    await d.fill("MNQ", -1, pnl="-300.00", fees="0.37")
    await d.wait(seconds=4)
    assert d.locked_by() == {"daily_realized_loss": "account"}


async def test_a_loss_that_is_realised_waits_for_nothing(desk: DeskMaker) -> None:
    d = await losing(desk)
    await d.fill("MNQ", -1, pnl="-500.00")
    assert d.locked_by() == {"daily_realized_loss": "account"}


async def test_a_profit_of_600_is_not_1200_while_its_position_is_still_shown(
    desk: DeskMaker,
) -> None:
    d = desk(daily_profit_target={"target": 1000, "include_unrealized": True})
    await opened(d)
    await open_profit(d, "600")
    d.now += timedelta(seconds=1)
    await d.fill("MNQ", -1, pnl="600.00")
    assert d.locked_by() == {}
    await d.position("MNQ", 0)
    await d.wait(seconds=5)
    assert d.locked_by() == {}
