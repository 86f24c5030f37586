"""The requests of a participant: place, cancel, modify and close, each checked before it acts."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from risk_manager.practice.acceptance import bracket_problem, price_problem
from risk_manager.practice.book import Book
from risk_manager.practice.clearing import Clearing
from risk_manager.practice.instants import require_utc
from risk_manager.practice.matching import Matching
from risk_manager.practice.order_life import Orders
from risk_manager.practice.products import Contract
from risk_manager.practice.records import Bracket, OrderStatus, OrderType, Position, Side
from risk_manager.practice.refusals import (
    CancelError,
    CloseError,
    ModifyError,
    PartialCloseError,
    PlaceError,
    Refusal,
)


class OrderEntry:
    """Accepts or refuses what participants ask of the exchange.

    `announce` is called after each accepted request. With `refuse_closes_when_locked` a close is
    refused while the account may not trade.
    """

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        books: Mapping[str, Book],
        orders: Orders,
        clearing: Clearing,
        matching: Matching,
        *,
        max_order_size: int,
        announce: Callable[[], None],
    ) -> None:
        self.refuse_closes_when_locked = False
        self._contracts = contracts
        self._books = books
        self._orders = orders
        self._clearing = clearing
        self._matching = matching
        self._max_order_size = max_order_size
        self._announce = announce

    def place(
        self,
        account_id: int,
        contract_id: str,
        side: Side | int,
        size: int,
        type: OrderType | int = OrderType.MARKET,
        *,
        now: datetime,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail_price: Decimal | None = None,
        custom_tag: str | None = None,
        stop_loss: Bracket | None = None,
        take_profit: Bracket | None = None,
    ) -> int | Refusal:
        """Place an order; the order id, or why not. A marketable order fills within the call.

        `trail_price` is the distance in points a trailing stop keeps. Stops on the wrong side of
        the market and prices off the tick grid are refused.
        """
        require_utc(now)
        try:
            kind, way = OrderType(type), Side(side)
        except ValueError:
            return Refusal(PlaceError.ORDER_REJECTED, "unknown order type or side")
        refusal = self._place_refusal(account_id, contract_id, size, custom_tag)
        if refusal is not None:
            return refusal
        book = self._books[contract_id]
        if kind is OrderType.JOIN_BID:
            limit_price = book.bid
        elif kind is OrderType.JOIN_ASK:
            limit_price = book.ask
        contract = self._contracts[contract_id]
        problem = price_problem(kind, way, limit_price, stop_price, trail_price, contract, book)
        if problem is None:
            problem = bracket_problem(stop_loss, take_profit)
        if problem is not None:
            return Refusal(PlaceError.ORDER_REJECTED, problem)
        if kind is OrderType.TRAILING_STOP and trail_price is not None:
            stop_price = book.trail_level(way, trail_price)
        order = self._orders.open(
            account_id,
            contract_id,
            kind,
            way,
            size,
            now,
            limit_price=limit_price,
            stop_price=stop_price,
            trail_price=trail_price,
            custom_tag=custom_tag,
        )
        brackets = (b for b in (stop_loss, take_profit) if b is not None)
        self._orders.add_children(order, brackets, now)
        self._matching.match(order, book, now, arriving=True)
        self._announce()
        return order.id

    def cancel(self, account_id: int, order_id: int, *, now: datetime) -> Refusal | None:
        """Cancel a working or suspended order; None when done."""
        require_utc(now)
        if account_id not in self._clearing.accounts:
            return Refusal(CancelError.ACCOUNT_NOT_FOUND, "account not found")
        order = self._orders.get(order_id)
        if order is None or order.account_id != account_id:
            return Refusal(CancelError.ORDER_NOT_FOUND, "order not found")
        if order.is_terminal:
            return Refusal(CancelError.REJECTED, f"order is already {order.status.name.lower()}")
        self._orders.finish(order, OrderStatus.CANCELLED, now)
        self._announce()
        return None

    def modify(
        self,
        account_id: int,
        order_id: int,
        *,
        now: datetime,
        size: int | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trail_price: Decimal | None = None,
    ) -> Refusal | None:
        """Change what is given and leave the rest; None when done. May fill at once."""
        require_utc(now)
        if account_id not in self._clearing.accounts:
            return Refusal(ModifyError.ACCOUNT_NOT_FOUND, "account not found")
        order = self._orders.get(order_id)
        if order is None or order.account_id != account_id:
            return Refusal(ModifyError.ORDER_NOT_FOUND, "order not found")
        if not order.is_working:
            return Refusal(ModifyError.REJECTED, f"order is {order.status.name.lower()}")
        if size is not None and not order.filled < size <= self._max_order_size:
            return Refusal(ModifyError.REJECTED, f"{order.filled} already filled; size {size}")
        contract, book = self._contracts[order.contract_id], self._books[order.contract_id]
        new_limit = order.limit_price if limit_price is None else limit_price
        new_stop = order.stop_price if stop_price is None else stop_price
        new_trail = order.trail_price if trail_price is None else trail_price
        problem = price_problem(
            order.type,
            order.side,
            new_limit,
            # A stop-limit already touched, or a stop left where it is, is not judged again.
            None if stop_price is None else stop_price,
            new_trail,
            contract,
            book,
            placing=False,
        )
        if problem is not None:
            return Refusal(ModifyError.REJECTED, problem)
        order.size = order.size if size is None else size
        order.limit_price, order.trail_price = new_limit, new_trail
        order.stop_price = new_stop
        if trail_price is not None:
            order.stop_price = book.trail_level(order.side, trail_price)
        self._orders.changed(order, now)
        self._matching.match(order, book, now, arriving=True)
        self._announce()
        return None

    def close_position(self, account_id: int, contract_id: str, *, now: datetime) -> int | Refusal:
        """Flatten one contract at the market; the id of the order that does it, or why not."""
        require_utc(now)
        refusal = self._close_refusal(account_id, contract_id)
        if refusal is not None:
            return refusal
        position = self._clearing.positions[account_id, contract_id]
        return self._close(position, position.size, now)

    def partial_close(
        self, account_id: int, contract_id: str, size: int, *, now: datetime
    ) -> int | Refusal:
        """Close `size` lots at the market; the id of the order that does it, or why not."""
        require_utc(now)
        refusal = self._close_refusal(account_id, contract_id)
        if refusal is not None:
            # From 5 on, the codes of this endpoint are those of `closeContract` plus one.
            shift = 1 if refusal.code >= PartialCloseError.INVALID_CLOSE_SIZE else 0
            return Refusal(refusal.code + shift, refusal.message)
        position = self._clearing.positions[account_id, contract_id]
        if not 0 < size <= position.size:
            return Refusal(
                PartialCloseError.INVALID_CLOSE_SIZE, f"cannot close {size} of {position.size}"
            )
        return self._close(position, size, now)

    def _place_refusal(
        self, account_id: int, contract_id: str, size: int, custom_tag: str | None
    ) -> Refusal | None:
        account = self._clearing.accounts.get(account_id)
        if account is None:
            return Refusal(PlaceError.ACCOUNT_NOT_FOUND, "account not found")
        contract = self._contracts.get(contract_id)
        if contract is None:
            return Refusal(PlaceError.CONTRACT_NOT_FOUND, "contract not found")
        if not contract.active:
            return Refusal(PlaceError.CONTRACT_NOT_ACTIVE, "contract is not active")
        if not account.can_trade:
            return Refusal(PlaceError.ACCOUNT_VIOLATION, "account is not allowed to trade")
        if not self._books[contract_id].is_open:
            return Refusal(PlaceError.OUTSIDE_TRADING_HOURS, "outside trading hours")
        if not 0 < size <= self._max_order_size:
            return Refusal(PlaceError.ORDER_REJECTED, f"invalid size {size}")
        if custom_tag is not None and self._orders.has_tag(account_id, custom_tag):
            return Refusal(PlaceError.ORDER_REJECTED, "custom tag is already in use")
        return None

    def _close_refusal(self, account_id: int, contract_id: str) -> Refusal | None:
        account = self._clearing.accounts.get(account_id)
        if account is None:
            return Refusal(CloseError.ACCOUNT_NOT_FOUND, "account not found")
        contract = self._contracts.get(contract_id)
        if contract is None:
            return Refusal(CloseError.CONTRACT_NOT_FOUND, "contract not found")
        if (account_id, contract_id) not in self._clearing.positions:
            return Refusal(CloseError.POSITION_NOT_FOUND, "position not found")
        if not contract.active:
            return Refusal(CloseError.CONTRACT_NOT_ACTIVE, "contract is not active")
        if not account.can_trade and self.refuse_closes_when_locked:
            return Refusal(CloseError.ACCOUNT_REJECTED, "account rejected")
        book = self._books[contract_id]
        if not book.is_open:
            return Refusal(CloseError.ORDER_REJECTED, "outside trading hours")
        for order in self._orders.working_in(book):
            if order.is_close and order.account_id == account_id:
                return Refusal(CloseError.ORDER_PENDING, "a close is already pending")
        return None

    def _close(self, position: Position, size: int, now: datetime) -> int:
        side = Side.SELL if position.net > 0 else Side.BUY
        order = self._orders.open(
            position.account_id,
            position.contract_id,
            OrderType.MARKET,
            side,
            size,
            now,
            is_close=True,
        )
        self._matching.match(order, self._books[order.contract_id], now, arriving=True)
        self._announce()
        return order.id
