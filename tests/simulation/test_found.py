"""What the simulation has found, each at its smallest."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from desk import DeskMaker, contract_id
from paper_broker import ACCOUNTS, CLOSE, POSITIONS, PaperBroker, refuse, status
from virtual_time import LoopClock, in_virtual_time

from risk_manager.broker.lanes import Lanes
from risk_manager.broker.replies import Answer
from risk_manager.broker.request_budget import Limits
from risk_manager.domain.events import AccountReported
from risk_manager.domain.records import (
    AccountRecord,
    OrderRecord,
    OrderSide,
    OrderStatus,
    OrderType,
)

ABOUT = {"accountId": 101}


async def test_a_suspended_bracket_whose_end_was_lost_is_not_cancelled_for_ever(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.stop("MNQ", -1, status=OrderStatus.SUSPENDED)
    await d.wait(seconds=1)
    await d.report(positions={}, orders=[])
    await d.admin("lock")
    await d.wait(minutes=1)
    assert d.actions == []
    assert d.account().is_flat


async def test_orders_read_without_their_positions_are_not_taken_for_entries(
    desk: DeskMaker,
) -> None:
    """The positions could not be read: the stop it shows belongs to one we do not know yet."""
    d = desk()
    await d.admin("lock", policy="no_entries")
    await d.happens(
        AccountReported(at=d.now, asked_at=d.now, account_id=101, orders=(_stop(d.now, 7),))
    )
    assert d.actions == []
    await d.happens(AccountReported.model_validate(_whole(d.now, 7)))
    assert not any(action.startswith("cancel") for action in d.actions)


async def test_after_a_start_the_broker_is_read_before_a_protective_stop_is_judged(
    desk: DeskMaker,
) -> None:
    """While the daemon was down the trader bought: what looked like an entry is the stop of it."""
    d = desk()
    await d.admin("lock", policy="no_entries", until=None)
    await d.admin("unlock")
    stop = await d.stop("MNQ", -1)
    await d.admin("lock", policy="no_entries")
    await d.restart(read=False)
    assert d.actions == [f"cancel {stop}"]  # asked for before the restart, not after it
    await d.report(positions={"MNQ": 1})
    assert d.actions[1:] == ["close MNQ"]


async def test_after_a_start_an_old_position_is_no_reason_to_close_the_new_one(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss={"limit": 100})
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20990)
    d.now += timedelta(hours=10)
    await d.restart(read=False)
    await d.quote("MNQ", 20900)  # the old two would have lost 400
    assert d.actions == []
    await d.report(positions={"MNQ": 2}, price=20899)
    assert d.actions == []


async def test_a_position_closed_and_opened_anew_in_the_meantime_is_not_closed_for_the_old_one(
    desk: DeskMaker,
) -> None:
    """The same contract, the same side: only its number and its age tell the two apart."""
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("flatten")
    assert d.actions == ["close MNQ"]
    await d.wait(minutes=1)
    asked_before = len(d.actions)
    await d.position("MNQ", 2, id=5001)
    await d.wait(seconds=5)
    assert len(d.actions) == asked_before
    assert not d.account().closings


@pytest.mark.parametrize("late", [1, 0])
async def test_a_late_word_of_an_earlier_position_does_not_replace_the_one_held_now(
    desk: DeskMaker, late: int
) -> None:
    """Believed, it would make the stop of what is held look like an entry."""
    d = desk()
    began = d.now
    await d.position("MNQ", 1, id=5001)
    await d.wait(seconds=1)
    await d.position("MNQ", 0, id=5001, creationTimestamp=began)
    await d.position("MNQ", -3, id=5002)
    await d.stop("MNQ", 3, price=21010)
    await d.position("MNQ", late, id=5001, creationTimestamp=began)
    assert d.account().net(contract_id("MNQ")) == -3


async def test_a_stop_is_not_placed_for_a_position_that_the_stream_tells_of_after_its_end(
    desk: DeskMaker,
) -> None:
    """One frame late, and no list could be read for seconds: the stop would have opened."""
    rule = {"grace": "5s", "action": "place_stop", "place_stop_ticks": 20}
    d = desk(no_stop_loss_grace=rule, desk_rest=False)
    began = d.now
    await d.position("MNQ", -2, creationTimestamp=began)
    await d.wait(seconds=2)
    await d.position("MNQ", 0, creationTimestamp=began)
    await d.wait(seconds=1)
    await d.position("MNQ", -1, creationTimestamp=began)
    await d.wait(seconds=10)
    assert d.actions == []
    await d.report(positions={}, asked_at=d.now - timedelta(seconds=10.5))  # asked for before it
    await d.wait(seconds=1)
    assert d.actions == []
    await d.report(positions={"MNQ": -1})  # it is the gateway that lets an id live on
    await d.wait(seconds=1)
    assert d.actions == ["place stop MNQ +1 at 21005.00"]


async def test_nor_once_its_stop_has_filled_while_nobody_says_what_is_left(desk: DeskMaker) -> None:
    rule = {"grace": "5s", "action": "place_stop", "place_stop_ticks": 20}
    d = desk(no_stop_loss_grace=rule, desk_rest=False)
    began = d.now
    await d.position("MNQ", -2, creationTimestamp=began)
    await d.position("MNQ", 0, creationTimestamp=began)
    await d.position("MNQ", -1, creationTimestamp=began)
    stop = await d.stop("MNQ", 1, price=21010)
    await d.report(positions={"MNQ": -1})
    await d.wait(seconds=10)
    await d.stop("MNQ", 1, price=21010, order_id=stop, status=OrderStatus.FILLED, filled=1)
    await d.wait(minutes=2)
    assert d.actions == []


async def test_a_restart_that_cannot_read_acts_on_what_it_remembers(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.restart(read=False)
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ"]
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ", "close MNQ"]


async def test_an_older_report_does_not_end_a_restriction(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard={})
    await d.can_trade(True)
    asked_at = d.now
    await d.wait(seconds=1)
    await d.can_trade(False)
    assert "auth_loss_guard" in d.locked_by()
    record = AccountRecord(id=101, name="A", can_trade=True)
    await d.happens(AccountReported(at=d.now, asked_at=asked_at, account_id=101, account=record))
    assert "auth_loss_guard" in d.locked_by()
    await d.wait(seconds=3)  # by as much may lists lag
    await d.happens(AccountReported(at=d.now, asked_at=d.now, account_id=101, account=record))
    assert "auth_loss_guard" not in d.locked_by()


@in_virtual_time
async def test_reads_leave_room_when_closes_and_cancels_are_many() -> None:
    """Together never more than the gateway's two hundred a minute, however stormy it is."""
    broker = PaperBroker(latency=0.001)
    broker.hold(101, "CON.F.US.MNQ.Z26", 1)
    async with Lanes(broker, LoopClock(), limits=Limits(patience_seconds=0.0)) as lanes:
        for _ in range(90):
            await lanes.act(CLOSE, {**ABOUT, "contractId": "CON.F.US.MNQ.Z26"})
        for _ in range(200):
            await lanes.look(POSITIONS, ABOUT)
            await lanes.read(ACCOUNTS, {"onlyActiveAccounts": True})
    assert len(broker.asked) <= 90 + 120


