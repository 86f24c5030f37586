"""The trading day: the date an instant belongs to, and when the next date begins. DST-safe."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class DayWindow:
    """One trading day as a half-open interval of instants: starts_at <= t < ends_at (UTC)."""

    date: date
    starts_at: datetime
    ends_at: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.starts_at <= at < self.ends_at


@dataclass(frozen=True, slots=True)
class TradingDay:
    """The only definition of "daily", "weekly" and "session" in this program.

    The next trading date begins at `reset`, in local time. Saturday and Sunday belong to Monday.
    """

    reset: time = time(17, 0)
    timezone: str = "America/New_York"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def date_of(self, at: datetime) -> date:
        """Return the trading date an instant belongs to."""
        local = at.astimezone(self.zone)
        day = local.date()
        # Instants are compared, as the local hour that occurs twice would be ambiguous.
        if at >= self._reset_on(day):
            day += DAY
        return _skip_weekend(day)

    def window(self, at: datetime) -> DayWindow:
        """Return the whole trading day around an instant."""
        day = self.date_of(at)
        return DayWindow(day, self.began(day), self._reset_on(day))

    def began(self, day: date) -> datetime:
        """Return the instant (UTC) at which a trading date begins."""
        previous = day - DAY
        while previous.weekday() >= _SATURDAY:
            previous -= DAY
        return self._reset_on(previous)

    def opens(self, day: date) -> datetime:
        """Return the instant (UTC) at which the market opens for a trading date.

        It is the reset of the calendar day before: Sunday's for a Monday, whose date begins on
        Friday already.
        """
        return self._reset_on(day - DAY)

    def next_reset(self, at: datetime) -> datetime:
        """Return the instant (UTC) at which the next trading date begins."""
        return self.window(at).ends_at

    def week_of(self, day: date) -> date:
        """Return the Monday of the week that a trading date belongs to."""
        return day - timedelta(days=day.weekday())

    def _reset_on(self, day: date) -> datetime:
        # fold=0: where the local hour occurs twice, the first is taken. Where it is skipped,
        # zoneinfo moves the instant past the gap. Either way there is one instant per date.
        return datetime.combine(day, self.reset, tzinfo=self.zone).astimezone(UTC)


def _skip_weekend(day: date) -> date:
    while day.weekday() >= _SATURDAY:
        day += DAY
    return day
