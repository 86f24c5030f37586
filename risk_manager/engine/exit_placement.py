"""Turns "protect this position" into exit orders, never larger than the position.

Prices are rounded to the tick on the safer side. A stop is never placed beyond the market price
and never loosened. All exit stops together never exceed the position.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.account import ENFORCER, Account, Mark
from risk_manager.domain.decisions import Action, Cancel, MoveStop, PlaceExit, Protect
from risk_manager.domain.exit_orders import is_through, stop_ticks, target_ticks
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.layered import ManyOrders
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.state import State

OVERSIZE_PATIENCE = timedelta(milliseconds=500)
"""An exit larger than its position is cut only after this time: the position may be smaller
because that very exit filled, and the order's own report comes a moment later."""


def merged(first: Protect | None, second: Protect) -> Protect:
    """Merge two requests for one contract: the first to name a stop or a target decides it."""
    if first is None:
        return second
    stop = first if first.stop_price is not None else second
    limit = first if first.limit_price is not None else second
    return Protect(
        first.contract_id,
        stop_price=stop.stop_price,
        limit_price=limit.limit_price,
        stop_order_id=stop.stop_order_id,
        size=stop.size,
    )


def protect(state: State, account: Account, position: Position, ask: Protect) -> Iterator[Action]:
    """Yield the actions that bring the working exits in line with the request."""
    exits = [
        o
        for o in account.orders_in(position.contract_id)
        if o.side.sign != position.side and o.status is not OrderStatus.SUSPENDED
    ]
    if ask.stop_price is not None:
        yield from _stop(state, account, position, ask, [o for o in exits if o.is_stop])
    if ask.limit_price is not None:
        size = position.size - sum(o.remaining for o in exits if not o.is_stop)
        if size > 0:
            yield PlaceExit(
                id="",
                account_id=account.id,
                contract_id=position.contract_id,
                side=position.side,
                size=size,
                episode=position.episode,
                limit_price=_on_tick(state, position, ask.limit_price, target_ticks),
            )


def _stop(
    state: State, account: Account, position: Position, ask: Protect, stops: list[Order]
) -> Iterator[Action]:
    if ask.stop_price is None:
        return
    side = position.side
    price = _on_tick(state, position, ask.stop_price, stop_ticks)
    moved = next((o for o in stops if o.id == ask.stop_order_id), None)
    if moved is None and ask.stop_order_id is not None:
        return  # the stop has ended meanwhile; the rule sees that when it is asked next
    # A stop that is being cancelled can still fill.
    size = min(
        ask.size or position.size,
        position.size - sum(o.remaining for o in stops if o is not moved),
    )
    if size <= 0:
        return
    if moved is not None and moved.stop_price is not None:
        price = max(price, moved.stop_price, key=lambda p: p * side)
    unmoved = moved is not None and moved.stop_price == price
    if not unmoved and is_through(state.fresh_quote(position.contract_id), side, price):
        return
    if moved is None:
        yield PlaceExit(
            id="",
            account_id=account.id,
            contract_id=position.contract_id,
            side=side,
            size=size,
            episode=position.episode,
            stop_price=price,
        )
    elif not unmoved or moved.remaining != size:
        yield MoveStop(
            id="",
            account_id=account.id,
            contract_id=position.contract_id,
            order_id=moved.id,
            side=side,
            size=size,
            stop_price=None if moved.type is OrderType.TRAILING_STOP else price,
            filled=moved.filled,
        )


def resized(stop: Order, account_id: int, position: Position, size: int) -> MoveStop:
    """Return a move that leaves the stop at its price with `size` lots working."""
    return MoveStop(
        id="",
        account_id=account_id,
        contract_id=stop.contract_id,
        order_id=stop.id,
        side=position.side,
        size=size,
        stop_price=None if stop.type is OrderType.TRAILING_STOP else stop.stop_price,
        filled=stop.filled,
    )


def tidied(state: State, account: Account) -> Iterator[tuple[str, Cancel | Protect, str]]:
    """Yield contract, ask and reason for each exit order that no longer fits its position.

    An exit without a position would open one; an exit larger than its position would reverse it.
    Covered are exits placed by this program, and every exit of a position this program reduced.
    """
    for order in _perhaps_ours(account):
        if not _in_our_care(account, order) or order.status is OrderStatus.PENDING_CANCELLATION:
            continue
        position = account.positions.get(order.contract_id)
        if position is None or position.side == order.side.sign:
            yield order.contract_id, Cancel((order.id,)), "its position is closed"
            continue
        exits = [
            o
            for o in account.orders_in(order.contract_id)
            if o.side.sign != position.side
            and o.is_stop == order.is_stop
            and o.status is not OrderStatus.SUSPENDED
        ]
        excess = sum(o.remaining for o in exits) - position.size
        ours = [o for o in exits if _in_our_care(account, o)]
        if excess <= 0 or order is not max(ours, key=lambda o: (o.is_own, o.id), default=None):
            continue  # one at a time: our own before the trader's, the newest first
        heard = account.heard.get(order.contract_id)
        if heard is not None and state.now - heard < OVERSIZE_PATIENCE:
            continue
        if excess < order.remaining and order.is_stop and order.stop_price is not None:
            ask = Protect(order.contract_id, stop_price=order.stop_price, stop_order_id=order.id)
            yield order.contract_id, ask, "it was bigger than the position"
        else:
            reason = "the exits were bigger than the position"
            yield order.contract_id, Cancel((order.id,)), reason


def cut_back(account: Account, position: Position, at: datetime) -> Account:
    """Record on the account that this program reduced the position, so that its exits follow."""
    subject = cut_subject(position.contract_id)
    mark = Mark(rule_id=ENFORCER, subject=subject, set_at=at, value=str(position.episode))
    return fast_replace(account, marks={**account.marks, (ENFORCER, subject): mark})


def cut_subject(contract_id: str) -> str:
    """Return the subject of the enforcer's mark for a reduced position."""
    return f"cut:{contract_id}"


def _perhaps_ours(account: Account) -> Iterable[Order]:
    """Return every order that may be in our care.

    Where there are very many orders, only the contracts that may hold our own are searched.
    """
    orders = account.orders
    if not isinstance(orders, ManyOrders):
        return orders.values()
    cut = {m.subject.removeprefix(cut_subject("")) for m in account.marks_of(ENFORCER)}
    chosen = [c for c in orders.contracts if c in cut or c in orders.own]
    return [order for contract_id in chosen for order in orders.in_contract(contract_id)]


def _in_our_care(account: Account, order: Order) -> bool:
    if order.is_own:
        return True
    if not account.own_marks("cut"):  # the usual case
        return False
    mark = account.marks.get((ENFORCER, cut_subject(order.contract_id)))
    position = account.positions.get(order.contract_id)
    return (
        mark is not None
        and position is not None
        and mark.value == str(position.episode)
        and order.side.sign != position.side
    )


def _on_tick(
    state: State,
    position: Position,
    price: Decimal,
    rounded: Callable[[Decimal, int, Decimal], int],
) -> Decimal:
    contract = state.contracts.get(position.contract_id)
    if contract is None:
        return price
    return rounded(price, position.side, contract.tick_size) * contract.tick_size
