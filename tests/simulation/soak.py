"""One long life without a restart: what memory and the database grow by."""

import asyncio
import gc
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from pathlib import Path
from statistics import linear_regression

import apsw
import psutil
from simulation.options import Options, Sky, options_for
from simulation.oracle import Violation
from simulation.world import World, simulate

import risk_manager
from risk_manager.store.upkeep import RETENTION, YEAR

HOURS = 72.0
BEGINS = date(2026, 11, 16)  # a Monday: three resets, no weekend
SAMPLE_EVERY_S = 1800.0
WARM_UP_HOURS = 4.0
TRADES_PER_HOUR = 2.0
TRADING_DAYS = 252

_CODE = Path(risk_manager.__file__).parent
_OTHER_SIDE = _CODE / "practice"  # the simulated exchange keeps all it ever did
_OURS = (
    tracemalloc.Filter(True, f"{_CODE}/*"),
    tracemalloc.Filter(False, f"{_OTHER_SIDE}/*"),
)


@dataclass(slots=True)
class Grown:
    """Sizes in MB by simulated hour: what the daemon's own code holds; the whole process, with
    the exchange and the judge and all they remember; each table of the database with its
    indexes."""

    options: Options
    daemon_mb: list[tuple[float, float]] = field(default_factory=list)
    process_mb: list[tuple[float, float]] = field(default_factory=list)
    tables_mb: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    events: int = 0
    trades: int = 0
    violations: tuple[Violation, ...] = ()

    @property
    def daemon_mb_a_day(self) -> float:
        return 24 * _slope(self.daemon_mb)

    @property
    def hours(self) -> float:
        return self.daemon_mb[-1][0] if self.daemon_mb else 0.0

    @property
    def executions_a_day(self) -> float:
        return 24 * self.trades / max(self.hours, 1.0)

    @property
    def audit_mb_a_year(self) -> float:
        return self._kept_mb("audit")

    @property
    def database_mb_a_year(self) -> float:
        """What a year of such days leaves behind, of each table as much as is kept."""
        return sum(self._kept_mb(table) for table in self.tables_mb[-1][1])

    def _kept_mb(self, table: str) -> float:
        kept_for, _ = RETENTION.get(table, (YEAR, ""))
        days = TRADING_DAYS * min(kept_for / YEAR, 1.0)
        return 24 * _slope([(hour, sizes.get(table, 0.0)) for hour, sizes in self.tables_mb]) * days

    def lines(self) -> list[str]:
        return [
            f"{self.hours:.0f} h in one life, seed {self.options.seed}, broker {self.options.sky}: "
            f"{self.events} events, {self.trades} executions",
            f"  the daemon's own memory {_ends(self.daemon_mb)}: {self.daemon_mb_a_day:+.2f} MB "
            "a day after the first hours",
            f"  the whole process with the simulated exchange {_ends(self.process_mb)}",
            f"  the database {_ends(self._database_mb())}: after a year "
            f"{self.database_mb_a_year:.0f} MB, of it {self.audit_mb_a_year:.0f} MB the record",
            f"  violations {len(self.violations)} {[v.kind for v in self.violations]}",
        ]

    def _database_mb(self) -> list[tuple[float, float]]:
        return [(hour, sum(sizes.values())) for hour, sizes in self.tables_mb]


def _ends(samples: Sequence[tuple[float, float]]) -> str:
    return f"{samples[0][1]:.1f} MB at first, {samples[-1][1]:.1f} MB in the end"


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    late = [(hour, size) for hour, size in samples if hour >= WARM_UP_HOURS]
    if len(late) < 2:
        return 0.0
    hours, sizes = zip(*late, strict=True)
    return linear_regression(hours, sizes).slope


def soak(seed: int, *, hours: float = HOURS, sky: Sky = "ill") -> Grown:
    """An ordinary trader under one sky, without a restart; a look every half hour.

    What grows with time must show, so it is not a trader who makes a thousand trades a day.
    """
    options = options_for(seed, hours=hours, sky=sky, day=BEGINS)
    options = replace(
        options,
        wall_step_seconds=0.0,
        begins=time(9, 20),
        accounts=(101,),
        trades_per_hour=TRADES_PER_HOUR,
        spam=0.0,
        weather=replace(options.weather, crashes=0.0, crash_at_commit=0.0, clean_restarts=0.0),
    )
    grown = Grown(options)

    async def watch(world: World) -> None:
        process = psutil.Process()
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            gc.collect()
            hour = world.now / 3600
            grown.daemon_mb.append((hour, _held_by_the_daemon_mb()))
            grown.process_mb.append((hour, process.memory_info().rss / 1e6))
            grown.tables_mb.append((hour, _tables_mb(world.folder / "state.db")))

    tracemalloc.start()
    try:
        result = simulate(options, watch=watch)
    finally:
        tracemalloc.stop()
    grown.events, grown.trades = result.events, result.trades
    grown.violations = result.violations
    return grown


def _held_by_the_daemon_mb() -> float:
    traces = tracemalloc.take_snapshot().filter_traces(_OURS)
    return sum(one.size for one in traces.statistics("filename")) / 1e6


def _tables_mb(database: Path) -> dict[str, float]:
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {
            table: size / 1e6
            for table, size in connection.execute(
                "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_master m USING (name)"
                " GROUP BY 1"
            )
        }
    finally:
        connection.close()
