"""While a close is counted already and its position is still shown, its result counts once."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, contract_id

from risk_manager.domain.events import AccountReported, PositionChanged, Tick
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


def open_still(d: Desk, opened_at: datetime | None) -> PositionRecord:
    """The position as it was before its end."""
    return PositionRecord(
        id=5000,
        account_id=101,
        contract_id=contract_id("MNQ"),
        creation_timestamp=opened_at,
        type=PositionType.LONG,
        size=1,
        average_price=Decimal(21000),
    )


async def listed(d: Desk, *records: PositionRecord) -> None:
    await d.happens(
        AccountReported(at=d.now, asked_at=d.now, account_id=101, positions=records, orders=())
    )


async def closed(d: Desk) -> PositionRecord:
    """It is closed, and 0.2 s pass. Returns the record of when it was open."""
    await losing(d)
    record = open_still(d, d.account().positions[contract_id("MNQ")].created_at)
    await d.fill("MNQ", -1, pnl="-240", price=20880)
    await d.position("MNQ", 0)
    d.now += timedelta(milliseconds=200)
    return record


async def closed_and_told_again(d: Desk) -> None:
    """It is closed; the stream tells an older word once more."""
    record = await closed(d)
    await d.happens(PositionChanged(at=d.now, **record.model_dump()))
    assert d.account().net(contract_id("MNQ")) == 1  # as far as anybody can tell


@pytest.mark.parametrize("rule", RULES)
async def test_the_result_of_a_closed_position_counts_once(desk: DeskMaker, rule: str) -> None:
    d = desk(**{rule: RULES[rule]})
    await closed_and_told_again(d)
    await d.quote("MNQ", 20881)
    await d.quote("MNQ", 20880)
    assert d.locked_by() == {}
    await d.wait(seconds=2)
    await d.report(positions={}, orders=[])
    await d.wait(seconds=10)
    assert d.locked_by() == {}


async def test_a_list_does_not_bring_back_what_the_stream_has_just_ended(desk: DeskMaker) -> None:
    """The lots of two products never were held at the same time."""
    d = desk(max_contracts={"limit": 1, "action": "close_all", "lockout": "30m"})
    record = await closed(d)
    await d.position("MES", 1, 6000)
    await listed(d, record)
    assert d.account().net(contract_id("MNQ")) == 0
    assert d.locked_by() == {}
    assert d.actions == []


async def test_a_list_in_doubt_is_asked_for_again_and_then_decides(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 1})
    record = await closed(d)
    await listed(d, record)
    assert d.account().disputes
    d.rest = False  # the reads are looked at here, and not made
    reads = []
    for _ in range(3):
        d.now += timedelta(seconds=1)
        reads.append((await d.happens(Tick(at=d.now))).reads)
    assert reads == [(), (101,), (101,)]
    await listed(d, record)
    assert d.account().net(contract_id("MNQ")) == 1


async def test_a_list_of_a_new_position_is_believed_at_once(desk: DeskMaker) -> None:
    d = desk(max_contracts={"limit": 1})
    record = await closed(d)
    await listed(d, record.model_copy(update={"id": 5001, "creation_timestamp": d.now}))
    assert d.account().net(contract_id("MNQ")) == 1


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
    await closed_and_told_again(d)
    await d.wait(seconds=4)
    await d.quote("MNQ", 20880)
    assert d.locked_by() == {rule: "account"}
