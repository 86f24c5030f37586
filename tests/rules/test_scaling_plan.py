"""The scaling plan (EXTRA-006): 2 minis, 3 from 1,500 of profit, 5 from 2,000."""

from datetime import timedelta
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError
from trading_month import next_morning, read, trade

from risk_manager.domain.rule import MeterState
from risk_manager.settings.commitment import combined

RULE = "scaling_plan"
TIERS = [{"max": 2}, {"min_profit": 1_500, "max": 3}, {"min_profit": 2_000, "max": 5}]
PLAN = {"tiers": TIERS, "start_balance": 0}


async def evening(desk: DeskMaker, balance: str, **rule: Any) -> Desk:
    """The day after an evening with this balance."""
    d = desk(scaling_plan={**PLAN, **rule})
    await read(d, balance)
    await next_morning(d)
    return d


@pytest.mark.parametrize(
    ("balance", "most"), [("-300", 2), ("1499.99", 2), ("1500", 3), ("1999.99", 3), ("2000", 5)]
)
async def test_the_tier_of_an_evening(desk: DeskMaker, balance: str, most: int) -> None:
    d = await evening(desk, balance)
    await d.position("ES", most)
    assert d.actions == []
    await d.position("ES", most + 1)
    assert d.actions == [f"reduce ES to {most}"]


async def test_e06_1600_makes_three_tomorrow_whatever_today_makes(desk: DeskMaker) -> None:
    d = await evening(desk, "1600")
    await trade(d, "900.00", fee="0")
    await read(d, "2500.00")
    await d.position("ES", 3)
    assert d.actions == []
    await d.position("ES", 4)
    assert d.actions == ["reduce ES to 3"]
    await d.position("ES", 3)
    await d.position("ES", 0)
    await next_morning(d)
    await d.position("ES", 5)
    assert d.actions == ["reduce ES to 3"]


async def test_a_payout_in_the_day_does_not_change_the_tier(desk: DeskMaker) -> None:
    d = await evening(desk, "2000")
    await read(d, "500.00")
    await read(d, "500.00")
    await d.restart()
    await d.position("ES", 5)
    assert d.actions == []


async def test_ten_micros_are_a_mini(desk: DeskMaker) -> None:
    d = await evening(desk, "0")
    await d.position("ES", 1)
    await d.position("MES", 10)
    assert d.actions == []
    await d.position("MES", 11)
    assert d.actions == ["reduce MES to 10"]
    assert d.meter(RULE).sentence == (
        "21 micro-equivalents held, 1 above the limit; today's tier is of $0.00"
    )


@pytest.mark.parametrize(("count", "most"), [("micro_equivalents", 2), ("contracts", 2)])
async def test_other_units(desk: DeskMaker, count: str, most: int) -> None:
    d = await evening(desk, "0", count=count)
    await d.position("MES", most)
    assert d.actions == []
    await d.position("MES", most + 1)
    assert d.actions == [f"reduce MES to {most}"]


async def test_while_the_balance_is_unknown_only_the_highest_tier_is_certain(
    desk: DeskMaker,
) -> None:
    d = desk(scaling_plan=PLAN)
    await d.position("ES", 5)
    await d.wait(minutes=2)
    assert d.actions == []
    assert d.meter(RULE).state is MeterState.UNKNOWN
    assert d.alarms.count("history_unknown") == 1
    await d.position("ES", 6)
    assert d.actions == ["reduce ES to 5"]


async def test_after_days_away_the_evening_follows_from_the_balance(desk: DeskMaker) -> None:
    d = await evening(desk, "2000")
    d.now += timedelta(days=1)
    await d.restart(read=False)
    await read(d, "1600.00")
    await d.position("ES", 4)
    assert d.actions == ["reduce ES to 3"]


@pytest.mark.parametrize(
    ("tiers", "why"),
    [
        ([{"min_profit": 0, "max": 2}], "the first tier"),
        ([{"max": 2}, {"max": 3}], "either min_balance or min_profit"),
        ([{"max": 2}, {"min_profit": 9, "max": 3}, {"min_balance": 8, "max": 3}], "rising order"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(tiers: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules_from(scaling_plan={"tiers": tiers})


@pytest.mark.parametrize(
    ("tiers", "ids"),
    [
        ([{"max": 1}, {"min_profit": 1_500, "max": 3}], {RULE}),
        ([{"max": 2}, {"min_profit": 1_400, "max": 3}], {RULE, f"{RULE} (until the reset)"}),
        ([{"max": 3}], {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_a_plan_that_allows_less_everywhere_replaces_the_older_one(
    desk: DeskMaker, tiers: list[dict[str, Any]], ids: set[str]
) -> None:
    before, after = (desk(scaling_plan={"tiers": t}).rulebook for t in (TIERS, tiers))
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == ids
