"""The coming sessions agree, hour by hour, with what decides whether the exchange trades."""

from datetime import UTC, date, datetime, timedelta

import pytest

from risk_manager.domain.coming_sessions import Differs, coming_sessions
from risk_manager.domain.exchange_hours import trading_since
from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

THANKSGIVING_WEEK = datetime(2026, 11, 23, 15, tzinfo=UTC)  # a Monday morning in Chicago
OVERRIDES = CalendarFile.model_validate(
    {
        "overrides": [
            {"date": "2026-11-25", "products": ["CL"], "open": "02:00"},
            {"date": "2026-11-27", "products": ["CL"], "closed": True},
            {"date": "2026-12-24", "closed": True},
        ]
    }
)


def calendar() -> MarketCalendar:
    return market_calendar(OVERRIDES, CalendarSection(), "America/Chicago")


@pytest.mark.parametrize("root", ["MNQ", "CL", "6E", "MBT", "ZC", "GF", "UNKNOWN"])
@pytest.mark.parametrize(
    "first",
    [
        THANKSGIVING_WEEK,
        datetime(2026, 12, 21, 15, tzinfo=UTC),  # Christmas
        datetime(2027, 3, 8, 15, tzinfo=UTC),  # the clocks go forward on the 14th
        datetime(2026, 10, 26, 15, tzinfo=UTC),  # and back on 1 November
    ],
)
def test_a_session_is_on_exactly_when_the_exchange_trades(root: str, first: datetime) -> None:
    sessions = coming_sessions(calendar(), root, first, 11)
    at, end = first, first + timedelta(days=9)
    while at < end:
        on = any(
            s.opens_at is not None and s.closes_at is not None and s.opens_at <= at < s.closes_at
            for s in sessions
        )
        assert on == (trading_since(calendar(), root, at) is not None), at
        at += timedelta(minutes=15)


def test_thanksgiving_closes_early_and_a_holiday_is_shut() -> None:
    days = {s.date: s for s in coming_sessions(calendar(), "MNQ", THANKSGIVING_WEEK, 10)}
    assert list(days) == [date(2026, 11, n) for n in (23, 24, 25, 26, 27, 30)] + [
        date(2026, 12, 1),
        date(2026, 12, 2),
    ]
    assert days[date(2026, 11, 25)].differs is Differs.NOT
    thursday = days[date(2026, 11, 26)]
    assert thursday.differs is Differs.EARLY_CLOSE
    assert thursday.opens_at == datetime(2026, 11, 25, 23, tzinfo=UTC)
    assert thursday.closes_at == datetime(2026, 11, 26, 18, tzinfo=UTC)
    oil = {s.date: s for s in coming_sessions(calendar(), "CL", THANKSGIVING_WEEK, 10)}
    assert oil[date(2026, 11, 25)].differs is Differs.LATE_OPEN
    assert oil[date(2026, 11, 27)].differs is Differs.CLOSED
    assert oil[date(2026, 11, 27)].opens_at is None
