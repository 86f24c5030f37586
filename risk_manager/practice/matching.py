"""Matching: which orders fill at the prices of the book, in which lots, and at which price."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Literal

from risk_manager.practice.book import Book
from risk_manager.practice.clearing import Clearing
from risk_manager.practice.order_life import Orders
from risk_manager.practice.records import Event, Order, OrderStatus, OrderType, Side

type Kind = Literal["order", "trade", "position", "account"]
FILL_ORDER: tuple[Kind, ...] = ("order", "trade", "position", "account")


class Matching:
    """Fills orders and reports each fill in four events.

    `max_fill` caps the lots of one trade, so 5 lots can fill 2+2+1; with `rng` each trade takes a
    random 1..max_fill. `lots_per_touch` caps what one order can fill at one price move: the rest
    goes on working. `event_order` is the order of the four events of one fill.
    """

    def __init__(
        self,
        orders: Orders,
        clearing: Clearing,
        events: list[Event],
        *,
        rng: Random | None,
        max_fill: int | None,
        lots_per_touch: int | None,
        event_order: Sequence[Kind],
        cancel_brackets_when_flat: bool,
    ) -> None:
        self.max_fill = max_fill
        self.lots_per_touch = lots_per_touch
        self.event_order = tuple(event_order)
        self.cancel_brackets_when_flat = cancel_brackets_when_flat
        self._orders = orders
        self._clearing = clearing
        self._events = events
        self._rng = rng

    def match_all(self, book: Book, now: datetime) -> None:
        """Match every order that works in the book, oldest first."""
        for order in self._orders.working_in(book):
            if order.is_working:
                self.match(order, book, now, arriving=False)

    def match(self, order: Order, book: Book, now: datetime, *, arriving: bool) -> None:
        """Fill what the book allows: an arriving limit at the touch, a resting one at its price."""
        if not book.is_open or not order.is_working:
            return
        if order.type is OrderType.TRAILING_STOP:
            self._trail(order, book, now)
        price = _fill_price(order, book, arriving=arriving)
        if price is None:
            return
        left = order.remaining
        if self.lots_per_touch is not None:
            left = min(left, self.lots_per_touch)
        while left and order.is_working:
            lots = self._next_lot(left)
            held = self._clearing.net(order.account_id, order.contract_id)
            if order.is_close and held * order.side.sign >= 0:
                # The position is gone already; the rest must not open the other way.
                self._orders.finish(order, OrderStatus.CANCELLED, now)
                return
            if held * order.side.sign < 0:
                # One trade never crosses flat: a reversal is a closing half and an opening half.
                lots = min(lots, abs(held))
            left -= lots
            self._execute(order, lots, price, now)

    def _next_lot(self, left: int) -> int:
        if self.max_fill is None:
            return left
        cap = min(left, self.max_fill)
        return cap if self._rng is None else self._rng.randint(1, cap)

    def _trail(self, order: Order, book: Book, now: datetime) -> None:
        if order.trail_price is None or order.stop_price is None:
            return
        level = book.trail_level(order.side, order.trail_price)
        improved = level < order.stop_price if order.side is Side.BUY else level > order.stop_price
        if improved:
            order.stop_price = level
            self._orders.changed(order, now)

    def _execute(self, order: Order, lots: int, price: Decimal, now: datetime) -> None:
        self._orders.fill(order, lots, price, now)
        done = self._clearing.book(order, lots, price, now)
        account_id, contract_id = order.account_id, order.contract_id
        position = done.position.payload(closed_from=done.net_before)
        frames: dict[Kind, Event] = {
            "order": Event("order", account_id, contract_id, 1, order.payload()),
            "trade": Event("trade", account_id, contract_id, 0, done.trade.payload()),
            "position": Event("position", account_id, contract_id, done.action, position),
            "account": Event("account", account_id, "", 1, done.account.payload()),
        }
        self._events.extend(frames[kind] for kind in self.event_order)
        self._orders.after_fill(order, lots, now)
        if done.position.net == 0 and self.cancel_brackets_when_flat:
            self._orders.cancel_children_in(account_id, contract_id, now)


def _fill_price(order: Order, book: Book, *, arriving: bool) -> Decimal | None:
    """The price at which the order would trade now, or None while it must wait."""
    buying = order.side is Side.BUY
    touch = book.touch(order.side)
    if order.type is OrderType.MARKET:
        return touch
    if order.type in (OrderType.STOP, OrderType.TRAILING_STOP, OrderType.STOP_LIMIT):
        if not order.triggered:
            assert order.stop_price is not None
            touched = book.last >= order.stop_price if buying else book.last <= order.stop_price
            if not touched:
                return None
            order.triggered = True
        if order.type is not OrderType.STOP_LIMIT:
            return touch
    assert order.limit_price is not None
    reached = touch <= order.limit_price if buying else touch >= order.limit_price
    if not reached:
        return None
    return touch if arriving or order.type is OrderType.STOP_LIMIT else order.limit_price