@in_virtual_time
async def test_a_429_gives_the_next_place_to_the_close_not_to_a_look() -> None:
    broker = PaperBroker(latency=0.001)
    broker.faults[CLOSE].append(status(429, "5"))
    async with Lanes(broker, LoopClock()) as lanes:
        await lanes.act(CLOSE, {**ABOUT, "contractId": "CON.F.US.MNQ.Z26"})
        assert (await lanes.look(POSITIONS, ABOUT)).answer is Answer.LIMITED
        broker.faults[CLOSE].append(refuse(2))
        reply = await lanes.act(CLOSE, {**ABOUT, "contractId": "CON.F.US.MNQ.Z26"})
        assert reply.answer is Answer.GONE
        await asyncio.sleep(2.1)
        assert (await lanes.look(POSITIONS, ABOUT)).ok


def _stop(at: datetime, order_id: int) -> OrderRecord:
    return OrderRecord(
        id=order_id,
        account_id=101,
        contract_id=contract_id("MNQ"),
        status=OrderStatus.OPEN,
        type=OrderType.STOP,
        side=OrderSide.SELL,
        size=1,
        creation_timestamp=at,
        update_timestamp=at,
    )


def _whole(at: datetime, order_id: int) -> dict[str, Any]:
    return {
        "at": at,
        "asked_at": at,
        "account_id": 101,
        "orders": [_stop(at, order_id)],
        "positions": [{"accountId": 101, "contractId": contract_id("MNQ"), "type": 1, "size": 1}],
    }
