"""Finds positions and orders in a reading of the account, or in what is known of it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from risk_manager.broker.reading.readings import Reading
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action, PlaceExit
from risk_manager.domain.holdings import STOP_TYPES, TERMINAL, Order, Position
from risk_manager.domain.records import (
    LIST_LAG,
    OrderRecord,
    OrderStatus,
    PositionRecord,
    PositionType,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A position as far as it is known. `side` is 0 when the gateway did not say."""

    size: int
    side: int

    def is_on(self, side: int) -> bool:
        return self.size > 0 and self.side in (0, side)


FLAT = Held(size=0, side=0)


def held_in(positions: tuple[PositionRecord, ...], contract_id: str) -> Held:
    record = _stated_in(positions, contract_id)
    if record is None:
        return FLAT
    side = {PositionType.LONG: 1, PositionType.SHORT: -1}.get(record.type, 0)
    return Held(size=record.size, side=side)


def _stated_in(positions: tuple[PositionRecord, ...], contract_id: str) -> PositionRecord | None:
    return next((p for p in positions if p.contract_id == contract_id and p.size), None)


def at_most(action: Action, side: int, keep: int) -> Callable[[Reading], bool]:
    """Return a test whether at most `keep` lots are left on this side.

    A position on the other side is a different one.
    """

    def is_met(reading: Reading) -> bool:
        held = held_in(reading.positions or (), action.contract_id)
        if held.size <= keep:
            return True
        return side != 0 and held.side == -side

    return is_met


def has_later(reading: Reading, position: Position) -> bool:
    """Whether a reading shows a later position in the same contract."""
    record = _stated_in(reading.positions or (), position.contract_id)
    return record is not None and position.precedes(record)


def working_order(reading: Reading, order_id: int) -> OrderRecord | None:
    return next(
        (o for o in reading.orders or () if o.id == order_id and o.status not in TERMINAL), None
    )


def exit_lots(reading: Reading | None, account: Account | None, action: PlaceExit) -> int:
    """Return the lots of working exits of the same kind (stops or targets).

    Those listed count, and those that a list may not know yet, as the stream has told of them only
    just or since; without a list, all that the account is known to have. Where the two differ in
    size, the larger counts.
    """
    listed = reading.orders if reading is not None else None
    known_to = None if reading is None or listed is None else reading.asked_at - LIST_LAG
    lots = {
        o.id: max(o.size - o.fill_volume, 0) for o in listed or () if _is_such_an_exit(o, action)
    }
    for order in account.orders.values() if account is not None else ():
        may_count = known_to is None or order.id in lots or order.seen_at > known_to
        if may_count and _is_such_an_exit(order, action):
            lots[order.id] = max(lots.get(order.id, 0), order.remaining)
    return sum(lots.values())


def _is_such_an_exit(order: OrderRecord | Order, action: PlaceExit) -> bool:
    return (
        order.contract_id == action.contract_id
        and order.side.sign != action.side
        and order.status not in TERMINAL
        and order.status is not OrderStatus.SUSPENDED
        and (order.type in STOP_TYPES) == (action.stop_price is not None)
    )


@dataclass(slots=True)
class PlacedExit:
    """The newest reading's answer to whether an exit was placed and its position is still held.

    `opened_at`: when the position was first reported to us. A list asked for right after that, and
    without the exit, may not know the position yet, which does not mean that it is closed.
    """

    action: PlaceExit
    tag: str
    opened_at: datetime | None
    order_id: int | None = None
    is_flat: bool = False

    def shows_in(self, reading: Reading) -> bool:
        """Return whether the exit is listed, or has already filled: then the position is flat."""
        held = held_in(reading.positions or (), self.action.contract_id)
        tagged = (o.id for o in reading.orders or () if o.custom_tag == self.tag)
        self.order_id = next(tagged, None)
        may_be_older = self.order_id is None and (
            self.opened_at is not None and reading.asked_at < self.opened_at + LIST_LAG
        )
        self.is_flat = not held.is_on(self.action.side) and not may_be_older
        return self.order_id is not None or self.is_flat
