"""The practice exchange as seen by the core: its frames as events, actions as calls on it.

Nothing waits here and nothing is a socket: a test decides when a frame arrives and how a call ends.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import (
    AccountChanged,
    AccountReported,
    AnyEvent,
    ContractResolved,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    TradeExecuted,
)
from risk_manager.domain.symbols import Contract
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import Event, OrderType, Side
from risk_manager.practice.refusals import Refusal

FRAMES: dict[str, Callable[[Any], AnyEvent]] = {
    "order": OrderChanged.model_validate,
    "trade": TradeExecuted.model_validate,
    "position": PositionChanged.model_validate,
    "account": AccountChanged.model_validate,
}


def told(event: Event, at: datetime) -> AnyEvent | None:
    """One frame as the core hears it; None for what it does not listen to."""
    if event.kind == "quote":
        return QuoteChanged(
            at=at,
            contract_id=event.contract_id,
            last_price=event.data["lastPrice"],
            best_bid=event.data["bestBid"],
            best_ask=event.data["bestAsk"],
        )
    read = FRAMES.get(event.kind)
    return None if read is None else read({"at": at, **event.data})


def resolved(exchange: Exchange, at: datetime) -> list[ContractResolved]:
    """Every listed contract with its tick size and value."""
    return [
        ContractResolved(at=at, contract=Contract(c.id, c.name, c.tick_size, c.tick_value))
        for c in exchange.contracts.values()
    ]


def report(exchange: Exchange, account_id: int, at: datetime) -> AccountReported:
    """The account as REST would state it; sleeping brackets are left out, as there."""
    account = exchange.account(account_id)
    assert account is not None
    return AccountReported.model_validate(
        {
            "at": at,
            "asked_at": at,
            "account_id": account_id,
            "account": account.payload(),
            "positions": [p.payload() for p in exchange.positions(account_id)],
            "orders": [o.payload() for o in exchange.working_orders(account_id)],
            "trades": [t.payload() for t in exchange.trades(account_id)],
        }
    )


def carry_out(exchange: Exchange, action: Action, at: datetime) -> tuple[Outcome, int | None]:
    """As the enforcer would: one call, sized by what the broker holds now; and the order's id.

    AssertionError where the call enlarges a position or turns it round.
    """
    before = exchange.net(action.account_id, action.contract_id)
    answer = _call(exchange, action, before, at)
    after = exchange.net(action.account_id, action.contract_id)
    assert abs(after) <= abs(before), f"{action} enlarged {before} to {after}"
    assert after * before >= 0, f"{action} turned {before} into {after}"
    if isinstance(answer, Outcome):
        return answer, None
    if isinstance(answer, Refusal):
        return Outcome.REFUSED, None
    return Outcome.DONE, answer if isinstance(action, PlaceExit) else None


def _call(
    exchange: Exchange, action: Action, net: int, at: datetime
) -> Outcome | Refusal | int | None:
    account_id, contract_id, size = action.account_id, action.contract_id, abs(net)
    match action:
        case ClosePosition():
            if not size:
                return Outcome.GONE
            return exchange.order_entry.close_position(account_id, contract_id, now=at)
        case ReducePosition():
            if net * action.side <= 0 or size <= action.keep:
                return Outcome.GONE
            return exchange.order_entry.partial_close(
                account_id, contract_id, size - action.keep, now=at
            )
        case CancelOrder():
            order = exchange.order(action.order_id)
            if order is None or order.is_terminal:
                return Outcome.GONE
            return exchange.order_entry.cancel(account_id, action.order_id, now=at)
        case PlaceExit():
            if net * action.side <= 0:
                return Outcome.GONE
            return exchange.order_entry.place(
                account_id,
                contract_id,
                Side.SELL if action.side > 0 else Side.BUY,
                min(action.size, size),
                OrderType.LIMIT if action.stop_price is None else OrderType.STOP,
                now=at,
                stop_price=action.stop_price,
                limit_price=action.limit_price,
                custom_tag=f"rm-test-{action.id}",
            )
        case MoveStop():
            if net * action.side <= 0:
                return Outcome.REFUSED
            return exchange.order_entry.modify(
                account_id,
                action.order_id,
                now=at,
                size=action.filled + min(action.size, size),
                stop_price=action.stop_price,
            )
    raise AssertionError(action)
