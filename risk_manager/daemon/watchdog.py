"""The daemon's checks of itself each second: pace, clock, reads, memory and streams."""

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from risk_manager.clock import CLOCK_IS_WRONG, Clock, SystemClock, VenueTime, elapsed
from risk_manager.domain.events import AnyEvent, HealthIssueChanged, Hub
from risk_manager.domain.health_issue import CLOCK_AHEAD, HealthIssue, IssueKey, IssueKind
from risk_manager.domain.state import State

BEAT_S = 1.0
STOOD_STILL_S = 5.0
LAG_TOLD_S = 0.1
LAG_IN_DOUBT_S = 1.0
MEMORY_EVERY = 30
MEMORY_IN_DOUBT_MB = 500.0
CLOCK_TURNED = timedelta(seconds=5)
LEAP_TOLD_FOR_S = 600.0
BETWEEN_REBUILDS_S = 60.0

SLOW: IssueKey = (IssueKind.SLOW, None, "loop")
GROWN: IssueKey = (IssueKind.SLOW, None, "memory")
LEAPT: IssueKey = (IssueKind.CLOCK_TURNED, None, "leapt")
DIFFER: IssueKey = (IssueKind.CLOCK_TURNED, None, "differ")
WALL: IssueKey = (IssueKind.CLOCK_TURNED, None, "wall")

log = structlog.get_logger("risk_manager.daemon.watchdog")


class ReadStatus(Protocol):
    """The success of reading one account over REST."""

    @property
    def last_ok_at(self) -> datetime | None: ...

    @property
    def failing_since(self) -> datetime | None: ...

    @property
    def reason(self) -> str: ...

    @property
    def is_absent(self) -> bool: ...


class Reads(Protocol):
    """The part of the reconciler that the watchdog uses."""

    def status(self, account_id: int) -> ReadStatus: ...

    def ask(self, account_id: int | None = None) -> None: ...


