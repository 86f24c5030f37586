"""How much of a position its working stops cover."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from risk_manager.domain.account import STOP_TYPES, Order, Position
from risk_manager.domain.records import OrderStatus, OrderType

if TYPE_CHECKING:
    from risk_manager.domain.events import QuoteChanged

WORKING = frozenset({OrderStatus.OPEN, OrderStatus.PENDING})


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
