"""Trouble with the disk: told when it begins, now and then while it lasts, and when it is over."""

from collections.abc import Callable
from datetime import timedelta

from risk_manager.clock import Clock

REMIND_EVERY = timedelta(seconds=10)

TroubleListener = Callable[[str | None], None]


class Trouble:
    """`reason` says why what happens is for now only in memory; None while all is written."""

    def __init__(self, clock: Clock, tell: TroubleListener) -> None:
        self.reason: str | None = None
        self.tell = tell
        """Tells people of something that is wrong and needs no writing to wait."""
        self._clock = clock
        self._reminded_at = 0.0

    def begins(self, reason: str) -> None:
        """Writing fails. Told at once, unless an earlier reason has been told already."""
        is_new = self.reason is None
        self.reason = reason
        if is_new:
            self._reminded_at = self._clock.monotonic()
            self.tell(reason)

    def is_over(self) -> None:
        """All is written again."""
        if self.reason is not None:
            self.reason = None
            self.tell(None)

    def remind(self) -> None:
        """Tell it again, if it lasts and has not been told for a while."""
        now = self._clock.monotonic()
        if self.reason is not None and now - self._reminded_at >= REMIND_EVERY.total_seconds():
            self._reminded_at = now
            self.tell(self.reason)
