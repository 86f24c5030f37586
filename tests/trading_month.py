"""Trading on a desk over many days: the broker is read in the morning and before each reset."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from decimal import Decimal

from desk import Desk

from risk_manager.domain.events import Tick

TEN_IN_CHICAGO = time(16, 0)  # UTC, in winter
FEE = "0.37"  # of one half of a trade in MNQ


async def read(desk: Desk, balance: str | None = None) -> None:
    """The account is read whole, some time after the last fill; nothing is open."""
    await desk.wait(seconds=11)
    await desk.report(positions={}, trades=[], balance=balance)


async def next_morning(desk: Desk, balance: str | None = None) -> None:
    """The day ends, having been watched to its end; it is ten o'clock on the next trading day."""
    day = desk.pipeline.state.day
    desk.now = max(desk.now, day.ends_at - timedelta(minutes=5))
    await desk.report(positions={}, trades=[])
    await jump_to_morning_after(desk, day.ends_at)
    await read(desk, balance)


async def jump_to_morning_after(desk: Desk, reset: datetime) -> None:
    """It is ten o'clock on the trading day that begins with this reset."""
    following = desk.rulebook.day.window(reset).date
    desk.now = datetime.combine(following, TEN_IN_CHICAGO, tzinfo=reset.tzinfo)
    await desk.happens(Tick(at=desk.now))


async def trade(desk: Desk, result: str, symbol: str = "MES", *, fee: str = FEE) -> None:
    """A trade from flat to flat, of which the daemon sees the fills."""
    await desk.fill(symbol, 1, fees=fee)
    await desk.fill(symbol, -1, pnl=result, fees=fee)
    await desk.wait(seconds=4)


async def opened(desk: Desk, price: float = 21000.0) -> None:
    """One MNQ is bought."""
    await desk.fill("MNQ", 1, fees=FEE, price=price)
    await desk.position("MNQ", 1, price)
    await desk.wait(seconds=1)


async def open_profit(desk: Desk, *amounts: float | str, price: float = 21000.0) -> None:
    """The price of the open MNQ makes it stand at these results, one after the other."""
    for amount in amounts:
        await desk.quote("MNQ", price + float(amount) / 2)
        await desk.wait(seconds=1)
        await desk.quote("MNQ", price + float(amount) / 2)


async def closed(desk: Desk, result: str) -> None:
    """The open MNQ is closed; the fill is told before the position."""
    await desk.wait(seconds=1)
    await desk.fill("MNQ", -1, pnl=result, fees=FEE)
    desk.now += timedelta(milliseconds=20)
    await desk.position("MNQ", 0)
    await desk.wait(seconds=4)


def money(amounts: Iterable[str]) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))
