"""The exchange's sessions of the coming trading dates, for people to look ahead."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from risk_manager.domain.exchange_hours import CHICAGO, close_of
from risk_manager.domain.market_calendar import EXCHANGE_DAY, ExchangeDay, MarketCalendar
from risk_manager.domain.trading_calendar import DAY, DayWindow

_OPENS = time(17, 0)
_SATURDAY = 5


class Differs(StrEnum):
    """How a date differs from an ordinary one."""

    NOT = ""
    CLOSED = "closed"
    EARLY_CLOSE = "early_close"
    LATE_OPEN = "late_open"


@dataclass(frozen=True, slots=True)
class ExchangeSession:
    """The session of one trading date, in UTC. `opens_at` and `closes_at` are None if it is shut.

    A session opens on the evening before its date. It may have opened before the present.
    """

    date: date
    opens_at: datetime | None
    closes_at: datetime | None
    differs: Differs = Differs.NOT
    note: str = ""


def coming_sessions(
    calendar: MarketCalendar, root: str, at: datetime, days: int
) -> tuple[ExchangeSession, ...]:
    """Return the sessions of the trading date of an instant and of those that follow.

    `days` counts calendar days; Saturdays and Sundays have no session of their own.
    """
    return tuple(_session(calendar, root, on) for on in trading_dates(at, days))


def trading_dates(at: datetime, days: int) -> Iterator[date]:
    """Yield the exchange's trading dates from that of an instant on, within so many days."""
    first = EXCHANGE_DAY.date_of(at)
    for number in range(days):
        on = first + DAY * number
        if on.weekday() < _SATURDAY:
            yield on


def _session(calendar: MarketCalendar, root: str, on: date) -> ExchangeSession:
    differs = calendar.day(root, on)
    if differs.closed:
        return ExchangeSession(on, None, None, Differs.CLOSED, differs.note)
    usual = _usual_hours(calendar, root, on)
    opens_at = max(usual.starts_at, differs.opens_at or usual.starts_at)
    closes_at = min(usual.ends_at, differs.closes_at or usual.ends_at)
    if opens_at >= closes_at:
        return ExchangeSession(on, None, None, Differs.CLOSED, differs.note)
    return ExchangeSession(on, opens_at, closes_at, _how(differs, usual), differs.note)


def _usual_hours(calendar: MarketCalendar, root: str, on: date) -> DayWindow:
    noon = datetime.combine(on, time(12), tzinfo=CHICAGO).astimezone(UTC)
    whole = EXCHANGE_DAY.window(noon)
    since = calendar.never_shuts_since(root)
    if since is not None and since <= whole.starts_at:
        return whole
    evening = datetime.combine(on - timedelta(days=1), _OPENS, tzinfo=CHICAGO).astimezone(UTC)
    return DayWindow(on, evening, close_of(on))


def _how(differs: ExchangeDay, usual: DayWindow) -> Differs:
    if differs.closes_at is not None and differs.closes_at < usual.ends_at:
        return Differs.EARLY_CLOSE
    if differs.opens_at is not None and differs.opens_at > usual.starts_at:
        return Differs.LATE_OPEN
    return Differs.NOT
