"""The daemon's checks of itself each second: pace, clock, reads, memory and streams."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from risk_manager.clock import Clock, VenueTime, elapsed
from risk_manager.daemon.clock_watch import ClockWatch
from risk_manager.daemon.process_memory import memory_mb
from risk_manager.domain.events import AnyEvent, HealthIssueChanged, Hub
from risk_manager.domain.health_issue import CLOCK_AHEAD, HealthIssue, IssueKey, IssueKind
from risk_manager.domain.state import State

BEAT_S = 1.0
STOOD_STILL_S = 5.0
LAG_LOGGED_S = 0.1
LAG_IN_DOUBT_S = 1.0
MEMORY_EVERY = 30
MEMORY_IN_DOUBT_MB = 500.0
BETWEEN_REBUILDS_S = 60.0

SLOW: IssueKey = (IssueKind.SLOW, None, "loop")
GROWN: IssueKey = (IssueKind.SLOW, None, "memory")

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
    """Checks each second, in `run`. Health issues go into the inbox as events; their remedies are
    requested at once.

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
        after_cycle: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.worst_lag_s = 0.0
        self._clock = clock
        self._put = put
        self._state = state
        self._reads = reads
        self._mark_suspect = mark_suspect
        self._heartbeat = heartbeat
        self._clocks = ClockWatch(clock, venue, self._has_answered)
        self._elapsed = elapsed
        self._resident_mb = resident_mb or memory_mb
        self._reasons: dict[IssueKey, str] = {}
        self._after_cycle = after_cycle
        self._beats = 0
        self._rebuilt_at_s: float | None = None
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
        self._watch_clocks()
        self._watch_reads()
        self._remedy()
        if self._beats % MEMORY_EVERY == 1:
            self._watch_memory()
        self._after_cycle(lag_s)

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
        if lag_s > LAG_LOGGED_S:
            log.warning("loop_lags", lag_ms=round(lag_s * 1000))
        self._put_issue(SLOW, f"the daemon lags by {lag_s:.1f} s" if lag_s > LAG_IN_DOUBT_S else "")

    def _watch_memory(self) -> None:
        used = self._resident_mb()
        grown = used is not None and used > MEMORY_IN_DOUBT_MB
        # Rounded, so that not every megabyte causes a new report.
        self._put_issue(
            GROWN, f"the daemon uses over {used // 100 * 100:.0f} MB" if grown and used else ""
        )

    # --- time ---

    def _watch_clocks(self) -> None:
        for key, reason in self._clocks.issues():
            self._put_issue(key, reason)

    def first_doubt_of_time(self) -> HealthIssueChanged | None:
        """Return a clock issue, if any, before the first event that could end a lock."""
        reason = self._clocks.doubt_of_time()
        if not reason:
            return None
        self._reasons[CLOCK_AHEAD] = reason
        kind, account_id, subject = CLOCK_AHEAD
        return HealthIssueChanged(
            at=self._clock.now(), doubt=kind, account_id=account_id, subject=subject, reason=reason
        )

    def _has_answered(self) -> bool:
        """Whether the gateway has answered a reading of any account."""
        return any(
            self._reads.status(account_id).last_ok_at for account_id in self._state().accounts
        )

    # --- the broker ---

    def _watch_reads(self) -> None:
        for account_id in self._state().accounts:
            status = self._reads.status(account_id)
            self._put_issue(
                (IssueKind.ACCOUNT_MISSING, account_id, ""),
                missing_from_login(account_id) if status.is_absent else "",
            )
            self._put_issue(
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
                now_s, before_s = self._clock.monotonic(), self._rebuilt_at_s
                if before_s is not None and now_s - before_s < BETWEEN_REBUILDS_S:
                    return False  # a mute stream is not reconnected each second
                self._rebuilt_at_s = now_s
                self._mark_suspect(Hub.USER, doubt.reason)
            case IssueKind.PNL_DIFFERS:
                self._reads.ask(doubt.account_id)
        return True

    def _put_issue(self, key: IssueKey, reason: str) -> None:
        """Put an event when the reason of an issue has changed."""
        if self._reasons.get(key, "") == reason:
            return
        self._reasons[key] = reason
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


def missing_from_login(account_id: int) -> str:
    """Return what is wrong with a configured account that is not in the login, and what to do."""
    return (
        f"account {account_id} is not in this login and NOT guarded: it was closed, reset under a "
        "new number, or belongs to another login; put the right number into accounts.yaml, or "
        "take it out, and restart"
    )
