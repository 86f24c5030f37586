"""The trailing loss of the day (EXTRA-002, limit 500)."""

from datetime import timedelta
from typing import Any

import pytest
from desk import DeskMaker
from trading_month import closed, next_morning, open_profit, opened, read, trade

from risk_manager.domain.rule import MeterState
from risk_manager.settings.commitment import combined

RULE = "trailing_daily_loss"
LIMIT = {"limit": 500}
LOCKED = {RULE: "account"}


async def test_without_a_profit_the_loss_counts_from_the_morning(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await trade(d, "-499.99", fee="0")
    assert d.locked_by() == {}
    await trade(d, "-0.01", fee="0")
    assert d.locked_by() == LOCKED
    assert d.reasons == ["$500.00 below the day's best of $0.00, limit $500.00; locked flat"]


async def test_an_open_profit_of_1200_leaves_a_floor_of_700(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "600", "1200", "700.50")
    assert d.locked_by() == {}
    assert d.meter(RULE).sentence == "$0.50 left above $700.00; the day's best is $1,200.00"
    await open_profit(d, "700")
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])


async def test_a_peak_of_one_moment_counts(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await d.position("MNQ", 1, 21000)
    for price in (21000, 21300, 21049.75, 21050):  # +600, +99.50, +100
        await d.quote("MNQ", price)
        await d.quote("MNQ", price)
    assert d.locked_by() == LOCKED


async def test_trailing_by_closed_trades_takes_no_open_peak(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss={**LIMIT, "trail": "realized"})
    await trade(d, "200.00", fee="0")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "1200", "0", "-499.50")
    assert d.locked_by() == {}
    await open_profit(d, "-500")
    assert d.locked_by() == LOCKED


async def test_the_peak_survives_a_restart_and_ends_with_the_day(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await trade(d, "900.00", fee="0")
    await d.restart()
    assert d.meter(RULE).sentence == "$500.00 left above $400.00; the day's best is $900.00"
    await next_morning(d)
    assert d.meter(RULE).sentence == "$500.00 left above -$500.00; the day's best is $0.00"
    await trade(d, "-499.00", fee="0")
    assert d.locked_by() == {}


async def test_a_lock_ends_at_the_reset(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await trade(d, "-500.00", fee="0")
    await d.restart()
    assert d.locked_by() == LOCKED
    await next_morning(d)
    assert d.locked_by() == {}


async def test_without_a_lock_everything_is_closed(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss={**LIMIT, "action": "close_all"})
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "-500")
    assert (d.locked_by(), d.actions) == ({}, ["close MNQ"])


async def test_a_close_told_in_two_messages_is_no_breach(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await opened(d)
    await open_profit(d, "-300")
    await closed(d, "-300.00")
    assert d.locked_by() == {}


async def test_a_winner_whose_position_ends_first_is_no_fall_from_the_peak(
    desk: DeskMaker,
) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await opened(d)
    await open_profit(d, "900")
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    await d.fill("MNQ", -1, pnl="900.00")
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    assert "the day's best is $899.63" in d.meter(RULE).sentence


async def test_a_fill_that_never_comes_is_not_waited_for_without_end(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await opened(d)
    await open_profit(d, "900")
    await d.position("MNQ", 0)
    await d.wait(seconds=5)
    assert d.locked_by() == LOCKED


async def test_a_price_that_is_missing_never_fires_and_is_shown(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    await trade(d, "900.00", fee="0")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "200", "0")
    await d.wait(seconds=15)
    await trade(d, "-400.00", "ES", fee="0")
    # 500 realised, floor 600; the quiet position may stand at 200 again.
    assert (d.locked_by(), d.meter(RULE).state) == ({}, MeterState.UNKNOWN)
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", 21000)
    assert d.locked_by() == LOCKED


async def test_no_quote_between_floor_and_peak_is_judged_twice(desk: DeskMaker) -> None:
    """The quiet band: within it the rule is not asked, at its ends it is."""
    d = desk(trailing_daily_loss=LIMIT)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "400", "300")
    d.now += timedelta(seconds=1)
    await d.quote("MNQ", 21140)
    account = d.account()
    assert account.memo
    [(_, band, _)] = account.memo.values()
    assert (band.low, band.high) == (20950.25, 21199.75)


@pytest.mark.parametrize(
    ("new", "ids"),
    [
        ({"limit": 400}, {RULE}),
        ({"limit": 600}, {RULE, f"{RULE} (until the reset)"}),
        ({"limit": 400, "trail": "realized"}, {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_a_lower_limit_replaces_the_older_one(
    desk: DeskMaker, new: dict[str, Any], ids: set[str]
) -> None:
    before, after = (desk(trailing_daily_loss=x).rulebook for x in (LIMIT, new))
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == ids


async def test_unwatched_days_do_not_matter(desk: DeskMaker) -> None:
    d = desk(trailing_daily_loss=LIMIT)
    d.now += timedelta(days=5)
    await read(d)
    await trade(d, "-500.00", fee="0")
    assert d.locked_by() == LOCKED
