"""One long life without a restart: what memory and the database grow by."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import linear_regression

import psutil
from simulation.options import Options, options_for
from simulation.oracle import Violation
from simulation.world import World, simulate

HOURS = 24.0
SAMPLE_EVERY_S = 1800.0
WARM_UP_HOURS = 4.0
DAYS_A_YEAR = 252


@dataclass(slots=True)
class Grown:
    """Sizes by simulated hour. The memory is the whole process's, the exchange and the judge
    with all they remember included: what the daemon alone grows by is less."""

    options: Options
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    database_mb: list[tuple[float, float]] = field(default_factory=list)
    journal_mb: float = 0.0
    events: int = 0
    trades: int = 0
    violations: tuple[Violation, ...] = ()

    @property
    def memory_mb_a_day(self) -> float:
        return 24 * _slope(self.memory_mb)

    @property
    def database_mb_a_day(self) -> float:
        return 24 * _slope(self.database_mb)

    @property
    def hours(self) -> float:
        return self.memory_mb[-1][0] if self.memory_mb else 0.0

    def lines(self) -> list[str]:
        first, last = self.memory_mb[0][1], self.memory_mb[-1][1]
        return [
            f"{self.hours:.0f} h in one life, seed {self.options.seed}: {self.events} events, "
            f"{self.trades} trades",
            f"  memory {first:.1f} MB, at the end {last:.1f} MB: {self.memory_mb_a_day:+.2f} MB a "
            "day after the first hours, the simulated exchange included",
            f"  database {self.database_mb[-1][1]:.2f} MB at the end, "
            f"{self.database_mb_a_day:+.2f} MB a day",
            f"  violations {len(self.violations)}: {[v.kind for v in self.violations]}",
        ]


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    late = [(hour, size) for hour, size in samples if hour >= WARM_UP_HOURS]
    if len(late) < 2:
        return 0.0
    hours, sizes = zip(*late, strict=True)
    return linear_regression(hours, sizes).slope


def soak(seed: int, *, hours: float = HOURS) -> Grown:
    """Trade for so long under a rough sky, without a restart, and look every half hour."""
    options = replace(
        options_for(seed, hours=hours, sky="ill"), wall_step_seconds=0.0, trades_per_hour=15.0
    )
    options = replace(
        options,
        weather=replace(options.weather, crashes=0.0, crash_at_commit=0.0, clean_restarts=0.0),
    )
    grown = Grown(options)

    async def watch(world: World) -> None:
        process = psutil.Process()
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            gc.collect()
            hour = world.now / 3600
            grown.memory_mb.append((hour, process.memory_info().rss / 1e6))
            grown.database_mb.append((hour, _size_mb(world.folder)))

    result = simulate(options, watch=watch)
    grown.events, grown.trades = result.events, result.trades
    grown.violations = result.violations
    return grown


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("state.db*")) / 1e6
