"""Which trading date an instant belongs to, and when it turns: tables, and every day of years."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain.trading_calendar import TradingDay

CHICAGO = TradingDay(timezone="America/Chicago")
NEW_YORK = TradingDay()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "day", "ends"),
    [
        ("2026-11-20T15:00", "2026-11-20", "2026-11-20T22:00"),  # Friday morning, New York
        ("2026-11-20T21:59:59", "2026-11-20", "2026-11-20T22:00"),
        ("2026-11-20T22:00", "2026-11-23", "2026-11-23T22:00"),  # Friday 17:00 is Monday's
        ("2026-11-22T23:00", "2026-11-23", "2026-11-23T22:00"),
        ("2026-03-06T22:00", "2026-03-09", "2026-03-09T21:00"),  # over the spring change
        ("2026-10-30T21:00", "2026-11-02", "2026-11-02T22:00"),  # over the autumn change
    ],
)
def test_dates_and_resets_in_new_york(instant: str, day: str, ends: str) -> None:
    window = NEW_YORK.window(utc(instant))
    assert (window.date.isoformat(), window.ends_at) == (day, utc(ends))
    assert utc(instant) in window


def test_the_day_before_the_clocks_change_ends_an_hour_later_in_utc() -> None:
    assert CHICAGO.next_reset(utc("2025-03-07T15:00")) == utc("2025-03-07T23:00")
    assert CHICAGO.next_reset(utc("2025-03-10T15:00")) == utc("2025-03-10T22:00")


INSTANTS = st.integers(0, 5 * 365 * 86_400).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
DAYS = st.builds(
    TradingDay,
    reset=st.times(),
    timezone=st.sampled_from(
        ["America/New_York", "America/Chicago", "Europe/London", "Australia/Lord_Howe", "UTC"]
    ),
)


@given(INSTANTS, DAYS)
def test_every_instant_lies_in_the_window_of_its_own_date(at: datetime, day: TradingDay) -> None:
    window = day.window(at)
    assert at in window
    assert window.date == day.date_of(at)
    assert window.date.weekday() < 5


@given(INSTANTS, DAYS)
def test_one_day_ends_where_the_next_begins(at: datetime, day: TradingDay) -> None:
    window = day.window(at)
    following = day.window(window.ends_at)
    assert following.starts_at == window.ends_at
    assert following.date > window.date
    assert day.date_of(window.ends_at - timedelta(microseconds=1)) == window.date


def test_two_years_of_resets_come_once_a_weekday_at_local_time() -> None:
    at = utc("2025-01-01T12:00")
    dates: list[date] = []
    while at < utc("2027-01-01T00:00"):
        window = CHICAGO.window(at)
        assert window.ends_at.astimezone(ZoneInfo("America/Chicago")).time() == time(17, 0)
        dates.append(window.date)
        at = window.ends_at
    assert len(dates) == len(set(dates)) == sum(1 for d in dates if d.weekday() < 5)
