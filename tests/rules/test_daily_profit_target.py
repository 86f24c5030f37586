"""The daily profit target (EXTRA-005, target 1000)."""

from decimal import Decimal
from typing import Any

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.rulebook import Mode

TARGET = {"target": 1000}
LOCKED = {"daily_profit_target": "account"}


async def test_e05_a_profit_above_the_target_ends_the_day(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.position("MNQ", 1)
    await d.win(900)
    assert d.locked_by() == {}
    await d.win(200)
    assert d.locked_by() == LOCKED
    await d.obey()
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["made $1,100.00 today, target $1,000.00; locked flat"]


async def test_the_target_itself_is_enough_and_a_cent_less_is_not(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.win("999.99")
    assert d.locked_by() == {}
    await d.win("0.01")
    assert d.locked_by() == LOCKED


async def test_fees_are_taken_off_unless_gross_is_asked_for(desk: DeskMaker) -> None:
    net = desk(daily_profit_target=TARGET)
    await net.win(1000, fees="0.70")
    assert net.locked_by() == {}

    gross = desk(daily_profit_target={**TARGET, "pnl_basis": "gross"})
    await gross.win(1000, fees="0.70")
    assert gross.locked_by() == LOCKED


async def test_open_profit_counts_when_asked_for_and_a_price_is_known(desk: DeskMaker) -> None:
    d = desk(daily_profit_target={**TARGET, "include_unrealized": True})
    await d.position("MNQ", 2, 21000)
    await d.win(900)
    assert d.locked_by() == {}
    await d.quote("MNQ", 21024.75)
    assert d.locked_by() == {}
    await d.quote("MNQ", 21025)
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])

    blind = desk(daily_profit_target={**TARGET, "include_unrealized": True})
    await blind.position("MNQ", 2, 21000)
    await blind.win(1100)
    assert blind.locked_by() == {}
    assert blind.meter("daily_profit_target").current is None


@pytest.mark.parametrize(("gold", "locked"), [((2600,), LOCKED), ((2600, 2590, 2600), {})])
async def test_a_quiet_part_excuses_no_profit_that_is_certain(
    desk: DeskMaker, gold: tuple[float, ...], locked: dict[str, str]
) -> None:
    """F4.1: The profit counts where the quiet part cannot have taken it back by its day range."""
    d = desk(daily_profit_target={**TARGET, "include_unrealized": True})
    await d.position("MNQ", 2, 21000)
    await d.position("MGC", 1, 2600)
    for price in gold:
        await d.quote("MGC", price)
    await d.wait(seconds=11)
    await d.quote("MNQ", 21260)  # +1040; MGC has moved by 100 at most
    assert d.locked_by() == locked


async def test_the_lock_stands_until_the_reset_over_restarts_and_losses(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.win(1000)
    await d.loss(300)
    await d.restart()
    await d.admin("unlock")
    assert d.locked_by() == LOCKED
    await d.wait(hours=6)
    assert d.locked_by() == {}
    assert d.meter("daily_profit_target").current == 0


async def test_a_timed_lock_arms_again_only_after_a_further_profit(desk: DeskMaker) -> None:
    d = desk(daily_profit_target={**TARGET, "lockout": "15m"})
    await d.win(1000)
    await d.wait(minutes=16)
    assert d.locked_by() == {}
    await d.win(10)
    assert d.locked_by() == LOCKED


async def test_a_target_reached_anew_after_a_timed_lock_locks_again(desk: DeskMaker) -> None:
    """F5.2: 1200 made, the lock ends, 700 lost, 600 made: the target was reached anew."""
    d = desk(daily_profit_target={**TARGET, "lockout": "15m"})
    await d.win(1200)
    await d.wait(minutes=16)
    await d.loss(700)
    await d.win(600)
    assert d.locked_by() == LOCKED


async def test_close_all_locks_nothing(desk: DeskMaker) -> None:
    d = desk(daily_profit_target={**TARGET, "action": "close_all"})
    await d.position("MNQ", 1)
    await d.win(1000)
    assert (d.locked_by(), d.actions) == ({}, ["close MNQ"])


async def test_shadow_tells_and_touches_nothing(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET, desk_mode=Mode.SHADOW)
    await d.position("MNQ", 1)
    await d.win(1000)
    assert (d.locked_by(), d.actions, len(d.decisions)) == ({}, [], 1)


async def test_the_meter_says_how_far_it_is(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.win(360)
    meter = d.meter("daily_profit_target")
    assert meter.sentence == "$360.00 made today, $640.00 to go"
    assert meter.headroom == Decimal(640)
    assert meter.day_result == Decimal(1000)


async def test_the_meter_says_a_loss_as_a_loss(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.loss("418.03")
    meter = d.meter("daily_profit_target")
    assert meter.sentence == "$418.03 lost today, $1,418.03 to go"
    assert meter.current == 0


async def test_the_meter_says_what_closing_now_would_make(desk: DeskMaker) -> None:
    d = desk(daily_profit_target=TARGET)
    await d.win(360)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21010)
    sentence = "$360.00 made today, $640.00 to go; closed now, $600.00 to go"
    assert d.meter("daily_profit_target").sentence == sentence
    await d.quote("MNQ", 21160)
    sentence = "$360.00 made today, $640.00 to go; closed now, target reached"
    assert d.meter("daily_profit_target").sentence == sentence

    with_open = desk(daily_profit_target={**TARGET, "include_unrealized": True})
    await with_open.win(360)
    await with_open.position("MNQ", 2, 21000)
    await with_open.quote("MNQ", 21010)
    sentence = "$400.00 made today, $600.00 to go"
    assert with_open.meter("daily_profit_target").sentence == sentence


@pytest.mark.parametrize("fields", [{"target": 0}, {"target": -1}, {**TARGET, "lockout": "none"}])
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rules_from(daily_profit_target=fields)
