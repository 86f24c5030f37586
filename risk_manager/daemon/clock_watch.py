"""Compares the machine's clock, the daemon's and the gateway's, and says what differs."""

from collections.abc import Callable
from datetime import timedelta

from risk_manager.clock import CLOCK_IS_WRONG, Clock, SystemClock, VenueTime
from risk_manager.domain.health_issue import CLOCK_AHEAD, IssueKey, IssueKind

CLOCK_TURNED = timedelta(seconds=5)
LEAP_SHOWN_FOR_S = 600.0

LEAPT: IssueKey = (IssueKind.CLOCK_TURNED, None, "leapt")
DIFFER: IssueKey = (IssueKind.CLOCK_TURNED, None, "differ")
WALL: IssueKey = (IssueKind.CLOCK_TURNED, None, "wall")


class ClockWatch:
    """To be asked each second. `has_answered` says whether the gateway has answered any request.

    A clock that was injected, and not the system's, is not watched.
    """

    def __init__(
        self, clock: Clock, venue: VenueTime | None, has_answered: Callable[[], bool]
    ) -> None:
        self._clock = clock
        self._venue = venue
        self._has_answered = has_answered
        self._drift = clock.drift() if isinstance(clock, SystemClock) else timedelta(0)
        self._corrections_seen = self._corrections()
        self._turned_at_s: float | None = None
        self._leapt_at_s: float | None = None

    def issues(self) -> tuple[tuple[IssueKey, str], ...]:
        """Return each issue about the clocks with its reason; an empty reason means that it is
        over."""
        if not isinstance(self._clock, SystemClock):
            return ()
        drift = self._clock.drift()
        step, self._drift = drift - self._drift, drift
        corrections, before = self._corrections(), self._corrections_seen
        self._corrections_seen = corrections
        is_corrected = corrections != before
        self._watch_turns(drift, step, is_corrected)
        return (
            (WALL, self._wall_turned(drift)),
            (CLOCK_AHEAD, self.doubt_of_time()),
            (DIFFER, self._clocks_differ(drift)),
            (LEAPT, self._time_leapt(is_corrected)),
        )

    def doubt_of_time(self) -> str:
        """Return why no lock may end by the clock now; empty when our clock can be trusted."""
        if self._venue is None:
            return ""
        if self._venue.is_ahead:
            assert self._venue.offset is not None
            ahead_s = -self._venue.offset.total_seconds()
            return (
                f"the daemon's time is {ahead_s // 60 * 60:.0f} s or more later than the "
                "gateway's; no lock ends by the clock until they agree, restart the "
                "daemon to set it"
            )
        if self._venue.offset is not None or self._has_answered():
            return ""
        return (
            "the gateway has not said yet what time it is; no lock ends by the clock until it "
            "has answered"
        )

    def _watch_turns(self, drift: timedelta, step: timedelta, is_corrected: bool) -> None:
        """Note when the machine's clock was turned, until it is right or the gateway answers."""
        if abs(step) > CLOCK_TURNED and not is_corrected:
            self._turned_at_s = self._clock.monotonic()
        if self._turned_at_s is not None:
            heard_at = self._venue.heard_at if self._venue is not None else None
            is_confirmed = heard_at is not None and heard_at > self._turned_at_s
            if abs(drift) <= CLOCK_TURNED or is_confirmed:
                self._turned_at_s = None

    def _wall_turned(self, drift: timedelta) -> str:
        if self._turned_at_s is None:
            return ""
        return (
            f"the machine's clock was turned, it is {drift.total_seconds():+.0f} s off; "
            "the daemon's own time goes on as before"
        )

    def _clocks_differ(self, drift: timedelta) -> str:
        """Return how far the machine's clock and the gateway's differ; empty below a minute.

        Also empty while another issue about the same clocks stands.
        """
        lead = self._venue.lead if self._venue is not None else timedelta(0)
        if lead > CLOCK_IS_WRONG:
            return (
                f"the gateway's time is {_minutes(lead)} later than this machine's clock; locks "
                "and the trading day end once both have come so far. If it is this machine's "
                "clock that is wrong, set it"
            )
        is_ahead = self._venue is not None and self._venue.is_ahead
        if abs(drift) > CLOCK_IS_WRONG and self._turned_at_s is None and not is_ahead:
            later = "later" if drift > timedelta(0) else "earlier"
            return (
                f"this machine's clock is {_minutes(abs(drift))} {later} than the gateway's time, "
                "by which the daemon goes; set it"
            )
        return ""

    def _time_leapt(self, is_corrected: bool) -> str:
        """Return how far the time jumped forward, for a while after the jump.

        A suspension looks the same as both clocks set forward.
        """
        mono_s = self._clock.monotonic()
        leapt = self._venue.leapt if self._venue is not None else timedelta(0)
        if is_corrected and leapt > CLOCK_IS_WRONG:
            self._leapt_at_s = mono_s
        if self._leapt_at_s is not None and mono_s - self._leapt_at_s > LEAP_SHOWN_FOR_S:
            self._leapt_at_s = None
        if self._leapt_at_s is None:
            return ""
        return (
            f"the time went forward by {_minutes(leapt)}, as this machine's clock and the gateway "
            "both say; locks may have ended by it"
        )

    def _corrections(self) -> int:
        return self._venue.corrections if self._venue is not None else 0


def _minutes(span: timedelta) -> str:
    """Format a span in minutes, rounded so that the sentence does not change each second."""
    minutes = round(span / timedelta(minutes=1))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
