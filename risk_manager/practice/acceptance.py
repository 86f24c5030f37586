"""Which prices and brackets the practice exchange accepts on an order."""

from decimal import Decimal

from risk_manager.practice.book import Book
from risk_manager.practice.products import BELOW_ZERO, Contract
from risk_manager.practice.records import Bracket, OrderType, Side

MAX_BRACKET_TICKS = 1000


def price_problem(
    kind: OrderType,
    side: Side,
    limit_price: Decimal | None,
    stop_price: Decimal | None,
    trail_price: Decimal | None,
    contract: Contract,
    book: Book,
    *,
    placing: bool = True,
) -> str | None:
    """Why these prices cannot be accepted, or None."""
    for label, price in (
        ("limitPrice", limit_price),
        ("stopPrice", stop_price),
        ("trailPrice", trail_price),
    ):
        if price is None:
            continue
        may_be_negative = contract.root in BELOW_ZERO and label != "trailPrice"
        if not price.is_finite() or (price <= 0 and not may_be_negative):
            return f"invalid {label} {price}"
        if price % contract.tick_size:
            return f"{label} {price} is not a multiple of the tick size {contract.tick_size}"
    if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) and limit_price is None:
        return "limitPrice is missing"
    needs_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    if placing and needs_stop and stop_price is None:
        return "stopPrice is missing"
    if kind is OrderType.TRAILING_STOP and trail_price is None:
        return "trailPrice is missing"
    if needs_stop and stop_price is not None:
        wrong = stop_price <= book.last if side is Side.BUY else stop_price >= book.last
        if wrong:
            return f"stopPrice {stop_price} is on the wrong side of the market ({book.last})"
    return None


def bracket_problem(stop_loss: Bracket | None, take_profit: Bracket | None) -> str | None:
    """Why these brackets cannot be accepted, or None."""
    for label, bracket, allowed in (
        ("stopLossBracket", stop_loss, (OrderType.STOP, OrderType.TRAILING_STOP)),
        ("takeProfitBracket", take_profit, (OrderType.LIMIT,)),
    ):
        if bracket is None:
            continue
        if bracket.type not in allowed:
            return f"{label} cannot be of type {int(bracket.type)}"
        if not 0 < abs(bracket.ticks) <= MAX_BRACKET_TICKS:
            return f"{label} ticks {bracket.ticks} out of range"
    return None
