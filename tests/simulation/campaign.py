"""Many days at once: one process a core, and what they came to together."""

import gc
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context

from simulation.options import Options
from simulation.oracle import Violation
from simulation.world import DayResult, simulate


@dataclass(slots=True)
class Totals:
    """The days of a campaign added up. Spans are seconds from "must end" to "has ended"."""

    days: int = 0
    hours: float = 0.0
    events: int = 0
    trades: int = 0
    starts: int = 0
    requests: int = 0
    calls_a_minute_most: int = 0
    races: int = 0
    spans_well_s: list[float] = field(default_factory=list)
    spans_ill_s: list[float] = field(default_factory=list)
    reentries_s: list[float] = field(default_factory=list)
    spans_by_kind: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[Options, Violation]] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)

    def add(self, day: DayResult) -> None:
        self.days += 1
        self.hours += day.hours
        self.events += day.events
        self.trades += day.trades
        self.starts += day.lives
        self.requests += day.requests
        self.calls_a_minute_most = max(self.calls_a_minute_most, day.writes_a_minute_max)
        self.races += day.races
        self.spans_well_s += day.spans_well
        self.spans_ill_s += day.spans_ill
        self.reentries_s += day.reentries_s
        self.spans_by_kind.update(day.spans_by_kind)
        self.violations += [(day.options, v) for v in day.violations]
        self.digests[day.options.seed] = day.digest

    @property
    def digest(self) -> str:
        """One hash over the decisions of all days, in the order of their seeds."""
        text = "".join(digest for _, digest in sorted(self.digests.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def lines(self, took_s: float) -> list[str]:
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.spans_by_kind.most_common())
        return [
            f"{self.days} days, {self.hours:.0f} h in {took_s:.0f} s: {self.events} events, "
            f"{self.trades} trades, {self.starts} starts, {self.requests} requests",
            f"  broker well: what had to end ended {quantiles(self.spans_well_s)}",
            f"  broker ill:  what had to end ended {quantiles(self.spans_ill_s)}",
            f"  re-entries: a close asked for {quantiles(self.reentries_s)}",
            f"  by kind: {kinds}",
            f"  calls a minute at most {self.calls_a_minute_most}, races that nobody can avoid "
            f"{self.races}",
            f"  violations {len(self.violations)}, hash {self.digest[:32]}",
        ]


def quantiles(spans_s: list[float]) -> str:
    if not spans_s:
        return "(none)"
    spans_s = sorted(spans_s)
    p99 = spans_s[min(int(len(spans_s) * 0.99), len(spans_s) - 1)]
    half = spans_s[len(spans_s) // 2]
    return (
        f"within {half:.2f} s (p50), {p99:.2f} s (p99), {spans_s[-1]:.2f} s (max) of {len(spans_s)}"
    )


def days(
    chosen: Iterable[Options],
    *,
    processes: int = 1,
    keep_log: bool = False,
    until_s: float | None = None,
) -> Iterator[DayResult]:
    """Simulate each, as they are done. After `until_s` (monotonic) no further one begins."""
    waiting = iter(chosen)

    def further() -> Options | None:
        over = until_s is not None and time.monotonic() >= until_s
        return None if over else next(waiting, None)

    if processes <= 1:
        while (options := further()) is not None:
            yield _one(options, keep_log)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: set[Future[DayResult]] = set()
        while True:
            while len(running) < processes and (options := further()) is not None:
                running.add(pool.submit(_one, options, keep_log))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _one(options: Options, keep_log: bool) -> DayResult:
    result = simulate(options, keep_log=keep_log)
    gc.collect()  # the days are large and full of rings
    return result
