"""`trading_day: flat_by`: nothing is open from then on until the next session."""

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from desk import Desk

from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.rules.flat_by import FlatBy
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

CHICAGO = ZoneInfo("America/Chicago")
TOPSTEP = TradingDay(time(17, 0), "America/Chicago")


def chicago(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)


def shipped(**section: Any) -> MarketCalendar:
    return market_calendar(
        CalendarFile(), CalendarSection.model_validate(section), "America/Chicago"
    )


def desk_at(
    text: str,
    *,
    day: TradingDay = TOPSTEP,
    flat_by: str = "15:10",
    calendar: MarketCalendar | None = None,
    mode: Mode = Mode.ENFORCE,
) -> Desk:
    """A desk whose only limit is the hour by which it must be flat; the time is Chicago's."""
    rule = FlatBy.of(day, time.fromisoformat(flat_by))
    return Desk([rule], day=day, calendar=calendar, mode=mode, at=chicago(text))


async def test_everything_is_closed_at_the_hour_and_locked_until_the_reset() -> None:
    d = desk_at("2026-11-19 15:09:00")
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    entry = await d.order("ES", 1, price=5990)
    await d.wait(seconds=59)
    assert d.actions == []
    assert d.reasons == [
        "MNQ: the session ends at Thu 19 Nov 15:10 America/Chicago; positions are closed and "
        "orders cancelled then",
        "ES: the session ends at Thu 19 Nov 15:10 America/Chicago; positions are closed and "
        "orders cancelled then",
    ]
    await d.wait(seconds=1)
    assert d.taken() == [f"cancel {entry}", "close MNQ"]
    assert d.reasons[2:] == [
        "past the day's flat_by, until Thu 19 Nov 17:00 America/Chicago",
        "ES is past the day's flat_by: cancelling entry orders",
        "MNQ is past the day's flat_by: closing 2 MNQZ6",
    ]
    await d.obey()
    assert d.taken() == [f"cancel {stop}"]
    assert d.account().is_flat
    assert d.locked_by() == {"flat_by": "account"}
    assert d.lock_ends("flat_by") == chicago("2026-11-19 17:00")


async def test_what_is_opened_after_the_hour_is_closed_and_may_be_opened_after_the_reset() -> None:
    d = desk_at("2026-11-19 15:10:00")
    await d.position("MNQ", 1)
    assert d.taken() == ["close MNQ"]
    await d.obey()
    order = await d.order("MNQ", 1, price=20900)
    assert d.taken() == [f"cancel {order}"]
    await d.obey()
    await d.wait(seconds=5)  # a list confirms it
    await d.wait_until(chicago("2026-11-19 16:59:59"))
    assert d.locked_by() == {"flat_by": "account"}
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    await d.position("MNQ", 1)
    await d.wait(minutes=10)
    assert d.taken() == []


async def test_on_friday_the_next_session_is_sundays() -> None:
    d = desk_at("2026-11-20 15:10:00")
    await d.wait(seconds=1)
    assert d.lock_ends("flat_by") == chicago("2026-11-22 17:00")
    await d.wait_until(chicago("2026-11-21 12:00"))
    assert d.locked_by() == {"flat_by": "account"}


@pytest.mark.parametrize(
    ("day", "flat_by", "local", "is_open"),
    [
        # The firm's 15:10 in Chicago as New York, Berlin and Tokyo write it, in winter.
        (TradingDay(), "16:10", "2026-11-19 15:09:59", True),
        (TradingDay(), "16:10", "2026-11-19 15:10:00", False),
        (TradingDay(), "16:10", "2026-11-19 16:00:00", True),
        (TradingDay(time(0, 0), "Europe/Berlin"), "22:10", "2026-11-20 15:09:59", True),
        (TradingDay(time(0, 0), "Europe/Berlin"), "22:10", "2026-11-20 15:10:00", False),
        (TradingDay(time(0, 0), "Europe/Berlin"), "22:10", "2026-11-21 17:00:00", False),
        (TradingDay(time(0, 0), "Europe/Berlin"), "22:10", "2026-11-22 17:00:00", True),
        (TradingDay(time(8, 0), "Asia/Tokyo"), "06:10", "2026-11-20 15:09:59", True),
        (TradingDay(time(8, 0), "Asia/Tokyo"), "06:10", "2026-11-20 15:10:00", False),
        (TradingDay(time(8, 0), "Asia/Tokyo"), "06:10", "2026-11-21 17:00:00", False),
        (TradingDay(time(8, 0), "Asia/Tokyo"), "06:10", "2026-11-22 17:00:00", True),
    ],
)
async def test_the_hour_is_local_to_the_trading_day(
    day: TradingDay, flat_by: str, local: str, is_open: bool
) -> None:
    d = desk_at(local, day=day, flat_by=flat_by)
    await d.position("MNQ", 1)
    assert d.actions == ([] if is_open else ["close MNQ"])


