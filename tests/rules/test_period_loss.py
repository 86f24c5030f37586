"""The loss of the week and of the month (EXTRA-003, limit 1,000)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from desk import Desk, DeskMaker
from trading_month import next_morning, open_profit, read, trade

from risk_manager.domain.rule import MeterState
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.settings.commitment import combined

RULE = "period_loss"
WEEK = {"period": "week", "limit": 1_000}
MONTH = {"period": "month", "limit": 1_000}
LOCKED = {RULE: "account"}
CHICAGO = TradingDay(timezone="America/Chicago")
MONDAY = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
SUNDAY_17_00 = datetime(2026, 11, 29, 23, 0, tzinfo=UTC)  # in Chicago


async def monday(desk: DeskMaker, **rule: Any) -> Desk:
    d = desk(desk_at=MONDAY, desk_day=CHICAGO, period_loss=rule)
    await read(d)
    return d


async def test_e03_monday_and_tuesday_lock_until_sunday(desk: DeskMaker) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "-400.00", fee="0")
    await next_morning(d)
    await trade(d, "-599.99", fee="0")
    assert d.locked_by() == {}
    await trade(d, "-0.01", fee="0")
    assert d.locked_by() == LOCKED
    assert d.lock_ends(RULE) == SUNDAY_17_00
    assert d.reasons[-1] == "lost $1,000.00 this week, limit $1,000.00; locked flat"


async def test_the_lock_stands_over_resets_and_restarts_until_the_week_opens(
    desk: DeskMaker,
) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "-1000.00", fee="0")
    for _ in range(4):
        await next_morning(d)
        await d.restart()
        assert d.locked_by() == LOCKED
    await d.admin("unlock")
    d.now = SUNDAY_17_00 - timedelta(minutes=1)
    await d.wait(seconds=58)
    assert d.locked_by() == LOCKED
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    assert d.meter(RULE).sentence == "$1,000.00 left this week"


async def test_profits_of_the_week_raise_the_room_and_last_week_does_not_count(
    desk: DeskMaker,
) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "700.00", fee="0")
    await next_morning(d)
    await trade(d, "-1699.99", fee="0")
    assert d.locked_by() == {}
    for _ in range(4):
        await next_morning(d)
    await trade(d, "-999.99", fee="0")
    assert d.locked_by() == {}


async def test_a_month_ends_with_its_last_trading_day(desk: DeskMaker) -> None:
    d = desk(desk_at=MONDAY, desk_day=CHICAGO, period_loss=MONTH)
    await read(d)
    for _ in range(5):
        await trade(d, "-100.00", fee="0")
        await next_morning(d)
    await trade(d, "-500.00", fee="0")  # on Monday, 30 November
    assert d.locked_by() == LOCKED
    assert d.lock_ends(RULE) == datetime(2026, 11, 30, 23, 0, tzinfo=UTC)
    await next_morning(d)
    assert d.locked_by() == {}


async def test_open_positions_count_when_asked_for(desk: DeskMaker) -> None:
    d = await monday(desk, **WEEK, include_unrealized=True)
    await trade(d, "-400.00", fee="0")
    await next_morning(d)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "-599.50")
    assert d.locked_by() == {}
    await open_profit(d, "-600")
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])


async def test_the_meter_says_what_closing_now_would_leave(desk: DeskMaker) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "-400.00", fee="0")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "-100")
    sentence = "$600.00 left this week; closed now, $500.00 = 1000 ticks on 1"
    assert d.meter(RULE).sentence == sentence
    await open_profit(d, "-600")
    assert d.meter(RULE).sentence == "$600.00 left this week; closed now, limit reached"

    with_open = await monday(desk, **WEEK, include_unrealized=True)
    await trade(with_open, "-400.00", fee="0")
    await with_open.position("MNQ", 1, 21000)
    await open_profit(with_open, "-100")
    assert with_open.meter(RULE).sentence == "$500.00 left this week = 1000 ticks on 1"


async def test_a_day_that_is_unknown_is_shown_and_excuses_no_known_loss(desk: DeskMaker) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "-400.00", fee="0")
    await next_morning(d)
    d.now += timedelta(days=2)  # nobody watches the rest of Tuesday, nor Wednesday
    await d.restart(read=False)
    await d.wait(minutes=2)
    meter = d.meter(RULE)
    assert (meter.state, meter.sentence) == (
        MeterState.UNKNOWN,
        "$600.00 left this week, without 2 unknown days",
    )
    assert d.alarms.count("history_unknown") == 1
    await trade(d, "-599.00", fee="0")
    assert d.locked_by() == {}
    await trade(d, "-1.00", fee="0")
    assert d.locked_by() == LOCKED


async def test_the_first_days_of_a_week_come_from_the_list_of_trades(desk: DeskMaker) -> None:
    """The daemon is installed on a Wednesday."""
    at = MONDAY + timedelta(days=2)
    d = desk(desk_at=at, desk_day=CHICAGO, period_loss=WEEK)
    trades = [
        {
            "id": 7,
            "accountId": 101,
            "contractId": "CON.F.US.MNQ.Z26",
            "orderId": 7,
            "creationTimestamp": MONDAY,
            "price": 21000,
            "profitAndLoss": -700,
            "fees": 0.74,
            "side": 1,
            "size": 1,
            "voided": False,
        }
    ]
    began = CHICAGO.began(MONDAY.date())
    await d.report(positions={}, trades=trades, trades_since=began)
    assert d.meter(RULE).sentence == "$299.26 left this week"
    await d.wait(minutes=2)
    assert "history_unknown" not in d.alarms


async def test_warnings_come_once_each(desk: DeskMaker) -> None:
    d = await monday(desk, **WEEK)
    await trade(d, "-500.00", fee="0")
    await trade(d, "-300.00", fee="0")
    await trade(d, "-1.00", fee="0")
    assert d.reasons == [
        "$500.00 of the week's loss limit $1,000.00 is used",
        "$800.00 of the week's loss limit $1,000.00 is used",
    ]


@pytest.mark.parametrize(
    ("new", "ids"),
    [
        ({**WEEK, "limit": 900}, {RULE}),
        ({**WEEK, "limit": 1_100}, {RULE, f"{RULE} (until the reset)"}),
        (MONTH, {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_a_lower_limit_replaces_the_older_one(
    desk: DeskMaker, new: dict[str, Any], ids: set[str]
) -> None:
    before, after = (desk(period_loss=x).rulebook for x in (WEEK, new))
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == ids
