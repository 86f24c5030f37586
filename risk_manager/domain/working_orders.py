"""Which working orders could increase a position, and which only protect or leave it."""

from collections.abc import Iterable
from enum import StrEnum

from risk_manager.domain.account import Order
from risk_manager.domain.protection import is_own
from risk_manager.domain.records import OrderStatus


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
    return (order.status is OrderStatus.SUSPENDED, is_own(order), order.id)


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
