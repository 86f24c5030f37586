"""Limits are edited while they are in force: what the account still knows, and who ends its locks.

An edit that loosens leaves the older version in force until the reset, beside the new one.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from

from risk_manager.domain.events import Tick
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.rulebook import UNTIL_RESET, AccountRules, Mode, Rulebook
from risk_manager.domain.trading_days import DAYS
from risk_manager.engine.step import meters
from risk_manager.settings.commitment import combined

AFTERNOON = datetime(2026, 11, 19, 21, 0, tzinfo=UTC)
RESET = datetime(2026, 11, 19, 22, 0, tzinfo=UTC)
MORNING_ONLY = {
    "timezone": "America/Chicago",
    "respect_holidays": False,
    "sessions": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:30", "end": "12:00"}],
}
ALL_DAY = {
    **MORNING_ONLY,
    "sessions": [{"days": ["sun", "mon", "tue", "wed", "thu"], "start": "17:00", "end": "16:00"}],
}


def book_of(d: Desk, **sections: Any) -> Rulebook:
    return replace(d.rulebook, accounts={101: AccountRules.of(rules_from(**sections))})


async def loosened(d: Desk, **sections: Any) -> Rulebook:
    """The limits are edited: what is tighter holds until the reset. Returns what comes after."""
    new = book_of(d, **sections)
    await d.happens_under(combined(d.rulebook, new))
    return new


async def the_reset(d: Desk, new: Rulebook) -> None:
    await d.wait_until(RESET)
    await d.happens_under(new)


async def test_an_armed_breakeven_stays_armed_when_its_floor_is_lowered(desk: DeskMaker) -> None:
    breakeven = {"mode": "breakeven", "arm_at": 200, "floor": 0}
    d = desk(max_unrealized_profit=breakeven)
    await d.position("MNQ", 2, 21000.0)
    await d.quote("MNQ", 21060.0)
    await d.quote("MNQ", 21010.0)
    await loosened(d, max_unrealized_profit={**breakeven, "floor": -500})
    assert d.actions == []
    await d.quote("MNQ", 21000.0)
    assert d.taken() == ["close MNQ"]


@pytest.mark.parametrize("edited", [False, True])
async def test_orders_counted_before_an_edit_count_after_it(desk: DeskMaker, edited: bool) -> None:
    window = {"name": "day", "per": "trading_day", "max": 5, "cooldown": "until_reset"}
    orders = {"count": "orders", "windows": [window]}
    d = desk(trade_frequency_limit=orders)

    async def place() -> None:
        order_id = await d.order("MNQ", 1, price=20000.0)
        await d.order("MNQ", 1, price=20000.0, order_id=order_id, status=OrderStatus.CANCELLED)

    for _ in range(5):
        await place()
    if edited:
        more = {**orders, "windows": [{**window, "max": 50}]}
        await loosened(d, trade_frequency_limit=more)
    assert d.locked_by() == {}
    await place()
    assert len(d.locked_by()) == 1


async def test_losses_paused_for_already_are_not_paused_for_again_by_an_edit(
    desk: DeskMaker,
) -> None:
    losses = {"losses": 3, "lockout": "1h"}
    d = desk(consecutive_loss_limit=losses)
    for _ in range(3):
        await d.loss(50)
        await d.wait(seconds=10)
    await d.wait(minutes=90)
    assert d.locked_by() == {}
    await loosened(d, consecutive_loss_limit={**losses, "lockout": "30m"})
    await d.loss(50)
    await d.wait(seconds=5)
    assert d.locked_by() == {}


async def test_what_an_older_version_remembered_ends_with_it(desk: DeskMaker) -> None:
    breakeven = {"mode": "breakeven", "arm_at": 200, "floor": 0}
    d = desk(desk_at=AFTERNOON, max_unrealized_profit=breakeven)
    await d.position("MNQ", 2, 21000.0)
    await d.quote("MNQ", 21060.0)
    new = await loosened(d, max_unrealized_profit={**breakeven, "floor": -500})
    assert any(owner.endswith(UNTIL_RESET) for owner, _ in d.account().marks)
    await the_reset(d, new)
    assert {owner for owner, _ in d.account().marks} - {DAYS} == {"max_unrealized_profit"}


async def test_edited_while_stopped_the_memory_is_handed_on_as_well(desk: DeskMaker) -> None:
    breakeven = {"mode": "breakeven", "arm_at": 200, "floor": 0}
    d = desk(max_unrealized_profit=breakeven)
    await d.position("MNQ", 2, 21000.0)
    await d.quote("MNQ", 21060.0)
    new = book_of(d, max_unrealized_profit={**breakeven, "floor": -500})
    d.pipeline.state = replace(d.pipeline.state, rulebook=combined(d.rulebook, new))
    await d.restart()
    await d.quote("MNQ", 21000.0)
    assert d.taken() == ["close MNQ"]


async def test_the_meters_of_both_versions_can_be_told_apart(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss={"limit": 500})
    await loosened(d, daily_realized_loss={"limit": 5000})
    told = {m.title: m.limit for m in meters(d.pipeline.state, 101, Tick(at=d.now))}
    assert told == {"Loss today": 5000, "Loss today (until the reset)": 500}


async def test_a_restriction_noticed_by_both_versions_ends_for_both(desk: DeskMaker) -> None:
    d = desk(desk_at=AFTERNOON, auth_loss_guard={"can_trade": {"poll": "60s"}})
    await d.can_trade(True)
    new = await loosened(d, auth_loss_guard={"can_trade": {"poll": "120s"}})
    await d.can_trade(False)
    await d.wait(seconds=5)
    assert d.locked_by().keys() == {"auth_loss_guard", "auth_loss_guard" + UNTIL_RESET}
    await the_reset(d, new)
    assert d.locked_by().keys() == {"auth_loss_guard"}
    await d.can_trade(True)
    await d.wait(minutes=5)
    assert d.locked_by() == {}


async def test_a_restriction_outlasts_its_rule_until_the_account_may_trade(
    desk: DeskMaker,
) -> None:
    d = desk(desk_at=AFTERNOON, auth_loss_guard={})
    await d.can_trade(True)
    await d.can_trade(False)
    await d.wait(seconds=5)
    new = await loosened(d)
    assert d.locked_by().keys() == {"auth_loss_guard" + UNTIL_RESET}
    await the_reset(d, new)
    await d.wait(minutes=5)
    assert len(d.locked_by()) == 1
    await d.can_trade(True)
    assert d.locked_by() == {}


async def test_hours_made_longer_count_from_the_reset(desk: DeskMaker) -> None:
    d = desk(desk_at=AFTERNOON, session_block_outside=MORNING_ONLY)
    await d.wait(seconds=1)
    assert d.locked_by().keys() == {"session_block_outside"}
    new = await loosened(d, session_block_outside=ALL_DAY)
    assert "session_block_outside" + UNTIL_RESET in d.locked_by()
    await the_reset(d, new)
    await d.wait(hours=1, minutes=5)
    assert d.locked_by() == {}
    await d.position("MNQ", 1)
    assert d.actions == []


async def test_a_lock_goes_over_to_the_older_version_without_a_gap(desk: DeskMaker) -> None:
    kept = {**MORNING_ONLY, "at_end": "cancel_only"}
    d = desk(desk_at=AFTERNOON, session_block_outside=kept)
    await d.position("MNQ", 1)
    await d.wait(seconds=1)
    d.taken()
    before = dict(d.account().ceilings)
    await loosened(d)
    assert d.account().ceilings == before
    assert d.locked_by() == {"session_block_outside" + UNTIL_RESET: "account"}


@pytest.mark.parametrize("shadowed", ["the rule", "the account"])
async def test_a_lock_is_not_left_to_a_rule_in_shadow(desk: DeskMaker, shadowed: str) -> None:
    d = desk(symbol_blocks={"blocked": ["GC"]})
    await d.position("GC", 1, 2000.0)
    await d.position("GC", 0)
    rule = rules_from(symbol_blocks={"blocked": ["GC"], "shadow": shadowed == "the rule"})
    mode = Mode.SHADOW if shadowed == "the account" else Mode.ENFORCE
    new = replace(d.rulebook, accounts={101: AccountRules.of(rule, mode)})
    await d.happens_under(combined(d.rulebook, new))
    assert d.locked_by() == {"symbol_blocks" + UNTIL_RESET: "root:GC"}
    await d.wait_until(d.pipeline.state.day.ends_at)
    await d.happens_under(new)
    assert d.locked_by() == {}


@pytest.mark.parametrize("lock", ["cooldown", "manual", "day"])
async def test_no_rule_put_in_under_the_id_of_another_ends_its_lock(
    desk: DeskMaker, lock: str
) -> None:
    d = desk(daily_realized_loss={"limit": 500, "lockout": "1h"})
    rule_id = "daily_realized_loss"
    if lock == "cooldown":
        await d.loss(500)
    elif lock == "manual":
        rule_id = "manual"
        await d.admin("lock")
    else:
        rule_id = "lost_database"
        await d.admin("lock_day", rule_id=rule_id)
    assert rule_id in d.locked_by()
    await d.new_rules(rules_from(symbol_blocks={"id": rule_id, "blocked": ["GC"]}))
    await d.wait(seconds=5)
    assert rule_id in d.locked_by()


async def test_a_days_lock_made_a_manual_one_is_for_an_administrator_from_the_next_day(
    desk: DeskMaker,
) -> None:
    d = desk(daily_realized_loss={"limit": 500})
    await d.loss(500)
    await d.new_rules(
        rules_from(daily_realized_loss={"limit": 500, "lockout": "manual", "unlock": "admin"})
    )
    await d.admin("unlock")
    assert d.locked_by() == {"daily_realized_loss": "account"}
    await d.wait_until(d.pipeline.state.day.ends_at)
    assert d.locked_by() == {"daily_realized_loss": "account"}
    await d.admin("unlock")
    assert d.locked_by() == {}
