"""The effect of working orders on a position: which reduce it, which add, which protect it."""

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
    """The effect of an order on the position if it filled completely."""

    ENTRY = "entry"
    EXIT = "exit"
    REVERSING = "reversing"


def precedence(order: Order) -> tuple[bool, bool, int]:
    """Sort key for exits where there are too many: the lowest counts first.

    The trader's orders come before our own, older before newer. A suspended bracket exit protects
    nothing yet and comes last.
    """
    return (order.status is OrderStatus.SUSPENDED, order.is_own, order.id)


def exit_lots(net: int, orders: Iterable[Order]) -> dict[int, int]:
    """Map each order id to the number of its lots that would only reduce the position `net`.

    Stops and limits are netted against the position separately: a stop and a target for the same
    lots are a bracket, and both only reduce. Lots beyond the position would open a new one.
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
    """Map each order id to its effect, for the working orders of one contract at `net`."""
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
    """Return by how many lots a signed fill increases a signed position: 0 if it only reduces.

    A reversal first reduces to flat. Only the lots beyond that are an increase.
    """
    if before * fill >= 0:
        return abs(fill)
    return max(abs(fill) - abs(before), 0)


# --- how much of a position stops cover ---


@dataclass(frozen=True, slots=True)
class Terms:
    """Which stops count. `reach` is the greatest distance from the entry, in price units."""

    types: frozenset[OrderType] = STOP_TYPES
    beyond_entry: bool = True
    reach: Decimal | None = None


def is_exit_stop(order: Order, position: Position) -> bool:
    """Whether an order is a working stop of any kind that would reduce the position."""
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
    """Return how many lots of the position its stops protect; never more than its size."""
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
    """Whether the market is already beyond the stop price. Such a stop protects nothing."""
    far = None if quote is None else quote.far(side)
    return far is not None and (float(price) - far) * side > 0


def leftover_entries(position: Position, orders: Iterable[Order]) -> list[Order]:
    """Return stops from before the position reversed, which would now add to it."""
    return [
        o
        for o in orders
        if o.is_stop and o.side.sign == position.side and o.seen_at < position.opened_at
    ]


# --- prices of exits ---


def stop_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """Round a stop to the tick without more risk: up for a long position, down for a short one."""
    rounding = ROUND_CEILING if side > 0 else ROUND_FLOOR
    return int((price / tick_size).to_integral_value(rounding))


def target_ticks(price: Decimal, side: int, tick_size: Decimal) -> int:
    """Round a target to the tick nearer the entry: down for a long position, up for a short one."""
    return stop_ticks(price, -side, tick_size)


def is_through(quote: "QuoteChanged | None", side: int, price: Decimal) -> bool:
    """Whether a stop at this price would fill at once, by the newest quote known."""
    market = None if quote is None else quote.near(side)
    return market is not None and (float(price) - market) * side >= 0
