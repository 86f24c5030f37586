"""Facts that wait together are one turn: kept in one transaction, acted on once, told in order."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from desk import MORNING, Desk, contract_id, rules_from
from virtual_time import in_virtual_time

from risk_manager.domain.decisions import Action
from risk_manager.domain.events import (
    AccountChanged,
    AdminAsked,
    AnyEvent,
    HealthIssueChanged,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    RulebookReplaced,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import MOST_IN_A_TURN, Pipeline

MNQ = contract_id("MNQ")
AT = MORNING + timedelta(seconds=1)


class Edges:
    """Store, enforcer and feed in one, so that their order can be seen."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.turns: list[list[AnyEvent]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        await self.commit_turn([Judged(event, before, outcome)])

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        self.turns.append([judged.event for judged in turn])
        self.happened.append(f"begin {len(turn)}")
        await self.may_end.wait()
        self.happened.append("durable")

    def submit(self, action: Action) -> None:
        self.happened.append(type(action).__name__)

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.happened.append(f"tell {event.kind}")


async def working(**rules: object) -> tuple[Pipeline, Edges, asyncio.Task[None]]:
    desk = Desk(rules_from(**rules))
    await desk.wait(seconds=1)
    edges = Edges()
    pipeline = Pipeline(desk.pipeline.state, store=edges, enforcer=edges, feed=edges)
    return pipeline, edges, asyncio.create_task(pipeline.run(), name="pipeline")


def position(net: int, contract: str = MNQ) -> PositionChanged:
    return PositionChanged.model_validate(
        {
            "at": AT,
            "id": 5000,
            "accountId": 101,
            "contractId": contract,
            "creationTimestamp": MORNING,
            "type": 2 if net < 0 else 1,
            "size": abs(net),
            "averagePrice": 21000,
        }
    )


def trade(number: int, pnl: float | None) -> TradeExecuted:
    return TradeExecuted.model_validate(
        {
            "at": AT,
            "id": number,
            "accountId": 101,
            "contractId": MNQ,
            "creationTimestamp": AT,
            "price": 21000,
            "profitAndLoss": pnl,
            "fees": 0,
            "side": 1,
            "size": 1,
            "orderId": number,
        }
    )


def account() -> AccountChanged:
    return AccountChanged.model_validate(
        {"at": AT, "id": 101, "name": "50K", "balance": 50000, "canTrade": True}
    )


def order(number: int) -> OrderChanged:
    return OrderChanged.model_validate(
        {
            "at": AT,
            "id": number,
            "accountId": 101,
            "contractId": MNQ,
            "creationTimestamp": MORNING,
            "status": 1,
            "type": 1,
            "side": 0,
            "size": 1,
            "limitPrice": 20900,
        }
    )


@in_virtual_time
async def test_a_fill_in_four_frames_is_kept_once_and_closes_nothing_that_has_ended() -> None:
    """F2.3: The trade sets a lock, and the position frame behind it says flat: no close."""
    pipeline, edges, running = await working(daily_realized_loss={"limit": 100})
    pipeline.inbox.put_nowait(position(1))
    await pipeline.inbox.join()
    edges.happened.clear()
    pipeline.inbox.put_nowait(trade(1, -150))
    pipeline.inbox.put_nowait(position(0))
    await pipeline.inbox.join()
    assert edges.happened == ["begin 2", "durable", "tell trade_executed", "tell position_changed"]
    running.cancel()


@in_virtual_time
async def test_the_account_behind_a_breach_does_not_hold_up_the_close() -> None:
    """The last frame of a fill states the balance, which never makes a close needless."""
    pipeline, edges, running = await working(max_contracts={"limit": 2})
    for fact in (trade(1, None), position(3), account(), order(7)):
        pipeline.inbox.put_nowait(fact)
    await pipeline.inbox.join()
    assert [[e.kind for e in turn] for turn in edges.turns] == [
        ["trade_executed", "position_changed"],
        ["account_changed", "order_changed"],
    ]
    assert edges.happened[:3] == ["begin 2", "durable", "ReducePosition"]
    running.cancel()


