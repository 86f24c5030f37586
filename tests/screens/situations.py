"""Four situations of a Friday morning, each as a screen meets it that is opened then."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from screens.fixed_feed import FixedFeed
from screens.trading import ShownDesk, trading_week


async def _calm(desk: ShownDesk) -> None:
    """Ahead on the day, and long with a stop and a target."""
    await desk.trade("MNQ", 2, 21012.25, 21034.0, minutes=11)
    await desk.wait(minutes=14)
    await desk.trade("MNQ", 2, 21051.5, 21038.25, minutes=4)
    await desk.wait(minutes=9)
    await desk.trade("MES", -2, 6012.5, 6004.75, minutes=12)
    await desk.wait(minutes=20)
    await desk.enter("MNQ", 2, 21040.25, stop=21024.0, target=21072.0)
    await desk.hold("MNQ", 21040.25, 21049.5, 6.5)


async def _warning(desk: ShownDesk) -> None:
    """Near the limit of the day, with a position that has no stop yet."""
    await desk.trade("MNQ", 2, 21012.25, 21034.0, minutes=11)
    await desk.wait(minutes=14)
    await desk.trade("MNQ", 3, 21051.5, 21017.25, minutes=7)
    await desk.hub("market", "down")
    await desk.wait(seconds=19)
    await desk.hub("market", "up")
    await desk.wait(minutes=16)
    await desk.trade("MES", 3, 6020.5, 6001.0, minutes=9)
    await desk.admin("lock", account=102, policy="no_entries", reason="one account at a time")
    await desk.wait(minutes=16)
    await desk.enter("MNQ", 3, 21003.5, target=21040.0)
    await desk.hold("MNQ", 21003.5, 20996.0, 0.25)


async def _locked(desk: ShownDesk) -> None:
    """Beyond the loss limit of the day: all is closed, and locked until the reset."""
    await desk.trade("MNQ", 3, 21051.5, 21012.0, minutes=7)
    await desk.wait(minutes=31)
    await desk.trade("MES", 3, 6010.5, 6001.0, minutes=9)
    await desk.wait(minutes=17)
    held = await desk.enter("MNQ", 3, 21003.5, stop=20975.0, target=21040.0)
    await desk.hold("MNQ", 21003.5, 20982.0, 5)
    await desk.enter("MES", 1, 5998.0, stop=5990.0)
    await desk.leave(held, 20979.5, cancels_exits=False)
    await desk.refused(214)
    await desk.answered(38, 21)
    await desk.wait(seconds=4)
    await desk.answered(41)
    await desk.wait(minutes=4)


@dataclass(frozen=True, slots=True)
class Situation:
    """What happened before, and whether the daemon was lost afterwards."""

    name: str
    plays: Callable[[ShownDesk], Awaitable[None]]
    is_lost: bool = False


SITUATIONS = (
    Situation("calm", _calm),
    Situation("warning", _warning),
    Situation("locked", _locked),
    Situation("disconnected", _calm, is_lost=True),
)


@asynccontextmanager
async def played(situation: Situation, folder: Path) -> AsyncIterator[Callable[[], FixedFeed]]:
    """Feeds of a situation. Its daemon answers questions for as long as this is open."""
    async with trading_week(folder) as desk:
        await situation.plays(desk)
        frames = await desk.frames()
        yield lambda: FixedFeed(frames, desk.history, desk.now)
