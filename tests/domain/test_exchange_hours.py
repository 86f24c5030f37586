"""The ordinary week of the exchange, in Chicago time."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from risk_manager.domain.exchange_hours import CHICAGO, open_since, opens_next, trading_since
from risk_manager.domain.market_calendar import EVERY, ORDINARY, ExchangeDay, MarketCalendar
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection


@pytest.mark.parametrize(
    ("at", "since"),
    [
        ("2026-11-20 10:00", "2026-11-19 17:00"),  # Friday morning
        ("2026-11-20 15:59", "2026-11-19 17:00"),
        ("2026-11-20 16:00", None),
        ("2026-11-20 18:00", None),  # Friday evening
        ("2026-11-21 12:00", None),  # Saturday
        ("2026-11-22 16:59", None),  # Sunday
        ("2026-11-22 17:00", "2026-11-22 17:00"),
        ("2026-11-23 02:00", "2026-11-22 17:00"),
        ("2026-11-23 16:30", None),
        ("2026-11-23 17:00", "2026-11-23 17:00"),
        ("2025-03-10 08:00", "2025-03-09 17:00"),  # the day the clocks moved
    ],
)
def test_when_the_exchange_is_open(at: str, since: str | None) -> None:
    def instant(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)

    assert open_since(instant(at)) == (None if since is None else instant(since))


SINCE = datetime(2026, 5, 29, 16, 0, tzinfo=CHICAGO)
CRYPTO = MarketCalendar(
    groups={"MBT": "crypto", "MNQ": "equity"}, round_the_clock={"crypto": SINCE}
)


def chicago(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "since"),
    [
        ("2026-05-23 12:00", None),  # a Saturday before the change
        ("2026-05-29 15:59", "2026-05-28 17:00"),
        ("2026-05-29 16:00", "2026-05-29 16:00"),
        ("2026-05-30 12:00", "2026-05-29 16:00"),  # the first Saturday
        ("2026-06-10 16:30", "2026-05-29 16:00"),  # where others pause for an hour
        ("2026-11-21 12:00", "2026-05-29 16:00"),
    ],
)
def test_a_group_may_trade_round_the_clock(at: str, since: str | None) -> None:
    """F5.3: Since the day a group began to, it is never shut."""
    expected = None if since is None else chicago(since)
    assert trading_since(CRYPTO, "MBT", chicago(at)) == expected
    assert trading_since(CRYPTO, "MNQ", chicago("2026-11-21 12:00")) is None
    assert opens_next(CRYPTO, "MBT", chicago("2026-11-21 12:00")) is None
    assert opens_next(CRYPTO, "MNQ", chicago("2026-11-21 12:00")) == chicago("2026-11-22 17:00")


def test_the_operator_may_shut_a_group_that_trades_round_the_clock() -> None:
    """F5.3: A correction for one trading date wins, and what follows it is a new opening."""
    shut = date(2026, 11, 24)
    early = ExchangeDay(closes_at=chicago("2026-11-27 12:00"))
    late = ExchangeDay(opens_at=chicago("2026-12-02 08:00"))
    calendar = replace(
        CRYPTO,
        overrides={
            ("MBT", shut): ExchangeDay(closed=True),
            (EVERY, date(2026, 11, 27)): early,
            ("MBT", date(2026, 12, 2)): late,
        },
    )

    def since(at: str) -> datetime | None:
        return trading_since(calendar, "MBT", chicago(at))

    assert since("2026-11-23 16:59") == SINCE
    assert since("2026-11-23 17:00") is None
    assert opens_next(calendar, "MBT", chicago("2026-11-24 09:00")) == chicago("2026-11-24 17:00")
    assert since("2026-11-25 09:00") == chicago("2026-11-24 17:00")
    assert since("2026-11-27 12:00") is None
    assert opens_next(calendar, "MBT", chicago("2026-11-27 13:00")) == chicago("2026-11-27 17:00")
    assert since("2026-11-28 09:00") == chicago("2026-11-27 17:00")
    assert since("2026-12-02 07:00") is None
    assert since("2026-12-02 09:00") == chicago("2026-12-02 08:00")


def test_the_shipped_table_knows_which_products_trade_round_the_clock() -> None:
    """F5.3: BTC, MBT, ETH and MET since 29 May 2026, holidays included; nothing else."""
    calendar = market_calendar(CalendarFile(), CalendarSection(), "America/New_York")
    saturday = chicago("2026-11-21 12:00")
    open_then = {r for r in calendar.groups if trading_since(calendar, r, saturday) is not None}
    assert open_then == {"BTC", "MBT", "ETH", "MET"}
    assert calendar.day("MBT", date(2026, 12, 25)) == ORDINARY
    assert calendar.day("MBT", date(2025, 12, 25)).closed
    assert trading_since(calendar, "MBT", chicago("2026-05-23 12:00")) is None


def test_a_group_of_the_operator_may_say_so_too() -> None:
    """F5.3: `round_the_clock_since` in a group of calendar.yaml."""
    file = CalendarFile.model_validate(
        {
            "groups": {"coins": {"products": ["SOL"], "round_the_clock_since": "2026-05-29"}},
            "through": "2030-12-31",
        }
    )
    calendar = market_calendar(file, CalendarSection(), "America/New_York")
    assert trading_since(calendar, "SOL", chicago("2026-11-21 12:00")) is not None
