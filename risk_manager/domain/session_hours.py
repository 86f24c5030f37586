"""Trading hours as a week of local times, turned into intervals of instants. DST-safe."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from risk_manager.domain.market_calendar import EVERY, EXCHANGE_DAY, MarketCalendar
from risk_manager.domain.trading_calendar import DAY

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60

# How far around an instant intervals are computed: beyond the longest run of holidays.
BEHIND = timedelta(days=6)
AHEAD = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Window:
    """One daily window. `days` are start days (Monday is 0); times are minutes of the local day.

    An end at or before the start falls on the next day. 1440 is midnight at the end of the day.
    """

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class WeeklyHours:
    """The union of several windows. Compared by identity, so that intervals can be cached."""

    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """starts_at <= t < ends_at, in UTC."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The position of an instant: in an interval, or between two. None: none within reach."""

    current: Interval | None = None
    ended_at: datetime | None = None
    opens_at: datetime | None = None


SHUT = Standing()


@dataclass(frozen=True, eq=False)
class Schedule:
    """Intervals in order, with the standing before, in and after each."""

    edges: tuple[datetime, ...]
    standings: tuple[Standing, ...]

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> "Schedule":
        edges: list[datetime] = []
        standings: list[Standing] = []
        ended_at = None
        for interval in intervals:
            standings.append(Standing(None, ended_at, interval.starts_at))
            standings.append(Standing(interval, ended_at))
            edges += (interval.starts_at, interval.ends_at)
            ended_at = interval.ends_at
        standings.append(Standing(None, ended_at))
        return cls(tuple(edges), tuple(standings))

    def at(self, now: datetime) -> Standing:
        return self.standings[bisect_right(self.edges, now)]


@lru_cache(maxsize=1024)
def schedule(
    hours: WeeklyHours, zone: str, calendar: MarketCalendar | None, root: str, around: date
) -> Schedule:
    """Return the open intervals around a date, cached, as they are needed on every event."""
    return Schedule.of(open_intervals(hours, zone, calendar, root, around))


@lru_cache(maxsize=256)
def shared_schedule(
    hours: WeeklyHours,
    zone: str,
    calendar: MarketCalendar | None,
    roots: tuple[str, ...],
    around: date,
) -> Schedule:
    """Return the intervals in which all of these products are open. There must be at least one.

    A product that the calendar does not know is never open.
    """
    if calendar is None:  # then all products have the same hours
        return schedule(hours, zone, None, EVERY, around)
    if not all(r == EVERY or calendar.knows(r) for r in roots):
        return Schedule.of(())
    shared = open_intervals(hours, zone, calendar, roots[0], around)
    for root in dict.fromkeys(roots[1:]):
        shared = _in_both(shared, open_intervals(hours, zone, calendar, root, around))
    return Schedule.of(shared)


def _in_both(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Return the times that are in an interval of each. Both are in order and apart."""
    found: list[Interval] = []
    left, right = list(reversed(one)), list(reversed(other))
    while left and right:
        a, b = left[-1], right[-1]
        starts_at, ends_at = max(a.starts_at, b.starts_at), min(a.ends_at, b.ends_at)
        if starts_at < ends_at:
            found.append(Interval(starts_at, ends_at))
        (left if a.ends_at <= b.ends_at else right).pop()
    return tuple(found)


@lru_cache(maxsize=1024)
def open_intervals(
    hours: WeeklyHours, zone: str, calendar: MarketCalendar | None, root: str, around: date
) -> tuple[Interval, ...]:
    """Return when a product may be traded around a date, in order, joined where they touch.

    For `EVERY` product: when at least one may be traded. Without a calendar every day is ordinary.
    Cached, as products are combined anew whenever one is entered or left.
    """
    pieces: list[Interval] = []
    roots: Iterable[str] = (root,)
    if calendar is not None and root == EVERY:
        roots = calendar.representatives() or (EVERY,)
    for one in roots:
        for whole in _whole(hours, zone, around):
            pieces += [whole] if calendar is None else _trimmed(whole, calendar, one)
    return _joined(pieces)


@lru_cache(maxsize=64)
def _whole(hours: WeeklyHours, zone: str, around: date) -> tuple[Interval, ...]:
    return tuple(_windows(hours, ZoneInfo(zone), around))


def _windows(hours: WeeklyHours, zone: ZoneInfo, around: date) -> Iterator[Interval]:
    day = around - BEHIND
    while day <= around + AHEAD:
        for window in hours.windows:
            if day.weekday() in window.days:
                last = day if window.end > window.start else day + DAY
                starts_at = max(_instants(day, window.start, zone))
                ends_at = min(_instants(last, window.end, zone))
                if starts_at < ends_at:
                    yield Interval(starts_at, ends_at)
        day += DAY


def _instants(day: date, minutes: int, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return both readings of a local time. They differ when the clocks change.

    The caller takes the later one for a start and the earlier one for an end, so that the window is
    the shorter one.
    """
    if minutes == MIDNIGHT:
        day, minutes = day + DAY, 0
    local = datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=zone)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)


def _trimmed(whole: Interval, calendar: MarketCalendar, root: str) -> Iterator[Interval]:
    """Yield the parts of an interval in which the exchange is open, by trading date."""
    at = whole.starts_at
    while at < whole.ends_at:
        trading_day = EXCHANGE_DAY.window(at)
        until = min(whole.ends_at, trading_day.ends_at)
        differs = calendar.day(root, trading_day.date)
        if not differs.closed:
            starts_at = max(at, differs.opens_at or at)
            ends_at = min(until, differs.closes_at or until)
            if starts_at < ends_at:
                yield Interval(starts_at, ends_at)
        at = trading_day.ends_at


def _joined(pieces: list[Interval]) -> tuple[Interval, ...]:
    result: list[Interval] = []
    for piece in sorted(pieces, key=lambda p: p.starts_at):
        if result and piece.starts_at <= result[-1].ends_at:
            longer = max(piece.ends_at, result[-1].ends_at)
            result[-1] = Interval(result[-1].starts_at, longer)
        else:
            result.append(piece)
    return tuple(result)


# --- as configuration words -----------------------------------------------------------------------


def parse_minutes(value: Any) -> int:
    """Return the minutes of the day from "HH:MM". "24:00" is the end of the day."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MIDNIGHT:
        raise ValueError(f'a time must be quoted; write "{plain_minutes(value)}"')
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) == 2 and all(len(p) == 2 and p.isascii() and p.isdigit() for p in parts):
        hour, minute = int(parts[0]), int(parts[1])
        if (hour < 24 and minute < 60) or (hour, minute) == (24, 0):
            return hour * 60 + minute
    raise ValueError('not a time of day; write it quoted, as "08:30"')


def plain_minutes(value: int) -> str:
    """Format minutes of the day: 510 is "08:30"."""
    return f"{value // 60:02d}:{value % 60:02d}"


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, LookupError):
        raise ValueError(
            f"{value!r} is not a known time zone; write for example America/Chicago"
        ) from None
    return value


MinuteOfDay = Annotated[
    int, BeforeValidator(parse_minutes), PlainSerializer(plain_minutes, return_type=str)
]
ZoneName = Annotated[str, AfterValidator(_known_zone)]
