"""What one seed decides: the day, its hours, the weather, the trader's temper, the limits."""

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal
from zoneinfo import ZoneInfo

from simulation.calendar_judge import limits_for
from simulation.habits import Unkind, unkind_for, with_habits

NEW_YORK = ZoneInfo("America/New_York")

WHOLE_HOURS = 8.75
"""From 9:20 in New York to shortly after the exchange opens again."""
DAY_HOURS = 4.0
FIRST_TIER = 120
"""Dollars lost in one trade, after which a trader of ordinary patience pauses."""

# The trading days around a change of the clocks, drawn more often than the calendar would.
CLOCK_CHANGES = (date(2026, 11, 2), date(2027, 3, 15))
FIRST_DAY = date(2026, 9, 14)

type Sky = Literal["well", "ill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Chances per request or frame, and mean counts per hour. Delays in seconds."""

    error_before: float = 0.0  # HTTP 500, nothing done
    error_after: float = 0.0  # HTTP 500, yet done
    limited: float = 0.0  # HTTP 429
    hang: float = 0.0  # no answer for a minute, whether done or not
    lost_before: float = 0.0  # the connection ends, nothing done
    lost_after: float = 0.0  # the connection ends, yet done
    unsent: float = 0.0  # no connection
    garbled: float = 0.0  # done, and the answer cannot be read
    refused: float = 0.0  # an error code without a reason
    slow: float = 0.02  # up to 0.9 s
    frame_lost: float = 0.0
    frame_late: float = 0.0
    frame_twice: float = 0.01
    frame_garbled: float = 0.0
    hub_drops: float = 0.0
    outages: float = 0.0  # all of REST unreachable for a while
    halts: float = 0.0  # the market shut for a while
    tokens: float = 0.1  # tokens that end
    crashes: float = 0.2
    crash_at_commit: float = 0.0
    clean_restarts: float = 0.1


WELL = Weather()
ILL = Weather(
    error_before=0.03,
    error_after=0.02,
    limited=0.03,
    hang=0.02,
    lost_before=0.01,
    lost_after=0.01,
    unsent=0.01,
    garbled=0.01,
    refused=0.01,
    slow=0.08,
    frame_lost=0.02,
    frame_late=0.02,
    frame_twice=0.03,
    frame_garbled=0.01,
    hub_drops=2.0,
    outages=0.5,
    halts=0.3,
    tokens=0.5,
    crashes=1.0,
    crash_at_commit=0.004,
    clean_restarts=0.3,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything about one simulated day. Times of day are New York's."""

    seed: int
    day: date
    begins: time
    hours: float
    sky: Sky
    weather: Weather
    trades_per_hour: float
    accounts: tuple[int, ...]
    spam: float  # chance that a lock is answered with a burst of orders
    max_fill: int
    limits: dict[str, Any] = field(default_factory=dict)
    edits_per_hour: float = 0.5
    admin_per_hour: float = 0.5
    wall_step_seconds: float = 0.0  # how far the wall clock is turned, at most, either way
    unkind: Unkind = field(default_factory=Unkind)
    plant: str = ""

    @property
    def began_at(self) -> datetime:
        return datetime.combine(self.day, self.begins, NEW_YORK).astimezone(UTC)

    def expanded(self) -> str:
        """All of it in one line, for a failure."""
        return repr(asdict(self))


def options_for(
    seed: int,
    *,
    hours: float | None = None,
    sky: Sky | None = None,
    day: date | None = None,
    plant: str = "",
    habits: tuple[str, ...] | None = None,
    all_rules: bool = False,
) -> Options:
    """The options that a seed stands for; those given win.

    Without `all_rules` the days are those of the first fourteen rules, and so are their hashes.
    """
    unkind = unkind_for(seed) if habits is None else with_habits(habits)
    dice = Random(f"{seed}/options")
    drawn_day = _draw_day(dice)
    drawn_sky: Sky = "well" if dice.random() < 0.4 else "ill"
    length = DAY_HOURS if hours is None else hours
    slack = max(WHOLE_HOURS - length, 0.0)
    # A short run mostly falls into the session, and sometimes over its end and the reset.
    start = dice.choice((0.0, dice.uniform(0, slack), slack - dice.uniform(0, min(slack, 0.6))))
    begins = (datetime(2000, 1, 1, 9, 20) + timedelta(hours=max(start, 0.0))).time()  # noqa: DTZ001
    weather = WELL if (sky or drawn_sky) == "well" else ILL
    factor = dice.choice((0.5, 1.0, 1.0, 1.5))
    if weather is ILL:
        weather = _scaled(ILL, factor)
    limits = {
        "daily_loss": dice.choice((400, 800, 1500, 3000)),
        "open_loss": dice.choice((200, 400)),
        "account_open_loss": dice.choice((500, 700)),
        "contracts": dice.choice((4, 6)),
        "per_instrument": {"NQ": 2, "ES": 2, "MNQ": 4, "MES": 4},
    }
    wall_step_seconds = dice.choice((0.0, 20.0, 7200.0))
    limits["open_loss_counts"] = dice.random() < 0.5  # to the loss of the day
    limits["patience"] = dice.choice((1, 1, 5))
    limits["stop_is_placed"] = dice.random() < 0.5  # where one is missing
    if all_rules:
        limits["behaviour"] = True
        limits["over_days"] = _over_days(Random(f"{seed}/over days"), day or drawn_day)
    options = Options(
        seed=seed,
        day=day or drawn_day,
        begins=begins.replace(microsecond=0),
        hours=length,
        sky=sky or drawn_sky,
        weather=weather,
        trades_per_hour=dice.choice((6.0, 15.0, 40.0)),
        spam=dice.choice((0.0, 0.05, 0.15)),
        accounts=dice.choice(((101,), (101,), (101, 102))),
        max_fill=dice.choice((1, 2, 3)),
        limits=limits,
        edits_per_hour=dice.choice((0.0, 0.5, 1.0)),
        admin_per_hour=dice.choice((0.0, 0.5, 2.0)),
        # Two clocks that are both wrong leave nobody anything to go by.
        wall_step_seconds=0.0 if unkind.clock_ahead else wall_step_seconds,
        unkind=unkind,
        plant=plant,
    )
    if all_rules:
        release_at = options.began_at + timedelta(hours=length / 2)
        limits["calendar"] = limits_for(seed, release_at, options.accounts)
    return options


def _over_days(dice: Random, day: date) -> dict[str, Any]:
    """The limits of the rules over the course of days."""
    return {
        "trailing": Decimal(dice.choice((250, 500, 900))),
        "trail": dice.choice(("unrealized", "realized")),
        "arm_at": Decimal(dice.choice((60, 150, 400))),
        "fraction": dice.choice((Decimal("0.3"), Decimal("0.6"))),
        "drawdown": Decimal(dice.choice((350, 800, 2000))),
        "mode": dice.choice(("eod", "intraday_balance", "intraday_equity")),
        "week": Decimal(dice.choice((300, 700, 1600))),
        "since": day - timedelta(days=7),
        "most_today": Decimal(dice.choice((200, 500, 1500))),
        "lots": dice.choice((2, 3, 5)),
    }


def with_wall_step(options: Options, seconds: float) -> Options:
    """The same day with the wall clock turned by up to so much; then the gateway's is right."""
    unkind = options.unkind
    if seconds and unkind.clock_ahead:
        names = tuple(name for name in unkind.names if name != "clock_ahead")
        unkind = replace(unkind, names=names, clock_ahead=0.0)
    return replace(options, wall_step_seconds=seconds, unkind=unkind)


def _draw_day(dice: Random) -> date:
    if dice.random() < 0.2:
        return dice.choice(CLOCK_CHANGES)
    while True:
        day = FIRST_DAY + timedelta(days=dice.randrange(230))
        if day.weekday() < 5:
            return day


def _scaled(weather: Weather, factor: float) -> Weather:
    return replace(
        weather,
        **{name: value * factor for name, value in asdict(weather).items() if name != "slow"},
    )


PLANT_HABITS: dict[str, tuple[str, ...]] = {
    "terminal_is_final": ("taken_back",),
    "waits_for_read_back": ("storms",),
    "never_believes": ("gaps",),
    "excuses_the_known": ("silences",),
}
"""What must happen for a bug to show. The others show under a gateway that is merely ill."""


def drill_for(seed: int, plant: str, hours: float = 1.0) -> Options:
    """A busy, rough stretch in which a planted bug ought to show soon."""
    habits = PLANT_HABITS.get(plant, ())
    options = options_for(seed, hours=hours, sky="ill", plant=plant, habits=habits)
    limits = {**options.limits, "daily_loss": 150, "account_open_loss": 120}
    begins, day = time(10, 0), date(2026, 11, 18)
    if plant == "naive_time":
        begins, day = time(15, 20), CLOCK_CHANGES[0]
    if plant in ("cancels_all", "counts_twice", "trusts_silence"):
        limits = options.limits
    weather = replace(ILL, crash_at_commit=0.3 if plant == "lock_after_call" else 0.0)
    if plant == "trusts_silence":
        weather = replace(weather, hub_drops=12.0)
    unkind = options.unkind
    if habits:  # where the gateway is well there is no excuse
        weather = replace(WELL, crashes=0.0)
        unkind = replace(
            unkind,
            storms=unkind.storms and 1.0,
            gaps=unkind.gaps * 5,
            silences=unkind.silences * 10,
            pairs=unkind.pairs and 1.0,
        )
    if plant == "never_believes":
        limits = {**limits, "daily_loss": 10**7, "account_open_loss": 10**7, "patience": 5}
    if plant == "excuses_the_known":
        limits = {**limits, "open_loss": 5000, "account_open_loss": 5000, "open_loss_counts": True}
        limits |= {"daily_loss": 150, "patience": 5}
    return replace(
        options,
        day=day,
        begins=begins,
        accounts=(101,),
        trades_per_hour=40.0,
        edits_per_hour=0.0,
        wall_step_seconds=0.0,
        weather=weather,
        unkind=unkind,
        limits=limits,
    )
