"""The gateway's requests per minute: how many reads may be sent now, and when the next one may."""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from risk_manager.broker.single_requests import Lane
from risk_manager.domain.read_budget import READS_A_MINUTE

PAUSE_WITHOUT_ADVICE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_OF_LOOKS_SECONDS = 2.0
READS_OF_A_CALL = 4
"""An estimate of the reads that go with one call, routine reads of that time included."""
READS_OF_A_START = 10
LOOKS_AT_LEAST = 2
LOOKS_AT_LEAST_WITHIN_SECONDS = 5.0
"""A spent budget still lets positions and orders of each account be looked at so often, as after a
crash much of it is an estimate, while fewer than `MOST_REQUESTS` of the gateway's 200 are counted
in all."""
MOST_REQUESTS = 175

type Subject = int | None
"""The account that a read is about; None for others, as for a contract's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How the gateway's 200 requests a minute are shared, and how long an answer is awaited.

    Per `window_seconds`, the slow lane has `reads`. The fast lane has `looks` (reads that belong to
    enforcement); more of them use the slow lane. Both kinds together are limited to
    `reads_and_looks`. Each close or cancel lowers `reads_and_looks` by one and `reads` by two, as
    more calls and their looks are likely to follow. `at_least` reads are always allowed. Closes and
    cancels are not limited here.
    """

    reads: int = READS_A_MINUTE
    looks: int = 50
    reads_and_looks: int = 160
    at_least: int = 30
    window_seconds: float = 60.0
    act_seconds: float = 3.5
    cancel_seconds: float = 2.0  # shorter, as a cancel sent twice does no harm
    look_seconds: float = 1.0
    double_seconds: float = 2.5  # after so long without an answer, a read is sent once more
    read_seconds: float = 9.0
    patience_seconds: float = 1.0


class _Window:
    """Counts the requests sent in the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        self._times.append(now)

    def count(self, now: float) -> int:
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        return len(self._times)

    def room_in_seconds(self, limit: int, now: float) -> float:
        """Return how long until one more may be sent; 0 for now."""
        over = self.count(now) - limit
        return 0.0 if over < 0 else self._times[over] + self._seconds - now


class RequestBudget:
    """Counts what was sent in the last minute. Times are monotonic seconds, given by the caller.

    Closes and cancels are counted and never held back. Each of them leaves less room for reads.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._fast = _Window(limits.window_seconds)
        self._slow = _Window(limits.window_seconds)
        self._acts = _Window(limits.window_seconds)
        self._all_reads = _Window(limits.window_seconds)
        self._looks_lately: defaultdict[Subject, _Window] = defaultdict(
            lambda: _Window(LOOKS_AT_LEAST_WITHIN_SECONDS)
        )
        self._reads_paused_until = 0.0
        self._looks_paused_until = 0.0

    def count_act(self, lane: Lane, now: float) -> None:
        self._own(lane).add(now)
        self._acts.add(now)

    def count_read(self, lane: Lane, now: float) -> None:
        self._own(lane).add(now)
        self._all_reads.add(now)

    def note_look(self, subject: Subject, now: float) -> None:
        """Note that a read of enforcement is about to be sent, on whichever lane."""
        self._looks_lately[subject].add(now)

    def take_up(self, calls_ago: Iterable[timedelta], now: float) -> None:
        """Count the calls of an earlier run, and an estimate of the reads that went with them.

        `calls_ago` says how long ago each call was. Room is left for the few reads of a start.
        """
        ages = sorted(max(ago.total_seconds(), 0.0) for ago in calls_ago)
        calls = [now - age for age in reversed(ages) if age < self._limits.window_seconds]
        for at in calls:
            self._acts.add(at)
        most = max(self._reads_of_all_lanes(now) - READS_OF_A_START, 0)
        reads = [at for at in calls for _ in range(READS_OF_A_CALL)]
        for at in reads[max(len(reads) - most, 0) :]:
            self._all_reads.add(at)

    def pause(self, advised_seconds: float | None, now: float) -> None:
        """Pause reads after a 429, for as long as the gateway asks within limits.

        Also after a 429 on a close: requests that reads do not use are left for the next close.
        Looks pause only briefly, so that a close or cancel gets the next free request.
        """
        pause = PAUSE_WITHOUT_ADVICE_SECONDS if advised_seconds is None else advised_seconds
        until = now + min(pause, LONGEST_PAUSE_SECONDS)
        self._reads_paused_until = max(self._reads_paused_until, until)
        until = now + min(pause, LONGEST_PAUSE_OF_LOOKS_SECONDS)
        self._looks_paused_until = max(self._looks_paused_until, until)

    def reads_paused_seconds(self, now: float) -> float:
        return max(self._reads_paused_until - now, 0.0)

    def reads_left(self, now: float) -> int:
        """Return how many reads the slow lane may send now; 0 while reads are paused."""
        if now < self._reads_paused_until:
            return 0
        own = self._reads_allowed(now) - self._slow.count(now)
        return max(min(own, self._shared_left(now)), 0)

    def looks_left(self, now: float) -> int:
        """Return how many reads the fast lane may send now; 0 while looks are paused."""
        if now < self._looks_paused_until:
            return 0
        own = self._limits.looks - self._fast.count(now)
        least = 1 if self._may_look_at_least(now) else 0
        return max(min(own, self._shared_left(now)), least)

    def read_in_seconds(self, now: float) -> float:
        """Return how long until a read that can wait may be sent; 0 or less for now."""
        return max(
            self._reads_paused_until - now,
            self._shared_room_in_seconds(now),
            self._slow.room_in_seconds(self._reads_allowed(now), now),
        )

    def lane_of_look(self, now: float) -> Lane:
        return Lane.FAST if self._fast.count(now) < self._limits.looks else Lane.SLOW

    def look_in_seconds(self, lane: Lane, subject: Subject, now: float) -> float:
        """Return how long until a read of enforcement may be sent; 0 or less for now."""
        if now < self._looks_paused_until:
            return self._looks_paused_until - now
        wait = self._shared_room_in_seconds(now)
        if lane is Lane.SLOW:
            wait = max(wait, self._slow.room_in_seconds(self._limits.reads, now))
        return min(wait, self._least_look_in_seconds(subject, now))

    def _least_look_in_seconds(self, subject: Subject, now: float) -> float:
        """Return how long until the next look that even a spent budget allows."""
        wait = self._looks_lately[subject].room_in_seconds(LOOKS_AT_LEAST, now)
        return wait if self._may_look_at_least(now) else max(wait, LOOKS_AT_LEAST_WITHIN_SECONDS)

    def _may_look_at_least(self, now: float) -> bool:
        return self._all_reads.count(now) + self._acts.count(now) < MOST_REQUESTS

    def _own(self, lane: Lane) -> _Window:
        return self._fast if lane is Lane.FAST else self._slow

    def _shared_left(self, now: float) -> int:
        return self._reads_of_all_lanes(now) - self._all_reads.count(now)

    def _shared_room_in_seconds(self, now: float) -> float:
        # The rest of the gateway's limit is reserved for closes and cancels.
        return self._all_reads.room_in_seconds(self._reads_of_all_lanes(now), now)

    def _reads_of_all_lanes(self, now: float) -> int:
        limits = self._limits
        return max(limits.reads_and_looks - self._acts.count(now), 2 * limits.at_least)

    def _reads_allowed(self, now: float) -> int:
        limits = self._limits
        return max(limits.reads - 2 * self._acts.count(now), min(limits.at_least, limits.reads))
