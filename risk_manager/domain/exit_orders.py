"""What working orders would do to a position: which leave it, which enter, which protect it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from risk_manager.domain.holdings import STOP_TYPES, Order, Position
from risk_manager.domain.records import OrderStatus, OrderType

if TYPE_CHECKING:
    from risk_manager.domain.events import QuoteChanged

WORKING = frozenset({OrderStatus.OPEN, OrderStatus.PENDING})


class Effect(StrEnum):
    """What an order would do to the position if it filled whole."""

    ENTRY = "entry"
    EXIT = "exit"
    REVERSING = "reversing"


def precedence(order: Order) -> tuple[bool, bool, int]:
    """Which of several exits counts first where there are too many (the lowest).

    The trader's own before what this program placed, the older before the newer. A sleeping
    bracket protects nothing yet and comes last.
    """
    return (order.status is OrderStatus.SUSPENDED, order.is_own, order.id)


def exit_lots(net: int, orders: Iterable[Order]) -> dict[int, int]:
    """Order id -> how many of its lots only leave the position `net`, were it to fill whole.

    Exit orders are netted against the position, stops and limits apart: a stop and a target for
    the same lots are a bracket, and both only leave. What exceeds the position would enter.
    """
    result: dict[int, int] = {}
    room = {True: abs(net), False: abs(net)}
    for order in sorted(orders, key=precedence):
        if net == 0 or (net > 0) == (order.side.sign > 0):
            result[order.id] = 0
        elif order.status is OrderStatus.PENDING_CANCELLATION:
            result[order.id] = order.remaining
        else:
            result[order.id] = min(order.remaining, room[order.is_stop])
            room[order.is_stop] -= result[order.id]
    return result


def effects(net: int, orders: Iterable[Order]) -> dict[int, Effect]:
    """Order id -> effect, for the working orders of one contract with position `net`."""
    orders = list(orders)
    lots = exit_lots(net, orders)
    return {order.id: _effect(net, order, lots[order.id]) for order in orders}


def _effect(net: int, order: Order, lots: int) -> Effect:
    if net == 0 or (net > 0) == (order.side.sign > 0):
        return Effect.ENTRY
    if lots == order.remaining:
        return Effect.EXIT
    return Effect.REVERSING if lots else Effect.ENTRY


def increase(before: int, fill: int) -> int:
    """How much a signed fill increases a signed position: 0 when it only reduces.

    A reversal reduces to flat first; only what goes beyond is an increase.
    """
    if before * fill >= 0:
        return abs(fill)
    return max(abs(fill) - abs(before), 0)


# --- how much of a position stops cover ---


@dataclass(frozen=True, slots=True)
class Terms:
    """Which stops count. `reach` is how far from the entry one may stand, in price units."""

    types: frozenset[OrderType] = STOP_TYPES
    beyond_entry: bool = True
    reach: Decimal | None = None


def is_exit_stop(order: Order, position: Position) -> bool:
    """A stop (of any kind) that is working and would leave the position."""
    return (
        order.type in STOP_TYPES
        and order.status in WORKING
        and order.side.sign != position.side
        and order.remaining > 0
    )


def covered(
    position: Position,
    orders: Iterable[Order],
    terms: Terms,
    quote: "QuoteChanged | None" = None,
) -> int:
    """Contracts of the position that its stops protect; never more than its size."""
    total = 0
    for order in orders:
        if (
            order.type in terms.types
            and is_exit_stop(order, position)
            and _is_in_place(order, position, terms, quote)
        ):
            total += order.remaining
    return min(total, position.size)


def _is_in_place(
    order: Order, position: Position, terms: Terms, quote: "QuoteChanged | None"
) -> bool:
    price = order.stop_price
    if price is None:
        return order.type is OrderType.TRAILING_STOP
    average = position.average_price
    if average is not None and (terms.reach is not None or not terms.beyond_entry):
        risk = (average - price) * position.side
        if risk < 0 and not terms.beyond_entry:
            return False
        if terms.reach is not None and risk > terms.reach:
            return False
    return not _passed_by(price, position.side, quote)


def _passed_by(price: Decimal, side: int, quote: "QuoteChanged | None") -> bool:
    """A stop the market has gone through without triggering it protects nothing."""
    if quote is None:
        return False
    far = quote.best_ask if side > 0 else quote.best_bid
    return far is not None and (float(price) - far) * side > 0


def leftover_entries(position: Position, orders: Iterable[Order]) -> list[Order]:
    """Stops from before the position turned round, which would now add to it."""
    return [
        o
        for o in orders
        if o.is_stop and o.side.sign == position.side and o.seen_at < position.opened_at
    ]


# --- prices of exits ---


def stop_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """The nearest tick that risks no more: up for a long position, down for a short one."""
    rounding = ROUND_CEILING if side > 0 else ROUND_FLOOR
    return int((price / tick_size).to_integral_value(rounding))


def target_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """The nearest tick that asks for no more: down for a long position, up for a short one."""
    return stop_ticks(price, -side, tick_size)


def is_through(quote: "QuoteChanged | None", side: int, price: Decimal) -> bool:
    """Whether a stop at this price would fill at once, by the newest quote known."""
    if quote is None:
        return False
    near = quote.best_bid if side > 0 else quote.best_ask
    market = quote.last_price if near is None else near
    return market is not None and (float(price) - market) * side >= 0
