"""From "protect this position" to the exit orders that do it. Never larger than the position.

Prices are rounded to the tick towards safety, a stop is never sent through the market and never
moved away from it, and all exit stops together never exceed the position.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from risk_manager.domain.account import Account, Order, Position
from risk_manager.domain.decisions import Action, Cancel, MoveStop, PlaceExit, Protect
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.state import State

OWN_TAG = "rm-"
"""Custom tags of orders this program placed begin with this."""


FILL_PATIENCE = timedelta(milliseconds=500)
"""A smaller position may be this order's own fill, whose report comes in a moment."""


def is_own(order: Order) -> bool:
    return order.custom_tag is not None and order.custom_tag.startswith(OWN_TAG)


def stop_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """The nearest tick that risks no more: up for a long position, down for a short one."""
    rounding = ROUND_CEILING if side > 0 else ROUND_FLOOR
    return int((price / tick_size).to_integral_value(rounding))


def target_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """The nearest tick that asks for no more: down for a long position, up for a short one."""
    return stop_ticks(price, -side, tick_size)


def is_through(state: State, contract_id: str, side: int, price: Decimal) -> bool:
    """Whether a stop at this price would fill at once, by the newest quote known."""
    quote = state.quotes.get(contract_id)
    if quote is None or state.now - quote.at > state.rulebook.defaults.quote_max_age:
        return False
    near = quote.best_bid if side > 0 else quote.best_ask
    market = quote.last_price if near is None else near
    return market is not None and (float(price) - market) * side >= 0


def merged(first: Protect | None, second: Protect) -> Protect:
    """Two wishes for one contract: who asks first decides on the stop and on the target."""
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
    """The actions that bring the working exits in line with what was asked."""
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
        return  # it has ended meanwhile; whoever asked sees that next time
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
    if not unmoved and is_through(state, position.contract_id, side, price):
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
            stop_price=price,
        )


def tidied(state: State, account: Account) -> Iterator[tuple[Cancel | Protect, str]]:
    """What must happen to exits this program placed, whoever asked for them: with a reason.

    Without their position they would open one; bigger than it, they would turn it round.
    """
    for order in account.orders.values():
        if not is_own(order) or order.status is OrderStatus.PENDING_CANCELLATION:
            continue
        position = account.positions.get(order.contract_id)
        if position is None or position.side == order.side.sign:
            yield Cancel((order.id,)), "its position is closed"
            continue
        exits = [
            o
            for o in account.orders_in(order.contract_id)
            if o.side.sign != position.side
            and o.is_stop == order.is_stop
            and o.status is not OrderStatus.SUSPENDED
        ]
        excess = sum(o.remaining for o in exits) - position.size
        if excess <= 0 or order is not max(filter(is_own, exits), key=lambda o: o.id):
            continue  # one at a time, the newest first
        heard = account.heard.get(order.contract_id)
        if heard is not None and state.now - heard < FILL_PATIENCE:
            continue
        if excess < order.remaining and order.is_stop and order.stop_price is not None:
            ask = Protect(order.contract_id, stop_price=order.stop_price, stop_order_id=order.id)
            yield ask, "it was bigger than the position"
        else:
            yield Cancel((order.id,)), "the exits were bigger than the position"


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
