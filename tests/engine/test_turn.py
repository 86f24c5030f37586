"""Facts that arrived together: each judged by itself, acted on once for what is left of them."""

from datetime import timedelta
from typing import Any

from desk import MORNING, Desk, contract_id, rules_from

from risk_manager.domain.decisions import Action, CancelOrder, ClosePosition, ReducePosition
from risk_manager.domain.events import AnyEvent, OrderChanged, PositionChanged, Tick, TradeExecuted
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.state import State
from risk_manager.engine.step import step
from risk_manager.engine.turn import Judged, take_turn

MNQ = contract_id("MNQ")
LATER = MORNING + timedelta(seconds=1)


def position(net: int, *, number: int = 5000, opened: int = 0) -> PositionChanged:
    return PositionChanged.model_validate(
        {
            "at": LATER,
            "id": number,
            "accountId": 101,
            "contractId": MNQ,
            "creationTimestamp": MORNING + timedelta(milliseconds=opened),
            "type": 2 if net < 0 else 1,
            "size": abs(net),
            "averagePrice": 21000,
        }
    )


def order(number: int, status: OrderStatus = OrderStatus.OPEN, **more: Any) -> OrderChanged:
    fields = {"type": OrderType.LIMIT, "limitPrice": 20900, "side": 0, "size": 1, **more}
    return OrderChanged.model_validate(
        {
            "at": LATER,
            "id": number,
            "accountId": 101,
            "contractId": MNQ,
            "status": status,
            "creationTimestamp": MORNING,
            "updateTimestamp": LATER,
            **fields,
        }
    )


def loss(pnl: float, number: int = 1) -> TradeExecuted:
    return TradeExecuted.model_validate(
        {
            "at": LATER,
            "id": number,
            "accountId": 101,
            "contractId": MNQ,
            "creationTimestamp": LATER,
            "price": 21000,
            "profitAndLoss": pnl,
            "fees": 0,
            "side": 1,
            "size": 1,
            "orderId": 7,
        }
    )


async def knowing(*events: AnyEvent, **rules: Any) -> State:
    desk = Desk(rules_from(**rules))
    await desk.wait(seconds=1)
    for event in events:
        await desk.happens(event)
    assert desk.actions == []
    return desk.pipeline.state


def actions(turn: list[Judged]) -> list[Action]:
    return [a for judged in turn for a in judged.outcome.actions]


async def test_no_close_for_a_position_that_the_next_frame_has_ended() -> None:
    """F2.3: The trade that locks comes with the position that is flat already: nothing is sent."""
    state = await knowing(position(1), daily_realized_loss={"limit": 100})
    assert [type(a) for a in step(state, loss(-150)).actions] == [ClosePosition]
    turn = take_turn(state, [order(7, OrderStatus.FILLED), loss(-150), position(0)])
    assert actions(turn) == []
    account = turn[-1].outcome.state.accounts[101]
    assert {lock.rule_id for lock in account.locks.values()} == {"daily_realized_loss"}
    assert len(turn[1].outcome.decisions) == 1
    assert account.attempts == {}


async def test_what_was_not_sent_is_not_under_way_and_the_next_position_is_closed() -> None:
    """F2.3: After a close that was dropped, the re-entry is closed in its own turn."""
    state = await knowing(position(1), daily_realized_loss={"limit": 100})
    state = take_turn(state, [loss(-150), position(0)])[-1].outcome.state
    (close,) = actions(take_turn(state, [position(2, number=5001, opened=900)]))
    assert isinstance(close, ClosePosition)
    assert close.episode == 2
    assert close.follows == ""


async def test_a_reentry_in_the_same_turn_is_closed_once() -> None:
    """F2.3: Out and in again within one turn: one close, for what is held at its end."""
    state = await knowing(position(1), daily_realized_loss={"limit": 100})
    frames: list[AnyEvent] = [loss(-150), position(0), position(2, number=5001, opened=900)]
    turn = take_turn(state, frames)
    (close,) = actions(turn)
    assert isinstance(close, ClosePosition)
    assert close.episode == 2
    assert close.follows == ""
    account = turn[-1].outcome.state.accounts[101]
    assert [a.action for a in account.attempts.values()] == [close]


async def test_no_cancel_of_an_order_that_the_next_frame_has_filled() -> None:
    """F2.3: Under a lock an entry order is told and filled in one turn: its fill is closed."""
    state = await knowing(symbol_blocks={"blocked": ["MNQ"]})
    assert [type(a) for a in step(state, order(9)).actions] == [CancelOrder]
    turn = take_turn(state, [order(9), order(9, OrderStatus.FILLED), position(1, opened=900)])
    assert [type(a) for a in actions(turn)] == [ClosePosition]
    assert all(a.action.key == f"position:{MNQ}" for a in attempts(turn))


def attempts(turn: list[Judged]) -> list[Any]:
    return list(turn[-1].outcome.state.accounts[101].attempts.values())


async def test_no_reduction_to_a_size_that_the_next_frame_has_reached() -> None:
    """F2.3: Too many contracts for one frame only: nothing is cut back, and nothing noted so."""
    state = await knowing(position(2), max_contracts={"limit": 2})
    assert [type(a) for a in step(state, position(3)).actions] == [ReducePosition]
    turn = take_turn(state, [position(3), position(2)])
    assert actions(turn) == []
    account = turn[-1].outcome.state.accounts[101]
    assert account.attempts == {}
    assert account.marks == state.accounts[101].marks
    assert len(turn[0].outcome.decisions) == 1


async def test_what_still_stands_is_sent_once_and_counts_as_under_way() -> None:
    state = await knowing(position(2), max_contracts={"limit": 2})
    turn = take_turn(state, [position(3), position(4), position(5)])
    (reduce,) = actions(turn)
    assert isinstance(reduce, ReducePosition)
    assert [a.action for a in attempts(turn)] == [reduce]
    after = step(turn[-1].outcome.state, Tick(at=LATER + timedelta(seconds=1)))
    assert after.actions == ()


async def test_a_turn_of_one_event_is_a_step() -> None:
    state = await knowing(position(1), daily_realized_loss={"limit": 100})
    (judged,) = take_turn(state, [loss(-150)])
    assert judged.outcome == step(state, loss(-150))
    assert judged.before is state
