"""The ordinary week of the futures exchange: when no quotes are to be expected.

`open_since` knows no holidays; `trading_since` and `opens_next` ask the calendar for them.
"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from risk_manager.domain.market_calendar import EXCHANGE_DAY, MarketCalendar

CHICAGO = ZoneInfo("America/Chicago")
_OPENS = time(17, 0)
_SHUTS = time(16, 0)
_FRIDAY, _SATURDAY = 4, 5


def open_since(at: datetime) -> datetime | None:
    """When the session running at this instant opened (UTC); None while the exchange is shut.

    Sunday to Thursday 17:00 to 16:00 of the next day, in Chicago.
    """
    local = at.astimezone(CHICAGO)
    if _SHUTS <= local.time() < _OPENS:
        return None
    day = local.date() if local.time() >= _OPENS else local.date() - timedelta(days=1)
    if day.weekday() in (_FRIDAY, _SATURDAY):
        return None
    return datetime.combine(day, _OPENS, tzinfo=CHICAGO).astimezone(UTC)


def trading_since(calendar: MarketCalendar, root: str, at: datetime) -> datetime | None:
    """Since when a product has been tradable without a break; None while it is not."""
    opened = open_since(at)
    if opened is None:
        return None
    differs = calendar.day(root, EXCHANGE_DAY.date_of(at))
    if differs.closed or (differs.closes_at is not None and at >= differs.closes_at):
        return None
    if differs.opens_at is not None:
        return max(opened, differs.opens_at) if at >= differs.opens_at else None
    return opened


def opens_next(calendar: MarketCalendar, root: str, at: datetime) -> datetime | None:
    """The first instant after this one at which a product that is shut opens again.

    None while it is open, and where the calendar knows of no opening within ten days.
    """
    if trading_since(calendar, root, at) is not None:
        return None
    day = at.astimezone(CHICAGO).date()
    for _ in range(10):
        usual = datetime.combine(day, _OPENS, tzinfo=CHICAGO).astimezone(UTC)
        # An opening belongs to the trading date after it; a late one is the calendar's word.
        late = calendar.day(root, EXCHANGE_DAY.date_of(usual)).opens_at
        opening = usual if late is None else max(usual, late)
        if opening > at and trading_since(calendar, root, opening) is not None:
            return opening
        day += timedelta(days=1)
    return None
