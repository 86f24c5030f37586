"""When the exchange trades, and therefore when quotes are to be expected.

`open_since` knows only the ordinary week. `trading_since` and `opens_next` also use the calendar of
holidays and of products that trade around the clock.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from risk_manager.domain.market_calendar import EXCHANGE_DAY, MarketCalendar

CHICAGO = ZoneInfo("America/Chicago")
_OPENS = time(17, 0)
_SHUTS = time(16, 0)
_FRIDAY, _SATURDAY = 4, 5
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def open_since(at: datetime) -> datetime | None:
    """Return when the session running at this instant opened (UTC); None while it is shut.

    Sessions run Sunday to Thursday from 17:00 to 16:00 of the next day, Chicago time.
    """
    local = at.astimezone(CHICAGO)
    if _SHUTS <= local.time() < _OPENS:
        return None
    day = local.date() if local.time() >= _OPENS else local.date() - timedelta(days=1)
    if day.weekday() in (_FRIDAY, _SATURDAY):
        return None
    return datetime.combine(day, _OPENS, tzinfo=CHICAGO).astimezone(UTC)


def close_of(day: date) -> datetime:
    """Return when the exchange shuts on an ordinary day."""
    return datetime.combine(day, _SHUTS, tzinfo=CHICAGO).astimezone(UTC)


def trading_since(calendar: MarketCalendar, root: str, at: datetime) -> datetime | None:
    """Return since when a product has traded without a break; None while it does not trade."""
    round_the_clock = calendar.never_shuts_since(root)
    if round_the_clock is not None and at >= round_the_clock:
        opened: datetime | None = max(round_the_clock, _last_opening(calendar, root, at))
    else:
        opened = open_since(at)
    if opened is None:
        return None
    differs = calendar.day(root, EXCHANGE_DAY.date_of(at))
    if differs.closed or (differs.closes_at is not None and at >= differs.closes_at):
        return None
    if differs.opens_at is not None:
        return max(opened, differs.opens_at) if at >= differs.opens_at else None
    return opened


def _last_opening(calendar: MarketCalendar, root: str, at: datetime) -> datetime:
    """Return when a product that trades around the clock opened after its last shut date."""
    return max((opening for opening in _openings(calendar, root) if opening <= at), default=_NEVER)


@lru_cache(maxsize=64)
def _openings(calendar: MarketCalendar, root: str) -> tuple[datetime, ...]:
    openings: list[datetime] = []
    for on, day in calendar.exceptions(root):
        if day.opens_at is not None:
            openings.append(day.opens_at)
        if (day.closed or day.closes_at is not None) and on.weekday() < _SATURDAY:
            openings.append(_end_of(on))
    return tuple(openings)


def _end_of(trading_date: date) -> datetime:
    return EXCHANGE_DAY.window(datetime.combine(trading_date, time(12), tzinfo=CHICAGO)).ends_at


def opens_next(calendar: MarketCalendar, root: str, at: datetime) -> datetime | None:
    """Return when a product that is shut opens next.

    None while it is open, or where the calendar knows of no opening within ten days.
    """
    if trading_since(calendar, root, at) is not None:
        return None
    day = at.astimezone(CHICAGO).date() - timedelta(days=1)  # yesterday's opening may be late
    for _ in range(11):
        usual = datetime.combine(day, _OPENS, tzinfo=CHICAGO).astimezone(UTC)
        # An opening belongs to the trading date that follows; the calendar may make it late.
        late = calendar.day(root, EXCHANGE_DAY.date_of(usual)).opens_at
        opening = usual if late is None else max(usual, late)
        if opening > at and trading_since(calendar, root, opening) is not None:
            return opening
        day += timedelta(days=1)
    return None
