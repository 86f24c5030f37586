"""Time from outside: the clock every event is stamped with, and the one-second ticker."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from risk_manager.domain.events import Tick

TICK = timedelta(seconds=1)


class Clock(Protocol):
    """Aware UTC that never goes back, and seconds that only measure durations."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """Wall time taken once, then carried forward by the monotonic clock.

    Turning the machine's clock while the daemon runs therefore moves nothing. `drift` says how
    far the wall has moved away since, and `correct` follows a trusted time (the gateway's).
    """

    def __init__(self) -> None:
        self._anchor = datetime.now(UTC)
        self._anchor_monotonic = time.monotonic()

    def now(self) -> datetime:
        return self._anchor + timedelta(seconds=time.monotonic() - self._anchor_monotonic)

    def monotonic(self) -> float:
        return time.monotonic()

    def drift(self) -> timedelta:
        """Wall clock minus this clock."""
        return datetime.now(UTC) - self.now()

    def correct(self, trusted: datetime) -> None:
        """Move forward to a trusted time; never back."""
        if trusted > self.now():
            self._anchor = trusted
            self._anchor_monotonic = time.monotonic()


async def tick(clock: Clock, put: Callable[[Tick], None]) -> None:
    """One `Tick` each second, on the second of the monotonic clock, until cancelled."""
    due = clock.monotonic()
    while True:
        put(Tick(at=clock.now()))
        due += TICK.total_seconds()
        await asyncio.sleep(max(due - clock.monotonic(), 0))
