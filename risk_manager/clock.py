"""The clock that stamps every event, the gateway's time, and the one-second ticker."""

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
"""Tolerance for a Date header, which has whole seconds and is delayed by the network."""
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
    """Return seconds since some instant, including suspended time where the system allows it."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()  # on Windows it goes on while the machine sleeps


class SystemClock:
    """The wall time read once, and then advanced by a monotonic clock.

    A change of the machine's clock while the daemon runs therefore has no effect. `drift` is how
    far the wall clock has moved away since. `correct` follows a trusted time (the gateway's).
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
        """Return wall clock minus this clock."""
        return self._wall() - self.now()

    def correct(self, trusted: datetime) -> None:
        """Move forward to a trusted time; never back."""
        if trusted > self.now():
            self.anchor(trusted)

    def anchor(self, trusted: datetime) -> None:
        """Set to a trusted time, even backwards. Only while nothing was judged by this clock."""
        self._anchor = trusted
        self._anchored_at = self._elapsed()


class VenueTime:
    """Compares the gateway's time, as its answers state it, with our clock.

    Neither the gateway's time nor the machine's clock is believed alone. The earlier one counts, so
    that locks may last too long but never too short. Our clock follows the gateway's forward only
    as far as the machine's clock, and is set back only before anything is judged. A single odd
    header has no effect. `lead` is how far the gateway's time is ahead of ours. `is_ahead` says
    that our clock is later than the gateway's and must not be believed.
    """

    def __init__(self, clock: SystemClock) -> None:
        self.stated: datetime | None = None
        self.offset: timedelta | None = None
        """The gateway's time minus ours at its last answer; None before the first."""
        self.heard_at: float | None = None
        self.corrections = 0
        self.leapt = timedelta(0)
        """The size of the last correction."""
        self.lead = timedelta(0)
        """How far the gateway's time is ahead of ours without the machine's clock confirming it."""
        self._clock = clock
        self._said_before: tuple[timedelta, float] | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether our clock is later than the gateway's by more than any delay explains."""
        return self.offset is not None and self.offset < -CLOCK_IS_WRONG

    def note(self, header: str) -> None:
        """Take the Date header of an answer into account; an invalid one is ignored."""
        try:
            stated = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return
        if stated.tzinfo is not None:
            self.hear(stated)

    def hear(self, stated: datetime) -> None:
        """Take a time stated by the gateway into account."""
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
        """Move forward to the earlier of gateway time and machine time; the rest is the lead."""
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
        """Set our clock back to the gateway's time if that is earlier, before anything is judged.

        Returns by how much. `ask` makes the gateway state its time and returns whether it answered.
        It is called once a second until it does, as a lock could end early by an unconfirmed clock.
        If the gateway's time is later than ours, our clock stays (see `lead`) once the gateway has
        stated the same twice, as a single header may be odd. If it never states the same twice, the
        clock is only ever set back.
        """
        before: timedelta | None = None
        odd = 0
        while odd < ASKED_AT_MOST:
            heard_at = self.heard_at
            answered = await ask()
            if self.offset is None or self.heard_at == heard_at:
                if answered:
                    return None  # the gateway sends no Date header
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
        # After a suspension one tick is enough: the missed ones would all say the same.
        due = max(due + TICK.total_seconds(), clock.monotonic() - TICK.total_seconds())
        await asyncio.sleep(max(due - clock.monotonic(), 0))
