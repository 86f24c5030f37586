"""The exchange's calendar: the shipped table, overrides over it, and what follows for hours."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from risk_manager.domain.market_calendar import EXCHANGE_DAY, ORDINARY, MarketCalendar
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.generate_calendar import text_of
from risk_manager.settings.market_calendar import market_calendar, shipped_table
from risk_manager.settings.risk_file import CalendarSection

CHRISTMAS = date(2026, 12, 25)


def calendar(
    file: dict[str, Any] | None = None, section: dict[str, Any] | None = None, **more: Any
) -> MarketCalendar:
    return market_calendar(
        CalendarFile.model_validate(file or {}),
        CalendarSection.model_validate(section or {}),
        "America/Chicago",
        **more,
    )


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("root", "day", "closes"),
    [
        ("ES", "2026-01-19", "2026-01-19T18:00"),
        ("MNQ", "2026-04-03", "2026-04-03T13:15"),  # Good Friday: 08:15 in Chicago
        ("NQ", "2026-06-19", "2026-06-19T17:00"),
        ("RTY", "2026-11-27", "2026-11-27T18:15"),
        ("CL", "2026-01-19", "2026-01-19T19:30"),
        ("GC", "2026-12-24", "2026-12-24T18:45"),
        ("6E", "2026-04-03", "2026-04-03T15:15"),
    ],
)
def test_the_shipped_table_knows_early_closes_by_group(root: str, day: str, closes: str) -> None:
    found = calendar().day(root, date.fromisoformat(day))
    assert (found.closed, found.closes_at) == (False, utc(closes))


@pytest.mark.parametrize(
    ("root", "day"),
    [("ES", "2026-12-25"), ("CL", "2026-04-03"), ("ZC", "2026-01-19"), ("6E", "2027-01-01")],
)
def test_the_shipped_table_knows_holidays_by_group(root: str, day: str) -> None:
    assert calendar().day(root, date.fromisoformat(day)).closed


def test_the_shipped_table_reaches_years_ahead_and_lists_each_product_once() -> None:
    table = shipped_table()
    assert table.through is not None
    assert table.through >= date(2028, 12, 31)
    assert {"ES", "NQ", "MES", "MNQ", "RTY", "M2K", "CL", "MCL", "GC", "MGC", "6E"} <= (
        table.products
    )
    for name, group in table.groups.items():
        days = [d.date for d in group.days]
        assert days == sorted(days), name
        assert all(d.weekday() < 5 for d in days), name


def test_an_ordinary_day_and_an_unknown_product() -> None:
    table = calendar()
    assert table.day("ES", date(2026, 11, 20)) is ORDINARY
    assert table.knows("ES")
    assert not table.knows("XYZ")
    assert MarketCalendar().knows("XYZ")  # of an empty calendar nothing is asked


def test_a_dated_override_wins_over_the_table() -> None:
    table = calendar(
        {
            "overrides": [
                {"date": "2026-12-25", "products": ["es"], "normal": True},
                {"date": "2026-11-20", "close": "12:00", "note": "as announced"},
            ]
        }
    )
    assert table.day("ES", CHRISTMAS) is ORDINARY
    assert table.day("NQ", CHRISTMAS).closed
    assert table.day("NQ", date(2026, 11, 20)).closes_at == utc("2026-11-20T18:00")
    assert table.day("XYZ", date(2026, 11, 20)).note == "as announced"


def test_the_later_of_two_overrides_wins() -> None:
    rows = [
        {"date": "2026-11-20", "products": ["ES"], "close": "12:00"},
        {"date": "2026-11-20", "closed": True},
    ]
    assert calendar({"overrides": rows}).day("ES", date(2026, 11, 20)).closed
    assert not calendar({"overrides": rows[::-1]}).day("ES", date(2026, 11, 20)).closed


def test_the_limits_file_has_the_last_word() -> None:
    table = calendar(
        {"overrides": [{"date": "2026-12-25", "normal": True}]},
        {
            "holidays": ["2026-12-25"],
            "early_closes": [
                {"date": "2026-11-20", "flat_by": "12:00"},
                {"date": "2026-11-19", "flat_by": "12:00", "timezone": "America/New_York"},
            ],
        },
    )
    assert table.day("ES", CHRISTMAS).closed
    assert table.day("ES", date(2026, 11, 20)).closes_at == utc("2026-11-20T18:00")
    assert table.day("ES", date(2026, 11, 19)).closes_at == utc("2026-11-19T17:00")


@pytest.mark.parametrize(
    ("through", "closed"), [("2029-12-31", False), ("2027-12-31", True), (None, False)]
)
def test_a_table_in_the_configuration_wins_unless_it_ends_sooner(
    through: str | None, closed: bool
) -> None:
    own = {
        "source": "by hand",
        "through": through,
        "groups": {"equity_index": {"products": ["ES"], "days": []}},
    }
    assert calendar(own).day("ES", CHRISTMAS).closed is closed
    assert calendar(own).day("NQ", CHRISTMAS).closed


def test_an_evening_opening_belongs_to_the_evening_before_the_trading_date() -> None:
    late = {"overrides": [{"date": "2026-11-20", "open": "18:30"}]}
    assert calendar(late).day("ES", date(2026, 11, 20)).opens_at == utc("2026-11-20T00:30")
    morning = {"overrides": [{"date": "2026-11-20", "open": "08:30"}]}
    assert calendar(morning).day("ES", date(2026, 11, 20)).opens_at == utc("2026-11-20T14:30")


def test_its_end_is_announced_sixty_days_ahead() -> None:
    table = calendar()
    assert table.through is not None
    end = datetime.combine(table.through, datetime.min.time(), tzinfo=UTC)
    assert not table.ends_soon(end - timedelta(days=60))
    assert table.ends_soon(end - timedelta(days=59))
    assert not MarketCalendar().ends_soon(end)


def test_christmas_begins_on_christmas_eve_at_five_in_chicago() -> None:
    assert EXCHANGE_DAY.date_of(utc("2026-12-24T22:59:59")) == date(2026, 12, 24)
    assert EXCHANGE_DAY.date_of(utc("2026-12-24T23:00:00")) == CHRISTMAS


def test_the_written_table_can_be_read_back() -> None:
    data = {
        "version": 1,
        "source": "test",
        "through": "2026-12-31",
        "groups": {
            "a": {
                "products": ["ES", "NQ"],
                "timezone": "America/Chicago",
                "days": [{"date": "2026-12-25", "closed": True}],
            },
            "b": {"products": ["CL"], "timezone": "America/Chicago", "days": []},
        },
    }
    table = CalendarFile.model_validate_json(text_of(data))
    assert calendar(shipped=table).day("NQ", CHRISTMAS).closed
    assert not calendar(shipped=table).day("CL", CHRISTMAS).closed
