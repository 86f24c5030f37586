"""Time from outside: the clock every event is stamped with, and the one-second ticker."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

from risk_manager.domain.events import Tick

TICK = timedelta(seconds=1)

VENUE_TOLERANCE = timedelta(seconds=2)
"""A Date header has whole seconds, and its answer was under way for a while."""
WALL_AGREES = timedelta(seconds=5)
SAID_AGAIN_AFTER_S = 10.0
CLOCK_IS_WRONG = timedelta(seconds=60)
ASKED_AT_MOST = 5
ASKED_EVERY_S = 1.0


class Clock(Protocol):
    """Aware UTC that never goes back, and seconds that only measure durations."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


def elapsed() -> float:
    """Seconds since some instant, the sleep of the machine included where that can be had."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()  # on Windows it goes on while the machine sleeps


class SystemClock:
    """Wall time taken once, then carried forward by a clock nobody can turn.

    Turning the machine's clock while the daemon runs therefore moves nothing. `drift` says how
    far the wall has moved away since, and `correct` follows a trusted time (the gateway's).
    """

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._anchor = wall()
        self._anchored_at = elapsed()

    def now(self) -> datetime:
        return self._anchor + timedelta(seconds=self._elapsed() - self._anchored_at)

    def monotonic(self) -> float:
        return time.monotonic()

    def drift(self) -> timedelta:
        """Wall clock minus this clock."""
        return self._wall() - self.now()

    def correct(self, trusted: datetime) -> None:
        """Move forward to a trusted time; never back."""
        if trusted > self.now():
            self.anchor(trusted)

    def anchor(self, trusted: datetime) -> None:
        """Set to a trusted time, be it back: only while nothing has been judged by this clock."""
        self._anchor = trusted
        self._anchored_at = self._elapsed()


class VenueTime:
    """The gateway's own time, as its answers state it, held against our clock.

    Neither it nor the machine's clock is believed alone: of the two the earlier counts, as then
    locks last too long and not too short. Our clock therefore follows the gateway's forward only
    as far as the machine's clock is, and back it is set only before anything is judged. One odd
    header moves nothing. `lead` is by how much the gateway is ahead of both, `is_ahead` says that
    ours is later than the gateway's: then it is not to be believed.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.stated: datetime | None = None
        self.offset: timedelta | None = None
        """The gateway's time minus ours, when it was last heard; None before."""
        self.heard_at: float | None = None
        self.corrections = 0
        self.leapt = timedelta(0)
        """How far the last correction went."""
        self.lead = timedelta(0)
        """How far the gateway's time is past ours, which the machine's clock does not confirm."""
        self._clock = clock
        self._said_before: tuple[timedelta, float] | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether our clock is later than the gateway's by more than any delay explains."""
        return self.offset is not None and self.offset < -CLOCK_IS_WRONG

    def note(self, header: str) -> None:
        """Take in the Date header of an answer; nonsense is ignored."""
        try:
            stated = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return
        if stated.tzinfo is not None:
            self.hear(stated)

    def hear(self, stated: datetime) -> None:
        """Take in what the gateway says the time is."""
        now = self._clock.monotonic()
        offset = stated - self._clock.now()
        self.stated, self.offset, self.heard_at = stated, offset, now
        if offset <= VENUE_TOLERANCE:
            self._said_before, self.lead = None, timedelta(0)
            return
        wall = self._clock.drift()
        if abs(wall - offset) > WALL_AGREES:
            before, since = self._said_before or (offset, now)
            if abs(before - offset) > VENUE_TOLERANCE:
                before, since = offset, now
            self._said_before = (before, since)
            if now - since < SAID_AGAIN_AFTER_S:
                return
        self._follow(offset, wall)

    def _follow(self, offset: timedelta, wall: timedelta) -> None:
        """Forward to the earlier of the gateway's time and the machine's; the rest is its lead."""
        step = min(offset, wall)
        if step > VENUE_TOLERANCE:
            self._clock.correct(self._clock.now() + step)
            self.corrections += 1
            self.leapt = step
            self._said_before = None
            offset -= step
        self.offset = offset
        self.lead = offset if offset > VENUE_TOLERANCE else timedelta(0)

    async def agree(self, ask: Callable[[], Awaitable[bool]]) -> timedelta | None:
        """Before anything is judged: set our clock back to the gateway's, if that is earlier.

        Returns by how much. `ask` has the gateway state its time, and says whether it answered;
        until it does it is asked once a second, as by a clock nobody has confirmed a lock may end
        early. Where its time is later than ours, ours stays (see `lead`) once it has said the
        same twice: one odd header moves nothing. Where it never says the same twice, the clock is
        only set back.
        """
        before: timedelta | None = None
        odd = 0
        while odd < ASKED_AT_MOST:
            heard_at = self.heard_at
            answered = await ask()
            if self.offset is None or self.heard_at == heard_at:
                if answered:
                    return None  # a gateway that does not say what time it is
                await asyncio.sleep(ASKED_EVERY_S)
                continue
            if abs(self.offset) <= VENUE_TOLERANCE:
                return None
            if before is not None and abs(self.offset - before) <= VENUE_TOLERANCE:
                break
            before = self.offset
            odd += 1
        if self.offset is not None and self.offset < -VENUE_TOLERANCE:
            return self._anchor()
        if self.offset is not None and odd < ASKED_AT_MOST:
            self._follow(self.offset, self._clock.drift())
        return None

    def _anchor(self) -> timedelta | None:
        if self.stated is None or self.offset is None:
            return None
        moved, waited_s = self.offset, self._clock.monotonic() - (self.heard_at or 0.0)
        self._clock.anchor(self.stated + timedelta(seconds=waited_s))
        self.offset = timedelta(0)
        return moved


async def tick(
    clock: Clock, put: Callable[[Tick], None], lead: Callable[[], timedelta] = timedelta
) -> None:
    """One `Tick` each second, on the second of the monotonic clock, until cancelled."""
    due = clock.monotonic()
    while True:
        put(Tick(at=clock.now(), lead=lead()))
        # After standing still, one tick says it: those missed would all say the same.
        due = max(due + TICK.total_seconds(), clock.monotonic() - TICK.total_seconds())
        await asyncio.sleep(max(due - clock.monotonic(), 0))