@in_virtual_time
async def test_the_account_shares_the_turn_while_nothing_is_to_be_sent() -> None:
    pipeline, edges, running = await working(max_contracts={"limit": 5})
    for fact in (trade(1, None), position(3), account()):
        pipeline.inbox.put_nowait(fact)
    await pipeline.inbox.join()
    assert [len(turn) for turn in edges.turns] == [3]
    running.cancel()


@in_virtual_time
async def test_what_still_stands_is_sent_when_all_of_the_turn_is_durable() -> None:
    pipeline, edges, running = await working(max_contracts={"limit": 2})
    edges.may_end.clear()
    taken = asyncio.create_task(pipeline.inbox.take(trade(1, None), position(3)))
    await asyncio.sleep(1)
    assert edges.happened == ["begin 2"]
    assert not taken.done()
    edges.may_end.set()
    await taken
    assert edges.happened == [
        "begin 2",
        "durable",
        "ReducePosition",
        "tell trade_executed",
        "tell position_changed",
    ]
    running.cancel()


@in_virtual_time
async def test_a_turn_is_bounded_and_nothing_changes_places() -> None:
    pipeline, edges, running = await working()
    events: list[AnyEvent] = [order(number) for number in range(1, MOST_IN_A_TURN + 11)]
    events.insert(MOST_IN_A_TURN + 5, Tick(at=AT))
    events.insert(MOST_IN_A_TURN + 8, QuoteChanged(at=AT, contract_id=MNQ, last_price=21000.0))
    for event in events:
        pipeline.inbox.put_nowait(event)
    await pipeline.inbox.join()
    assert [len(turn) for turn in edges.turns] == [MOST_IN_A_TURN, 5, 1, 2, 1, 3]
    assert [event for turn in edges.turns for event in turn] == events
    running.cancel()


@in_virtual_time
async def test_a_breach_behind_thousands_of_orders_is_acted_on_in_the_first_turn() -> None:
    """F6.5: Positions and executions are taken before the orders they stand behind, in order."""
    pipeline, edges, running = await working(symbol_blocks={"blocked": ["RTY"]})
    exposure: list[AnyEvent] = [
        trade(1, None),
        position(1),
        trade(2, None),
        position(2, contract_id("RTY")),
    ]
    for number in range(1, 2_001):
        pipeline.inbox.put_nowait(order(number))
        if number in (5, 50, 1_000):
            pipeline.inbox.put_nowait(exposure.pop(0))
    pipeline.inbox.put_nowait(exposure.pop(0))
    await pipeline.inbox.join()
    first = edges.turns[0]
    assert [e.kind for e in first[:5]] == [
        "trade_executed",
        "position_changed",
        "trade_executed",
        "position_changed",
        "order_changed",
    ]
    actions = [word for word in edges.happened if word.endswith(("Position", "Order"))]
    assert actions == ["ClosePosition"]
    assert edges.happened.index("ClosePosition") == 2
    assert len(edges.turns) <= 3
    orders = [e for turn in edges.turns for e in turn if isinstance(e, OrderChanged)]
    assert [o.id for o in orders] == list(range(1, 2_001))
    running.cancel()


@in_virtual_time
async def test_new_rules_are_never_passed_and_a_short_line_keeps_its_order() -> None:
    """F6.5: In a long line a person and the positions are first; what they are judged by is not
    passed."""
    pipeline, _, running = await working()
    running.cancel()
    inbox = pipeline.inbox
    asked = AdminAsked(at=AT, account_id=101, verb="lock", reason="enough")
    doubt = HealthIssueChanged(at=AT, doubt=IssueKind.SLOW, reason="late")
    orders = [order(number) for number in range(1, 300)]
    events: list[AnyEvent] = [*orders, doubt, position(1), asked, position(2)]
    for event in events:
        inbox.put_nowait(event)
    assert [await inbox.get() for _ in range(4)] == [position(1), asked, position(2), orders[0]]
    rules = RulebookReplaced(at=AT, rulebook=pipeline.state.rulebook)
    inbox.put_nowait(rules)
    inbox.put_nowait(position(3))
    left = [await inbox.get() for _ in range(len(inbox))]
    assert left == [*orders[1:], doubt, rules, position(3)]
    short: list[AnyEvent] = [order(1), position(2), order(2), trade(1, None)]
    for event in short:
        inbox.put_nowait(event)
    assert [await inbox.get() for _ in range(4)] == short
