"""While a close is counted already and its position is still shown, its result counts once."""

from datetime import timedelta
from typing import Any

import pytest
from desk import Desk, DeskMaker, contract_id

from risk_manager.domain.events import AccountReported
from risk_manager.domain.records import PositionRecord, PositionType

RULES: dict[str, dict[str, Any]] = {
    "trailing_daily_loss": {"limit": 300},
    "daily_realized_loss": {"limit": 300, "include_unrealized": True},
    "period_loss": {"limit": 300, "include_unrealized": True},
    "group_limit": {
        "accounts": [101, 102],
        "measure": "day_loss",
        "limit": 300,
        "include_unrealized": True,
    },
}


async def losing(d: Desk) -> None:
    """One MNQ loses 240."""
    await d.report(positions={})
    await d.fill("MNQ", 1, price=21000)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 20880)
    await d.wait(seconds=30)
    await d.quote("MNQ", 20880)


async def closed_and_listed_again(d: Desk) -> None:
    """It is closed; a list of a moment later still shows it."""
    await losing(d)
    created = d.account().positions[contract_id("MNQ")].created_at
    await d.fill("MNQ", -1, pnl="-240", price=20880)
    await d.position("MNQ", 0)
    d.now += timedelta(milliseconds=200)
    again = PositionRecord(
        id=5000,
        account_id=101,
        contract_id=contract_id("MNQ"),
        creation_timestamp=created,
        type=PositionType.LONG,
        size=1,
        average_price=21000,
    )
    await d.happens(
        AccountReported(at=d.now, asked_at=d.now, account_id=101, positions=(again,), orders=())
    )


@pytest.mark.parametrize("rule", RULES)
async def test_the_result_of_a_closed_position_counts_once(desk: DeskMaker, rule: str) -> None:
    d = desk(**{rule: RULES[rule]})
    await closed_and_listed_again(d)
    assert d.account().net(contract_id("MNQ")) == 1  # as far as anybody can tell
    await d.quote("MNQ", 20881)
    await d.quote("MNQ", 20880)
    assert d.locked_by() == {}
    await d.wait(seconds=2)
    await d.report(positions={}, orders=[])
    await d.wait(seconds=10)
    assert d.locked_by() == {}


@pytest.mark.parametrize("rule", RULES)
async def test_between_the_fill_of_a_close_and_its_position_nothing_counts_twice(
    desk: DeskMaker, rule: str
) -> None:
    d = desk(**{rule: RULES[rule]})
    await losing(d)
    await d.fill("MNQ", -1, pnl="-240", price=20880)
    await d.quote("MNQ", 20881)
    d.now += timedelta(milliseconds=500)
    await d.position("MNQ", 0)
    await d.wait(seconds=10)
    assert d.locked_by() == {}


@pytest.mark.parametrize("rule", RULES)
async def test_a_position_that_stays_counts_after_a_moment(desk: DeskMaker, rule: str) -> None:
    d = desk(**{rule: RULES[rule]})
    await closed_and_listed_again(d)
    await d.wait(seconds=4)
    await d.quote("MNQ", 20880)
    assert d.locked_by() == {rule: "account"}
