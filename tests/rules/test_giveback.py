"""Giving back the profit of the day (EXTRA-007, armed at 500, 40 %)."""

from typing import Any

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError
from trading_month import closed, next_morning, open_profit, opened, trade

from risk_manager.domain.rule import MeterState
from risk_manager.settings.commitment import combined

RULE = "giveback"
FORTY = {"arm_at": 500, "fraction": 0.4}
LOCKED = {RULE: "account"}


async def test_e07_a_peak_of_900_ends_the_day_at_540(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await trade(d, "900.00", fee="0")
    await trade(d, "-359.99", fee="0")
    assert d.locked_by() == {}
    assert d.meter(RULE).sentence == (
        "armed: $359.99 of $900.00 given back, ends the day at $540.00"
    )
    await trade(d, "-0.01", fee="0")
    assert d.locked_by() == LOCKED
    assert d.reasons == [
        "the day had made $900.00 and is back at $540.00, floor $540.00; locked flat"
    ]


async def test_below_arm_at_everything_may_be_given_back(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await trade(d, "499.99", fee="0")
    assert d.meter(RULE).sentence == "armed at $500.00, $0.01 to go"
    await trade(d, "-900.00", fee="0")
    assert d.locked_by() == {}


async def test_arm_at_itself_arms(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await trade(d, "500.00", fee="0")
    await trade(d, "-200.00", fee="0")
    assert d.locked_by() == LOCKED


async def test_an_amount_instead_of_a_fraction(desk: DeskMaker) -> None:
    d = desk(giveback={"arm_at": 500, "amount": 300})
    await trade(d, "800.00", fee="0")
    await trade(d, "-299.99", fee="0")
    assert d.locked_by() == {}
    await trade(d, "-0.01", fee="0")
    assert d.locked_by() == LOCKED


async def test_open_profit_arms_and_counts(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "900", "540.50")
    assert d.locked_by() == {}
    await open_profit(d, "540")
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])


async def test_closed_trades_only(desk: DeskMaker) -> None:
    d = desk(giveback={**FORTY, "include_unrealized": False})
    await trade(d, "600.00", fee="0")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "2000", "-500")
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 0
    assert d.meter(RULE).sentence == (
        "armed: $0.00 of $600.00 given back, ends the day at $360.00; closed now, floor reached"
    )
    await open_profit(d, "-100")
    assert d.meter(RULE).sentence == (
        "armed: $0.00 of $600.00 given back, ends the day at $360.00; "
        "closed now, $100.00 given back"
    )


async def test_what_would_arm_it_if_closed_now(desk: DeskMaker) -> None:
    d = desk(giveback={**FORTY, "include_unrealized": False})
    await trade(d, "300.00", fee="0")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "50")
    sentence = "armed at $500.00, $200.00 to go; closed now, $150.00 to go"
    assert d.meter(RULE).sentence == sentence
    await open_profit(d, "200")
    assert d.meter(RULE).sentence == "armed at $500.00, $200.00 to go; closed now, armed"


async def test_the_peak_survives_a_restart_and_rolls_with_the_day(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await trade(d, "900.00", fee="0")
    await d.restart()
    assert d.meter(RULE).limit == 360
    await next_morning(d)
    assert d.meter(RULE).sentence == "armed at $500.00, $500.00 to go"
    await trade(d, "-700.00", fee="0")
    assert d.locked_by() == {}


async def test_a_winner_is_not_given_back_while_it_is_told_closed(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await opened(d)
    await open_profit(d, "0", "900")
    await closed(d, "900.00")
    assert d.locked_by() == {}

    other = desk(giveback=FORTY)
    await opened(other)
    await open_profit(other, "0", "900")
    await other.position("MNQ", 0)  # its fill comes later
    await other.wait(seconds=1)
    assert other.locked_by() == {}
    await other.fill("MNQ", -1, pnl="900.00")
    await other.wait(seconds=5)
    assert other.locked_by() == {}


async def test_a_missing_price_neither_arms_nor_fires(desk: DeskMaker) -> None:
    d = desk(giveback=FORTY)
    await d.position("MNQ", 1, 21000)
    await trade(d, "700.00", "ES", fee="0")
    assert (d.locked_by(), d.meter(RULE).state) == ({}, MeterState.UNKNOWN)
    await d.wait(minutes=1)
    await trade(d, "-400.00", "ES", fee="0")
    assert d.locked_by() == {}
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", 21000)
    assert d.locked_by() == {}  # it was never known to be armed


@pytest.mark.parametrize("fields", [{}, {"fraction": 0.4, "amount": 300}])
def test_it_needs_one_measure(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either fraction"):
        rules_from(giveback={"arm_at": 500, **fields})


@pytest.mark.parametrize(
    ("new", "ids"),
    [
        ({"arm_at": 400, "fraction": 0.3}, {RULE}),
        ({"arm_at": 600, "fraction": 0.3}, {RULE, f"{RULE} (until the reset)"}),
        ({"arm_at": 500, "amount": 100}, {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_what_is_tighter_replaces_the_older_one(
    desk: DeskMaker, new: dict[str, Any], ids: set[str]
) -> None:
    before, after = (desk(giveback=x).rulebook for x in (FORTY, new))
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == ids
