"""Products that trade round the clock: MBT on a Saturday. The others are shut at the same time."""

from datetime import UTC, datetime, timedelta

import pytest
from desk import Desk, DeskMaker

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.domain.rulebook import Defaults
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

SATURDAY = datetime(2026, 11, 21, 16, 0, tzinfo=UTC)
BREAK = datetime(2026, 11, 19, 22, 30, tzinfo=UTC)  # Thursday 16:30 in Chicago
CHRISTMAS = datetime(2026, 12, 25, 16, 0, tzinfo=UTC)


def shipped() -> MarketCalendar:
    return market_calendar(CalendarFile(), CalendarSection(), "America/New_York")


@pytest.mark.parametrize("at", [SATURDAY, BREAK, CHRISTMAS])
@pytest.mark.parametrize("symbol", ["MBT", "MET"])
async def test_a_stale_price_of_a_product_that_never_shuts_is_told_and_closed(
    desk: DeskMaker, symbol: str, at: datetime
) -> None:
    """F5.3: Saturday, 1 MBT, 90 s without a price, `flatten_after:30s`: told and closed."""
    d = desk(
        daily_unrealized_loss={"limit": 300},
        desk_at=at,
        desk_calendar=shipped(),
        desk_defaults=Defaults(flatten_after=timedelta(seconds=30)),
    )
    await d.position(symbol, 1, 90_000)
    await d.quote(symbol, 90_000)
    await d.wait(seconds=29)
    assert d.actions == []
    assert d.reasons == [
        f"no trusted price for {symbol}Z6 for 11s; its loss is not watched",
    ]
    assert d.alarms == ["stale_quotes"]
    await d.wait(seconds=1)
    assert d.actions == [f"close {symbol}"]


@pytest.mark.parametrize("at", [SATURDAY, BREAK, CHRISTMAS])
async def test_a_product_that_is_shut_meanwhile_is_left_alone(
    desk: DeskMaker, at: datetime
) -> None:
    """F5.3: The calendar is that of the product group: of MNQ no price is missed then."""
    d = desk(
        daily_unrealized_loss={"limit": 300},
        desk_at=at,
        desk_calendar=shipped(),
        desk_defaults=Defaults(flatten_after=timedelta(seconds=30)),
    )
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21000)
    await d.wait(seconds=90)
    assert (d.actions, d.reasons, d.alarms) == ([], [], [])


async def refused(desk: Desk, *, seconds: int) -> int:
    """How many closes are sent while each is refused."""
    done = 0
    for _ in range(seconds):
        for action in desk.enforcer.actions[done:]:
            done += 1
            await desk.settle(action, Outcome.REFUSED, code=5)
        await desk.wait(seconds=1)
    return done


async def test_refused_closes_are_retried_on_a_saturday_as_on_weekdays(desk: DeskMaker) -> None:
    """F5.3: Closes of MBT that are refused on a Saturday are sent again as often as on a Friday."""
    sent = {}
    for day, symbol in (("friday", "MBT"), ("saturday", "MBT"), ("saturday", "MNQ")):
        at = SATURDAY if day == "saturday" else SATURDAY - timedelta(days=1)
        d = desk(desk_at=at, desk_calendar=shipped())
        await d.position(symbol, 1, 90_000)
        await d.admin("lock", policy="flat")
        sent[day, symbol] = await refused(d, seconds=300)
        assert ("market_shut" in d.alarms) == (symbol == "MNQ")
        assert ("cannot_enforce" in d.alarms) == (symbol == "MBT")
    assert sent["saturday", "MBT"] == sent["friday", "MBT"] > 30
    assert sent["saturday", "MNQ"] <= 12
