"""After an exit there are no new entries for a while; reversals and partial exits are no exits."""

from datetime import timedelta
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.rule import MeterState

RULE = "reentry_delay"


async def held(d: Desk, lots: int, symbol: str = "MNQ", *, net: int | None = None) -> None:
    await d.fill(symbol, lots)
    await d.position(symbol, lots if net is None else net)


async def out(d: Desk, lots: int, symbol: str = "MNQ", *, pnl: float = 40) -> None:
    """All is closed by one order."""
    await d.fill(symbol, -lots, pnl=pnl)
    await d.position(symbol, 0)


async def test_an_exit_locks_its_product_for_the_delay(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 2)
    began = d.now
    await out(d, 2)
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}
    assert d.lock_ends(RULE) == began + timedelta(minutes=2)
    await held(d, 1, "MES")
    assert d.actions == []
    await held(d, 1, "MNQ")
    assert d.actions == ["close MNQ"]


async def test_the_account_may_be_locked(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m", "scope": "account"})
    await held(d, 1, "MES")
    await held(d, 2)
    await out(d, 2)
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "account"}
    assert d.actions == []
    await held(d, 1, "MES", net=2)
    assert d.actions == ["reduce MES to 1"]


async def test_only_a_losing_exit_where_so_configured(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m", "after": "loss"})
    await held(d, 2)
    await out(d, 2, pnl=0)
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    await held(d, 2)
    await out(d, 2, pnl=-1)
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}


async def test_an_entry_order_is_cancelled_during_the_delay(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    await d.wait(seconds=1)
    order = await d.order("MNQ", 1, price=20900)
    assert d.actions == [f"cancel {order}"]


async def test_after_the_delay_everything_is_allowed(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    await d.wait(seconds=121)
    assert d.locked_by() == {}
    await held(d, 3)
    await d.wait(minutes=1)
    assert d.actions == []


async def test_who_is_in_again_before_the_lock_is_closed(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    d.now += timedelta(milliseconds=300)
    await held(d, 2)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    assert d.reasons[-1] == "MNQZ6 was entered 0s after an exit, with a delay of 2m; closing"


async def test_a_partial_exit_is_no_exit(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 5)
    for left in (4, 2):
        await d.fill("MNQ", -1, pnl=-20, order_id=9)
        await d.position("MNQ", left)
        await d.wait(seconds=5)
    await held(d, 1, net=3)
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    assert d.actions == []


async def test_an_exit_in_parts_is_one_exit(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 3)
    for left in (2, 1, 0):
        await d.fill("MNQ", -1, pnl=-20, order_id=9)
        await d.position("MNQ", left)
        d.now += timedelta(milliseconds=100)
    await d.wait(seconds=1)
    assert len(d.locks_set) == 1


@pytest.mark.parametrize("in_one", [True, False])
@pytest.mark.parametrize("position_first", [True, False])
async def test_a_reversal_is_no_exit(desk: DeskMaker, in_one: bool, position_first: bool) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 2)
    if position_first:
        await d.position("MNQ", -2)
    if in_one:
        await d.fill("MNQ", -4, pnl=-40, order_id=9)
    else:
        await d.fill("MNQ", -2, pnl=-40, order_id=9)
        await d.fill("MNQ", -2, order_id=9)
    await d.position("MNQ", -2)
    await d.wait(seconds=10)
    assert d.locked_by() == {}
    assert d.actions == []
    await d.fill("MNQ", 2, pnl=-40)
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}


async def test_a_reversal_that_was_closed_again_at_once_began_no_delay_by_itself(
    desk: DeskMaker,
) -> None:
    d = desk(reentry_delay={"delay": "2m", "after": "loss"})
    await held(d, 2)
    await d.fill("MNQ", -4, pnl=-40, order_id=9)
    await d.position("MNQ", -2)
    await d.fill("MNQ", 2, pnl=10)
    await d.position("MNQ", 0)
    await d.wait(seconds=5)
    assert d.locked_by() == {}


async def test_a_stop_that_fills_is_an_exit(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 2)
    stop = await d.stop("MNQ", -2, 20990)
    await d.fill("MNQ", -2, pnl=-40, order_id=stop)
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}


@pytest.mark.parametrize("counts", [False, True])
async def test_what_this_program_closes_counts_only_if_so_configured(
    desk: DeskMaker, counts: bool
) -> None:
    d = desk(
        symbol_blocks={"blocked": ["MNQ"]},
        reentry_delay={"delay": "2m", "scope": "account", "include_enforced": counts},
    )
    await held(d, 2)
    assert d.actions == ["close MNQ"]
    await out(d, 2)
    await d.settle(d.enforcer.actions[0])
    await d.wait(seconds=2)
    assert (RULE in d.locked_by()) is counts


async def test_the_close_of_a_reentry_does_not_prolong_the_delay(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    ends = d.now + timedelta(minutes=2)
    await d.wait(seconds=30)
    await held(d, 1)
    await out(d, 1, pnl=-2)
    await d.settle(d.enforcer.actions[0])
    await d.wait(seconds=5)
    assert d.lock_ends(RULE) == ends


async def test_an_administrator_may_end_it_and_it_stays_ended(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    await d.wait(seconds=1)
    await d.admin("unlock", scope="root:MNQ")
    await held(d, 1)
    await d.wait(seconds=10)
    assert d.locked_by() == {}
    assert d.actions == []


async def test_a_restart_in_between_changes_nothing(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    await out(d, 1)
    await d.restart()
    await d.wait(seconds=1)
    assert d.locked_by() == {RULE: "root:MNQ"}
    await d.restart()
    await held(d, 1)
    assert d.actions == ["close MNQ"]
    assert len(d.locks_set) == 1


async def test_an_exit_heard_of_late_counts_from_its_own_time(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    exit_at = d.now
    await d.position("MNQ", 0)
    await d.wait(seconds=90)
    await d.fill("MNQ", -1, pnl=5, at=exit_at)
    await d.wait(seconds=1)
    assert d.lock_ends(RULE) == exit_at + timedelta(minutes=2)


async def test_the_meter_counts_down(desk: DeskMaker) -> None:
    d = desk(reentry_delay={"delay": "2m"})
    await held(d, 1)
    assert d.meter(RULE).sentence == "an exit pauses new entries in its product for 2m"
    await out(d, 1)
    await d.wait(seconds=20)
    assert d.meter(RULE).sentence == "no new entries in MNQ for another 1m40s"
    assert d.meter(RULE).state is MeterState.BREACH


@pytest.mark.parametrize("fields", [{}, {"delay": "0s"}, {"delay": "2d"}])
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rules_from(reentry_delay=fields)
