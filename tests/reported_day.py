"""A bad Friday on a stored desk, whose figures are worked out by hand in the tests of reports."""

from datetime import datetime, timedelta
from pathlib import Path

from desk import MORNING
from stored_desk import StoppedClock, StoredDesk, at, stored_desk

from risk_manager.domain.events import Tick
from risk_manager.domain.records import OrderStatus

FRIDAY = MORNING.date()
LIMIT = 500


async def clock(desk: StoredDesk, minute: int, second: int = 0) -> datetime:
    """It is so many minutes after eleven in New York."""
    desk.now = MORNING + timedelta(minutes=minute, seconds=second)
    await desk.happens(Tick(at=desk.now))
    return desk.now


async def bad_friday(folder: Path) -> None:
    """Five trades: one won, four lost. The fourth was closed by the rule, and so was the fifth."""
    async with at(folder, clock=StoppedClock()) as kept:
        await kept.keep_journal(folder / "journal", "1.0")
        desk = stored_desk(kept, daily_realized_loss={"limit": LIMIT})
        await _trade(desk, "MNQ", 1, (0, 10), 21000, 21050, "100", "0.37")
        await _trade(desk, "MNQ", 2, (20, 25), 21050, 21000, "-200", "0.74")
        await _loses_without_a_stop(desk)
        await clock(desk, 50)
        await _rule_closes(desk, entered=6010, left=6008)
        await kept.audit(
            "daemon",
            "was_down",
            "account:101",
            new={
                "from": MORNING + timedelta(hours=2),
                "to": MORNING + timedelta(hours=2, minutes=3),
                "stopped_cleanly": False,
                "executions": 0,
                "net": "0.00",
            },
        )
        await desk.wait(days=1)


async def _trade(
    desk: StoredDesk,
    symbol: str,
    lots: int,
    minutes: tuple[int, int],
    bought: float,
    sold: float,
    pnl: str,
    fees: str,
) -> None:
    await clock(desk, minutes[0])
    await desk.fill(symbol, lots, price=bought, fees=fees)
    await desk.position(symbol, lots, bought)
    await clock(desk, minutes[1])
    await desk.fill(symbol, -lots, pnl=pnl, price=sold, fees=fees)
    await desk.position(symbol, 0)


async def _loses_without_a_stop(desk: StoredDesk) -> None:
    """Twice the size; the stop is moved away and removed; a second product is added."""
    await clock(desk, 30)
    await desk.fill("MNQ", 4, price=21000, fees="1.48")
    await desk.position("MNQ", 4)
    await clock(desk, 30, 30)
    stop = await desk.stop("MNQ", -4, 20990)
    await clock(desk, 31)
    await desk.stop("MNQ", -4, 20970, order_id=stop)
    await clock(desk, 32)
    await desk.stop("MNQ", -4, 20970, status=OrderStatus.CANCELLED, order_id=stop)
    await clock(desk, 33)
    await desk.fill("MES", 1, price=6000, fees="0.37")
    await desk.position("MES", 1, 6000)
    await clock(desk, 35)
    await desk.position("MNQ", 0)
    await desk.fill("MNQ", -4, pnl="-400", price=20950, fees="1.48")
    await clock(desk, 35, 1)
    await desk.obey()
    await desk.fill("MES", -1, pnl="-10", price=5998, fees="0.37")


async def _rule_closes(desk: StoredDesk, *, entered: float, left: float) -> None:
    """An entry under the lock is closed at once."""
    await desk.fill("MES", 1, price=entered, fees="0.37")
    await desk.position("MES", 1, entered)
    desk.now += timedelta(seconds=1)
    await desk.obey()
    await desk.fill("MES", -1, pnl="-10", price=left, fees="0.37")