class Watchdog:
    """Run `run` in a task. Health issues go into the inbox as events; remedies are asked for at
    once.

    The event loop itself touches the heartbeat file once a second, so that the file's age shows
    from outside whether the loop hangs.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        state: Callable[[], State],
        reads: Reads,
        mark_suspect: Callable[[Hub, str], None],
        heartbeat: Path,
        venue: VenueTime | None = None,
        elapsed: Callable[[], float] = elapsed,
        resident_mb: Callable[[], float | None] | None = None,
    ) -> None:
        self.worst_lag_s = 0.0
        self._clock = clock
        self._put = put
        self._state = state
        self._reads = reads
        self._mark_suspect = mark_suspect
        self._heartbeat = heartbeat
        self._venue = venue
        self._elapsed = elapsed
        self._resident_mb = resident_mb or memory_mb
        self._said: dict[IssueKey, str] = {}
        self._beats = 0
        self._drift = clock.drift() if isinstance(clock, SystemClock) else timedelta(0)
        self._corrected = self._corrections()
        self._turned_at: float | None = None
        self._leapt_at: float | None = None
        self._rebuilt_at: float | None = None
        self._remedied: set[IssueKey] = set()

    async def run(self) -> None:
        """Check each second until cancelled."""
        self._touch()
        before, before_mono = self._elapsed(), self._clock.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now, mono = self._elapsed(), self._clock.monotonic()
            gap_s, lag_s = now - before - BEAT_S, mono - before_mono - BEAT_S
            before, before_mono = now, mono
            self.beat(gap_s, lag_s)

    def beat(self, gap_s: float, lag_s: float) -> None:
        """Run one check. `gap_s` is how late it is in all; `lag_s` leaves out time suspended."""
        self._beats += 1
        self._touch()
        if gap_s > STOOD_STILL_S:
            self._stood_still(gap_s)
        else:
            self._pace(lag_s)
        self._watch_clock()
        self._watch_reads()
        self._remedy()
        if self._beats % MEMORY_EVERY == 1:
            self._watch_memory()

    # --- the daemon itself ---

    def _touch(self) -> None:
        try:
            os.utime(self._heartbeat)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                self._heartbeat.touch(mode=0o600)
        except OSError as error:
            if self._beats % MEMORY_EVERY == 1:
                log.warning("heartbeat_unwritable", reason=str(error))

    def _stood_still(self, gap_s: float) -> None:
        log.warning("stood_still", seconds=round(gap_s, 1))
        self._put(
            HealthIssueChanged(
                at=self._clock.now(),
                doubt=IssueKind.SUSPENDED,
                reason=f"the machine or the daemon stood still for {gap_s:.0f} s; "
                "everything is read anew",
            )
        )
        self._reads.ask()

    def _pace(self, lag_s: float) -> None:
        self.worst_lag_s = max(self.worst_lag_s, lag_s)
        if lag_s > LAG_TOLD_S:
            log.warning("loop_lags", lag_ms=round(lag_s * 1000))
        self._say(SLOW, f"the daemon lags by {lag_s:.1f} s" if lag_s > LAG_IN_DOUBT_S else "")

    def _watch_memory(self) -> None:
        used = self._resident_mb()
        grown = used is not None and used > MEMORY_IN_DOUBT_MB
        # Rounded, so that not every megabyte causes a new report.
        self._say(
            GROWN, f"the daemon uses over {used // 100 * 100:.0f} MB" if grown and used else ""
        )

    # --- time ---

    def _watch_clock(self) -> None:
        if not isinstance(self._clock, SystemClock):
            return
        mono = self._clock.monotonic()
        drift = self._clock.drift()
        step, self._drift = drift - self._drift, drift
        corrections, before = self._corrections(), self._corrected
        self._corrected = corrections
        if abs(step) > CLOCK_TURNED and corrections == before:
            self._turned_at = mono
        if self._turned_at is not None:
            heard_at = self._venue.heard_at if self._venue is not None else None
            confirmed = heard_at is not None and heard_at > self._turned_at
            if abs(drift) <= CLOCK_TURNED or confirmed:
                self._turned_at = None
        self._say(
            WALL,
            f"the machine's clock was turned, it is {drift.total_seconds():+.0f} s off; "
            "the daemon's own time goes on as before"
            if self._turned_at is not None
            else "",
        )
        self._say(CLOCK_AHEAD, self._time_in_doubt())
        self._say(DIFFER, self._clocks_differ(drift))
        self._watch_leaps(corrections != before)

    def _watch_leaps(self, is_corrected: bool) -> None:
        """Check for a forward jump of the time. A suspension looks the same as both clocks set
        forward."""
        mono = self._clock.monotonic()
        leapt = self._venue.leapt if self._venue is not None else timedelta(0)
        if is_corrected and leapt > CLOCK_IS_WRONG:
            self._leapt_at = mono
        if self._leapt_at is not None and mono - self._leapt_at > LEAP_TOLD_FOR_S:
            self._leapt_at = None
        told = (
            f"the time went forward by {_minutes(leapt)}, as this machine's clock and the gateway "
            "both say; locks may have ended by it"
        )
        self._say(LEAPT, told if self._leapt_at is not None else "")

    def first_doubt_of_time(self) -> HealthIssueChanged | None:
        """Return a clock issue, if any, before the first event that could end a lock."""
        reason = self._time_in_doubt()
        if not reason:
            return None
        self._said[CLOCK_AHEAD] = reason
        kind, account_id, subject = CLOCK_AHEAD
        return HealthIssueChanged(
            at=self._clock.now(), doubt=kind, account_id=account_id, subject=subject, reason=reason
        )

    def _time_in_doubt(self) -> str:
        """Return why no lock may end by the clock now; empty when our clock can be trusted."""
        if self._venue is None:
            return ""
        if self._venue.is_ahead:
            assert self._venue.offset is not None
            ahead = -self._venue.offset.total_seconds()
            return (
                f"the daemon's time is {ahead // 60 * 60:.0f} s or more later than the gateway's; "
                "no lock ends by the clock until they agree, restart the daemon to set it"
            )
        has_answered = self._venue.offset is not None or any(
            self._reads.status(account_id).last_ok_at for account_id in self._state().accounts
        )
        if has_answered:
            return ""
        return (
            "the gateway has not said yet what time it is; no lock ends by the clock until it "
            "has answered"
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
        if abs(drift) > CLOCK_IS_WRONG and self._turned_at is None and not self._is_ahead():
            later = "later" if drift > timedelta(0) else "earlier"
            return (
                f"this machine's clock is {_minutes(abs(drift))} {later} than the gateway's time, "
                "by which the daemon goes; set it"
            )
        return ""

    def _is_ahead(self) -> bool:
        return self._venue is not None and self._venue.is_ahead

    def _corrections(self) -> int:
        return self._venue.corrections if self._venue is not None else 0

    # --- the broker ---

    def _watch_reads(self) -> None:
        for account_id in self._state().accounts:
            status = self._reads.status(account_id)
            self._say(
                (IssueKind.ACCOUNT_MISSING, account_id, ""),
                missing_from_login(account_id) if status.is_absent else "",
            )
            self._say(
                (IssueKind.READS_FAILING, account_id, ""),
                f"account {account_id} cannot be read: {status.reason or 'no answer'}"
                if status.failing_since is not None and not status.is_absent
                else "",
            )

    def _remedy(self) -> None:
        """Ask for the remedy of each health issue, once each time the issue begins."""
        standing = {key: d for key, d in self._state().health_issues.items() if d.stands}
        self._remedied &= standing.keys()
        for key, doubt in standing.items():
            if key not in self._remedied and self._is_remedied(doubt):
                self._remedied.add(key)

    def _is_remedied(self, doubt: HealthIssue) -> bool:
        match doubt.kind:
            case IssueKind.POSITIONS_DIFFER:
                mono = self._clock.monotonic()
                if self._rebuilt_at is not None and mono - self._rebuilt_at < BETWEEN_REBUILDS_S:
                    return False  # a mute stream is not reconnected each second
                self._rebuilt_at = mono
                self._mark_suspect(Hub.USER, doubt.reason)
            case IssueKind.PNL_DIFFERS:
                self._reads.ask(doubt.account_id)
        return True

    def _say(self, key: IssueKey, reason: str) -> None:
        """Put an event when the reason of an issue has changed."""
        if self._said.get(key, "") == reason:
            return
        self._said[key] = reason
        kind, account_id, subject = key
        self._put(
            HealthIssueChanged(
                at=self._clock.now(),
                doubt=kind,
                account_id=account_id,
                subject=subject,
                reason=reason,
            )
        )


def _minutes(span: timedelta) -> str:
    """Format a span in minutes, rounded so that the sentence does not change each second."""
    minutes = round(span / timedelta(minutes=1))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def missing_from_login(account_id: int) -> str:
    """Return what is wrong with a configured account that is not in the login, and what to do."""
    return (
        f"account {account_id} is not in this login and NOT guarded: it was closed, reset under a "
        "new number, or belongs to another login; put the right number into accounts.yaml, or "
        "take it out, and restart"
    )


def memory_mb() -> float | None:
    """Return the resident memory of this process in MB; None where it cannot be read."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return None
    if sys.platform == "win32":
        return _windows_memory_mb()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _windows_memory_mb() -> float | None:
    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("faults", ctypes.c_uint32),
            *(
                (name, ctypes.c_size_t)
                for name in ("peak", "resident", "a", "b", "c", "d", "e", "f")
            ),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    windll = getattr(ctypes, "windll", None)
    if windll is None:
        return None
    process = ctypes.c_void_p(-1)  # the pseudo handle that GetCurrentProcess returns
    if not windll.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb):
        return None
    return float(counters.resident) / 1e6
