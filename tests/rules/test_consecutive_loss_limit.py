"""Losses in a row (EXTRA-008, three of them pause for an hour)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import MORNING, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.rulebook import Mode

LIMIT = {"losses": 3}
RULE = "consecutive_loss_limit"
LOCKED = {RULE: "account"}


async def test_e08_a_scratch_neither_adds_nor_breaks(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    for result in (-50, -20, "0.00"):
        await d.fill("MNQ", -1, pnl=result)
        await d.wait(seconds=1)
        assert d.locked_by() == {}
    await d.loss(10)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED
    assert d.lock_ends(RULE) == MORNING + timedelta(hours=1, seconds=3)
    assert d.reasons == ["3 losing trades in a row (-$80.00); no new entries for 59m59s"]


async def test_a_win_begins_a_new_row(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    for result in (-50, -20, 5, -10, -10):
        await d.fill("MNQ", -1, pnl=result)
        await d.wait(seconds=1)
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 2


async def test_small_results_are_scratches_when_asked_for(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={**LIMIT, "scratch_below": 5})
    for result in (-50, 5, -5, -50, -5.01):
        await d.fill("MNQ", -1, pnl=result)
        await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


async def test_partial_exits_are_one_trade(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    for _ in range(4):
        await d.fill("MNQ", -1, pnl=-10, order_id=7)
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 1


async def test_equal_instants_are_ordered_by_execution(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={"losses": 2})
    await d.fill("MNQ", -1, pnl=-10, trade_id=12)
    await d.fill("MNQ", -1, pnl=-10, trade_id=10)
    await d.fill("MNQ", -1, pnl=10, trade_id=11)
    await d.wait(seconds=1)
    assert d.locked_by() == {}


async def test_the_row_begins_anew_after_the_pause(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    await d.position("ES", 1, 5800)
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=1)
    await d.loss(10, "ES")  # what was held is closed during the pause
    await d.position("ES", 0)
    await d.wait(minutes=61)
    assert d.locked_by() == {}
    for _ in range(2):
        await d.loss(10)
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    await d.loss(10)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED
    assert len(d.decisions) == 2


async def test_the_row_ends_with_the_day_unless_carried_over(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    kept = desk(consecutive_loss_limit={**LIMIT, "carry_over": True})
    for each in (d, kept):
        await each.loss(10)
        await each.loss(10)
        await each.wait(hours=7)
        await each.loss(10)
        await each.wait(seconds=1)
    assert d.locked_by() == {}
    assert kept.locked_by() == LOCKED


async def test_products_are_counted_apart_when_asked_for(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={**LIMIT, "scope": "root"})
    for symbol in ("MNQ", "ES", "MNQ", "ES", "MNQ"):
        await d.loss(10, symbol)
        await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}
    await d.position("ES", 1, 5800)
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    assert d.reasons[0].startswith("3 losing trades in a row in MNQ (-$30.00)")


async def test_positions_are_kept_unless_all_is_to_be_closed(desk: DeskMaker) -> None:
    for action, expected in (("block_entries", []), ("close_all", ["close ES"])):
        d = desk(consecutive_loss_limit={**LIMIT, "action": action})
        await d.position("ES", 1, 5800)
        for _ in range(3):
            await d.loss(10)
        await d.wait(seconds=1)
        assert d.actions == expected


async def test_the_pause_may_last_until_the_reset(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={**LIMIT, "lockout": "until_reset"})
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=1)
    await d.restart()
    await d.wait(hours=5)
    assert d.locked_by() == LOCKED
    await d.wait(hours=2)
    assert d.locked_by() == {}


async def test_a_restart_neither_loses_nor_repeats_the_pause(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    for _ in range(3):
        await d.loss(10)
    await d.restart()
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED
    await d.wait(minutes=61)
    await d.restart()
    await d.wait(seconds=5)
    assert (d.locked_by(), len(d.decisions)) == ({}, 1)


async def test_a_row_heard_of_too_late_pauses_nothing(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    await d.wait(hours=2)
    for second in range(3):
        await d.loss(10, at=MORNING + timedelta(seconds=second))
    await d.wait(seconds=2)
    assert d.locked_by() == {}


async def test_shadow_tells_and_locks_nothing(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT, desk_mode=Mode.SHADOW)
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=5)
    assert (d.locked_by(), len(d.decisions), d.decisions[0].shadow) == ({}, 1, True)


async def test_the_meter_counts_the_row(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    await d.loss(10)
    await d.loss(10)
    meter = d.meter(RULE)
    assert meter.sentence == "2 of 3 losses in a row, 1 left"
    assert (meter.headroom, meter.unit) == (Decimal(1), "losses")


ANEW = "; counted anew after its pause"


async def test_the_meter_says_that_it_counts_anew_after_its_pause(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT)
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=2)
    await d.wait(minutes=40)
    sentence = "no new entries for another 19m58s, then it counts anew"
    assert d.meter(RULE).sentence == sentence
    await d.loss(10)  # of no row, as it ends during the pause
    await d.wait(minutes=20)
    assert d.locked_by() == {}
    assert d.meter(RULE).sentence == "0 of 3 losses in a row, 3 left" + ANEW
    await d.loss(10)
    assert d.meter(RULE).sentence == "1 of 3 losses in a row, 2 left" + ANEW
    await d.win(10)
    assert d.meter(RULE).sentence == "0 of 3 losses in a row, 3 left"
    await d.loss(10)
    assert d.meter(RULE).sentence == "1 of 3 losses in a row, 2 left"


async def test_the_meter_says_that_shadow_counts_anew(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit=LIMIT, desk_mode=Mode.SHADOW)
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=2)
    sentence = "0 of 3 losses in a row, 3 left; counted anew since it would have paused"
    assert d.meter(RULE).sentence == sentence
    await d.wait(days=1)
    assert d.meter(RULE).sentence == "0 of 3 losses in a row, 3 left"  # the day began a new row


async def test_the_meter_names_the_product_that_is_counted_anew(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={**LIMIT, "scope": "root", "action": "close_all"})
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=2)
    sentence = "locked flat in MNQ for another 59m58s, then it counts anew"
    assert d.meter(RULE).sentence == sentence
    await d.wait(hours=1)
    sentence = "0 of 3 losses in a row, 3 left; counted anew in MNQ after its pause"
    assert d.meter(RULE).sentence == sentence
    await d.loss(10, "ES")
    assert d.meter(RULE).sentence == "1 of 3 losses in a row, 2 left"


async def test_the_meter_says_who_ends_a_pause_without_an_end(desk: DeskMaker) -> None:
    d = desk(consecutive_loss_limit={**LIMIT, "lockout": "manual"})
    for _ in range(3):
        await d.loss(10)
    await d.wait(seconds=2)
    sentence = "no new entries until an administrator lifts it, then it counts anew"
    assert d.meter(RULE).sentence == sentence


@pytest.mark.parametrize(
    "fields",
    [
        {"losses": 0},
        {**LIMIT, "lockout": "none"},
        {**LIMIT, "lockout": "0s"},
        {**LIMIT, "scratch_below": -1},
        {**LIMIT, "scope": "contract"},
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rules_from(consecutive_loss_limit=fields)
