"""The life of the practice exchange's orders: acceptance, fills, brackets, end."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from risk_manager.practice.book import Book
from risk_manager.practice.products import Contract
from risk_manager.practice.records import (
    ZERO,
    Bracket,
    Event,
    Order,
    OrderStatus,
    OrderType,
    Side,
)


class Orders:
    """Every order that was ever accepted, and what becomes of it.

    A bracket child is suspended until its parent fills; siblings cut each other back. Each change
    leaves an event in `events`. A working order is also listed in its contract's book.
    """

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        books: Mapping[str, Book],
        events: list[Event],
        next_id: int,
    ) -> None:
        self._contracts = contracts
        self._books = books
        self._events = events
        self._next_id = next_id
        self._orders: dict[int, Order] = {}
        self._by_account: dict[int, list[int]] = {}
        self._alive: dict[int, None] = {}  # ids of orders not terminal, oldest first
        self._children: dict[int, list[int]] = {}
        self._tags: set[tuple[int, str]] = set()

    # ---- which orders there are ----------------------------------------------------------------

    def __getitem__(self, order_id: int) -> Order:
        return self._orders[order_id]

    def get(self, order_id: int) -> Order | None:
        return self._orders.get(order_id)

    def of_account(self, account_id: int) -> Iterator[Order]:
        """All orders of the account, oldest first, ended ones included."""
        return (self._orders[id_] for id_ in self._by_account.get(account_id, ()))

    def alive(self) -> Iterator[Order]:
        """Orders that have not ended, oldest first, suspended ones included."""
        return (self._orders[id_] for id_ in self._alive)

    @property
    def any_alive(self) -> bool:
        return bool(self._alive)

    def working_in(self, book: Book) -> Iterator[Order]:
        """Oldest first; the book may change meanwhile."""
        return (self._orders[id_] for id_ in tuple(book.working))

    def has_tag(self, account_id: int, custom_tag: str) -> bool:
        return (account_id, custom_tag) in self._tags

    # ---- acceptance ----------------------------------------------------------------------------

    def open(
        self,
        account_id: int,
        contract_id: str,
        kind: OrderType,
        side: Side,
        size: int,
        now: datetime,
        *,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail_price: Decimal | None = None,
        custom_tag: str | None = None,
        is_close: bool = False,
    ) -> Order:
        """Accept a working order."""
        order = self._new(account_id, contract_id, kind, side, size, now)
        order.limit_price = limit_price
        order.stop_price = stop_price
        order.trail_price = trail_price
        order.is_close = is_close
        order.custom_tag = custom_tag
        if custom_tag is not None:
            self._tags.add((account_id, custom_tag))
        self._books[contract_id].working[order.id] = None
        self._emit(order, 0)
        return order

    def add_children(self, parent: Order, brackets: Iterable[Bracket], now: datetime) -> None:
        """Accept the bracket orders of an entry; they sleep until it fills."""
        for bracket in brackets:
            child = self._new(
                parent.account_id,
                parent.contract_id,
                bracket.type,
                parent.side.opposite,
                parent.size,
                now,
            )
            child.status = OrderStatus.SUSPENDED
            child.parent_id = parent.id
            child.bracket_ticks = abs(bracket.ticks)
            self._children.setdefault(parent.id, []).append(child.id)
            self._emit(child, 0)

    def _new(
        self,
        account_id: int,
        contract_id: str,
        kind: OrderType,
        side: Side,
        size: int,
        now: datetime,
    ) -> Order:
        order = Order(
            id=self._next_id,
            account_id=account_id,
            contract_id=contract_id,
            symbol_id=self._contracts[contract_id].product.symbol_id,
            type=kind,
            side=side,
            size=size,
            created_at=now,
            updated_at=now,
        )
        self._next_id += 1
        self._orders[order.id] = order
        self._alive[order.id] = None
        self._by_account.setdefault(account_id, []).append(order.id)
        return order

    # ---- changes -------------------------------------------------------------------------------

    def changed(self, order: Order, now: datetime) -> None:
        """Tell that the order's size or a price of it is another one."""
        order.updated_at = now
        self._emit(order, 1)

    def fill(self, order: Order, lots: int, price: Decimal, now: datetime) -> None:
        """Count lots as filled. The event of a fill is left to whoever knows its trade."""
        paid = (order.filled_price or ZERO) * order.filled + price * lots
        order.filled += lots
        order.filled_price = paid / order.filled
        order.updated_at = now
        if order.remaining == 0:
            order.status = OrderStatus.FILLED
            self._retire(order)

    def after_fill(self, order: Order, lots: int, now: datetime) -> None:
        """A parent's fill wakes its children; a child's fill shrinks or cancels its sibling."""
        for id_ in self._children.get(order.id, ()):
            child = self._orders[id_]
            if not child.is_terminal:
                self._wake(order, child, now)
        if order.parent_id is None:
            return
        for id_ in self._children[order.parent_id]:
            sibling = self._orders[id_]
            if sibling.id == order.id or sibling.is_terminal:
                continue
            if order.remaining == 0 or sibling.remaining <= lots:
                self.finish(sibling, OrderStatus.CANCELLED, now)
            else:
                sibling.size -= lots
                self.changed(sibling, now)

    def cancel_children_in(self, account_id: int, contract_id: str, now: datetime) -> None:
        """Cancel the account's working bracket orders of a contract whose entries have ended."""
        for order in self.working_in(self._books[contract_id]):
            if order.account_id == account_id and order.parent_id is not None:
                parent = self._orders[order.parent_id]
                if parent.is_terminal:
                    self.finish(order, OrderStatus.CANCELLED, now)

    def finish(self, order: Order, status: OrderStatus, now: datetime) -> None:
        """End an order in any other way than by its last fill."""
        order.status = status
        order.updated_at = now
        self._retire(order)
        self._emit(order, 2)
        if order.filled == 0:
            # An entry that never filled takes its sleeping children with it.
            for id_ in self._children.get(order.id, ()):
                if not self._orders[id_].is_terminal:
                    self.finish(self._orders[id_], OrderStatus.CANCELLED, now)

    def _wake(self, parent: Order, child: Order, now: datetime) -> None:
        contract = self._contracts[parent.contract_id]
        assert parent.filled_price is not None
        assert child.bracket_ticks is not None
        entry = _to_tick(parent.filled_price, contract.tick_size)
        distance = contract.tick_size * child.bracket_ticks
        # A stop lies against the entry's direction, a target along it.
        along = parent.side.sign if child.type is OrderType.LIMIT else -parent.side.sign
        level = entry + distance * along
        if child.type is OrderType.LIMIT:
            child.limit_price = level
        else:
            child.stop_price = level
        if child.type is OrderType.TRAILING_STOP:
            child.trail_price = distance
        exited = sum(
            self._orders[id_].filled for id_ in self._children[parent.id] if id_ != child.id
        )
        child.size = parent.filled - exited
        if child.remaining <= 0:
            self.finish(child, OrderStatus.CANCELLED, now)
            return
        child.status = OrderStatus.OPEN
        self._books[child.contract_id].working[child.id] = None
        self.changed(child, now)

    def _retire(self, order: Order) -> None:
        self._books[order.contract_id].working.pop(order.id, None)
        self._alive.pop(order.id, None)

    def _emit(self, order: Order, action: int) -> None:
        self._events.append(
            Event("order", order.account_id, order.contract_id, action, order.payload())
        )


def _to_tick(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick
