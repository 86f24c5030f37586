"""Which working orders could increase a position, and which only protect or leave it."""

from collections.abc import Iterable
from enum import StrEnum

from risk_manager.domain.account import Order
from risk_manager.domain.records import OrderStatus


class Effect(StrEnum):
    """What an order would do to the position if it filled whole."""

    ENTRY = "entry"
    EXIT = "exit"
    REVERSING = "reversing"


def effects(net: int, orders: Iterable[Order]) -> dict[int, Effect]:
    """Order id -> effect, for the working orders of one contract with position `net`.

    Exit orders are netted against the position in the order they were placed, stops and limits
    apart: a stop and a target for the same lots are a bracket, and both only leave. What exceeds
    the position would enter.
    """
    result: dict[int, Effect] = {}
    room = {True: abs(net), False: abs(net)}
    for order in sorted(orders, key=lambda o: o.id):
        if net == 0 or (net > 0) == (order.side.sign > 0):
            result[order.id] = Effect.ENTRY
            continue
        if order.status is OrderStatus.PENDING_CANCELLATION:
            result[order.id] = Effect.EXIT
            continue
        left = room[order.is_stop]
        if order.remaining <= left:
            result[order.id] = Effect.EXIT
        else:
            result[order.id] = Effect.REVERSING if left else Effect.ENTRY
        room[order.is_stop] = max(left - order.remaining, 0)
    return result


def increase(before: int, fill: int) -> int:
    """How much a signed fill increases a signed position: 0 when it only reduces.

    A reversal reduces to flat first; only what goes beyond is an increase.
    """
    if before * fill >= 0:
        return abs(fill)
    return max(abs(fill) - abs(before), 0)
