"""A recorded day of three losses of $100 in MNQ, a minute apart, under no limits."""

from datetime import timedelta
from pathlib import Path

from desk import MORNING
from stored_desk import StoppedClock, StoredDesk, opened

from risk_manager.store.store import Store

DAY = f"{MORNING:%Y-%m-%d}"


async def record(folder: Path) -> None:
    """Leave the data folder as a daemon does after that day."""
    async with Store.open(
        folder / "state.db", StoppedClock(), keep_every=timedelta(hours=1)
    ) as kept:
        await kept.keep_journal(folder / "journal", "1.0")
        desk = await opened(StoredDesk(kept))
        for _ in range(3):
            await desk.quote("MNQ", 20999.75, 21000)
            await desk.fill("MNQ", 1)
            await desk.position("MNQ", 1)
            await desk.wait(seconds=5)
            await desk.fill("MNQ", -1, pnl=-100, price=20950)
            await desk.position("MNQ", 0)
            await desk.wait(seconds=60)
