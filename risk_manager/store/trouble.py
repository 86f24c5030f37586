"""Disk trouble: reported when it begins, from time to time while it lasts, and when it is over."""

from collections.abc import Callable
from datetime import timedelta

from risk_manager.clock import Clock

REMIND_EVERY = timedelta(seconds=10)

TroubleListener = Callable[[str | None], None]


class Trouble:
    """`reason` says why changes are for now only in memory; None while everything is written."""

    def __init__(self, clock: Clock, report: TroubleListener) -> None:
        self.reason: str | None = None
        self.report = report
        """Reports a problem that does not keep anything from being written."""
        self._clock = clock
        self._reminded_at = 0.0

    def begins(self, reason: str) -> None:
        """Note that writing fails. Reported at once, unless an earlier reason was already."""
        is_new = self.reason is None
        self.reason = reason
        if is_new:
            self._reminded_at = self._clock.monotonic()
            self.report(reason)

    def is_over(self) -> None:
        """Note that everything is written again."""
        if self.reason is not None:
            self.reason = None
            self.report(None)

    def remind(self) -> None:
        """Report the trouble again if it lasts and was not reported for a while."""
        now = self._clock.monotonic()
        if self.reason is not None and now - self._reminded_at >= REMIND_EVERY.total_seconds():
            self._reminded_at = now
            self.report(self.reason)