@pytest.mark.parametrize(("on", "at_utc"), [("2025-03-07", "21:10"), ("2025-03-10", "20:10")])
async def test_the_hour_follows_the_clocks(on: str, at_utc: str) -> None:
    """Between this Friday and Monday they are put forward."""
    d = desk_at(f"{on} 15:09:00")
    await d.position("MNQ", 1)
    d.now = datetime.fromisoformat(f"{on} {at_utc}").replace(tzinfo=UTC)
    await d.wait(seconds=0.001)
    assert d.actions == ["close MNQ"]
    assert d.now.astimezone(CHICAGO).strftime("%H:%M") == "15:10"


async def test_two_minutes_before_the_exchange_closes_early_its_products_are_closed() -> None:
    """The day after Thanksgiving: indexes until 12:15, metals until 13:45. At that minute a close
    would be refused."""
    d = desk_at("2026-11-27 12:12:00", calendar=shipped())
    await d.position("MNQ", 1)
    await d.position("MGC", 1, 2600)
    await d.wait(seconds=59)
    assert d.taken() == []
    await d.wait(seconds=1)
    assert d.taken() == ["close MNQ"]
    assert d.locked_by() == {"flat_by": "root:MNQ"}
    await d.obey()
    await d.wait_until(chicago("2026-11-27 13:42:59"))
    assert d.taken() == []
    await d.wait(seconds=1)
    assert d.taken() == ["close MGC"]
    assert d.locked_by() == {"flat_by": "root:MGC"}


async def test_a_date_may_have_an_earlier_hour_of_its_own() -> None:
    calendar = shipped(
        early_closes=[{"date": "2025-11-28", "flat_by": "12:00", "timezone": "America/Chicago"}]
    )
    d = desk_at("2025-11-28 11:59:00", calendar=calendar)
    await d.position("MNQ", 1)
    await d.position("MGC", 1, 2600)
    await d.wait(seconds=59)
    assert d.taken() == []
    await d.wait(seconds=1)
    assert d.taken() == ["close MGC", "close MNQ"]
    assert d.lock_ends("flat_by") == chicago("2025-11-30 17:00")


async def test_on_a_holiday_the_next_session_is_the_one_after_it() -> None:
    d = desk_at("2026-12-24 16:00:00", calendar=shipped())
    await d.wait(seconds=1)
    assert d.lock_ends("flat_by") == chicago("2026-12-24 17:00")  # crypto trades on the holiday
    await d.wait(hours=2)
    assert d.locked_by() == {}
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == {"flat_by": "root:MNQ"}
    assert d.lock_ends("flat_by") == chicago("2026-12-27 17:00")


async def test_a_product_the_calendar_does_not_know_follows_the_others() -> None:
    d = desk_at("2026-11-19 15:00:00", calendar=shipped())
    await d.position("XYZ", 1)
    await d.wait(minutes=9)
    assert d.actions == []
    await d.wait(minutes=1)
    assert d.actions == ["close XYZ"]


async def test_a_restart_after_the_hour_closes_what_is_open() -> None:
    d = desk_at("2026-11-19 14:00:00")
    await d.position("MNQ", 1)
    d.now = chicago("2026-11-19 16:00:00")
    await d.restart()
    assert d.actions == ["close MNQ"]


async def test_shadow_tells_and_touches_nothing() -> None:
    d = desk_at("2026-11-19 15:10:00", mode=Mode.SHADOW)
    await d.position("MNQ", 1)
    assert d.actions == []
    assert "MNQ is past the day's flat_by: closing 1 MNQZ6" in d.reasons


async def test_the_meter_says_how_long_is_left() -> None:
    d = desk_at("2026-11-19 14:40:00")
    await d.wait(seconds=0)
    shown = d.meter("flat_by")
    assert shown.title == "Flat by"
    assert shown.sentence == "session open, 30m left until Thu 19 Nov 15:10 America/Chicago"
