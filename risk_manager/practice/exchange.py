"""The practice exchange: the calls of participants, events that happen to them, and the true state.

It has no IO, no clock and no randomness of its own. Every call takes the instant at which it
happens, so the same calls give the same events.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any, Literal

from risk_manager.practice.acceptance import bracket_problem, price_problem
from risk_manager.practice.book import Book
from risk_manager.practice.clearing import Clearing
from risk_manager.practice.matching import FILL_ORDER, Kind, Matching
from risk_manager.practice.order_life import Orders
from risk_manager.practice.products import Contract, contracts_on
from risk_manager.practice.records import (
    Account,
    Bracket,
    Event,
    Order,
    OrderStatus,
    OrderType,
    Position,
    Side,
    Trade,
)
from risk_manager.practice.refusals import (
    CancelError,
    CloseError,
    ModifyError,
    PartialCloseError,
    PlaceError,
    Refusal,
)

ALL_CONTRACTS = "*"
DEFAULT_DAY = date(2026, 11, 20)


class Exchange:
    """A futures exchange and the broker in front of it.

    `first_id` shifts every id, for a gateway that must not repeat the ids of an earlier run.
    `notify` is called after each mutation that left events to drain. See `Matching` for the rest.
    """

    def __init__(
        self,
        accounts: Iterable[Account] | None = None,
        contracts: Sequence[Contract] | None = None,
        *,
        rng: Random | None = None,
        max_fill: int | None = None,
        lots_per_touch: int | None = None,
        max_order_size: int = 500,
        first_id: int = 0,
        event_order: Sequence[Kind] = FILL_ORDER,
        cancel_brackets_when_flat: bool = True,
        notify: Callable[[], None] | None = None,
    ) -> None:
        chosen = default_accounts() if accounts is None else accounts
        self.contracts: dict[str, Contract] = {
            contract.id: contract
            for contract in (contracts_on(DEFAULT_DAY) if contracts is None else contracts)
        }
        self.max_order_size = max_order_size
        self.refuse_closes_when_locked = False
        self.notify = notify
        self._events: list[Event] = []
        self._books = {contract.id: Book.opening(contract) for contract in self.contracts.values()}
        self._orders = Orders(self.contracts, self._books, self._events, 1001 + first_id)
        self._clearing = Clearing(
            chosen,
            self.contracts,
            self._books,
            next_trade=9001 + first_id,
            next_position=5001 + first_id,
        )
        self.matching = Matching(
            self._orders,
            self._clearing,
            self._events,
            rng=rng,
            max_fill=max_fill,
            lots_per_touch=lots_per_touch,
            event_order=event_order,
            cancel_brackets_when_flat=cancel_brackets_when_flat,
        )

    # ---- what a participant can ask for -------------------------------------------------------

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
        _require_utc(now)
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
        contract = self.contracts[contract_id]
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
        self.matching.match(order, book, now, arriving=True)
        self._announce()
        return order.id

    def cancel(self, account_id: int, order_id: int, *, now: datetime) -> Refusal | None:
        """Cancel a working or suspended order; None when done."""
        _require_utc(now)
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
        _require_utc(now)
        if account_id not in self._clearing.accounts:
            return Refusal(ModifyError.ACCOUNT_NOT_FOUND, "account not found")
        order = self._orders.get(order_id)
        if order is None or order.account_id != account_id:
            return Refusal(ModifyError.ORDER_NOT_FOUND, "order not found")
        if not order.is_working:
            return Refusal(ModifyError.REJECTED, f"order is {order.status.name.lower()}")
        if size is not None and not order.filled < size <= self.max_order_size:
            return Refusal(ModifyError.REJECTED, f"{order.filled} already filled; size {size}")
        contract, book = self.contracts[order.contract_id], self._books[order.contract_id]
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
        self.matching.match(order, book, now, arriving=True)
        self._announce()
        return None

    def close_position(self, account_id: int, contract_id: str, *, now: datetime) -> int | Refusal:
        """Flatten one contract at the market; the id of the order that does it, or why not."""
        _require_utc(now)
        refusal = self._close_refusal(account_id, contract_id)
        if refusal is not None:
            return refusal
        position = self._clearing.positions[account_id, contract_id]
        return self._close(position, position.size, now)

    def partial_close(
        self, account_id: int, contract_id: str, size: int, *, now: datetime
    ) -> int | Refusal:
        """Close `size` lots at the market; the id of the order that does it, or why not."""
        _require_utc(now)
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

    # ---- what happens to participants ---------------------------------------------------------

    def move_price(
        self,
        contract_id: str,
        last: Decimal,
        *,
        now: datetime,
        bid: Decimal | None = None,
        ask: Decimal | None = None,
        volume: int = 0,
    ) -> None:
        """The market moves: a quote, a market trade if `volume` lots changed hands, and fills.

        Without `bid` and `ask` the bid is `last` and the ask one tick above. Nothing fills while
        the market is shut. Raises KeyError for a contract that is not listed.
        """
        _require_utc(now)
        contract, book = self.contracts[contract_id], self._books[contract_id]
        bid = last if bid is None else bid
        book.move(last, bid, bid + contract.tick_size if ask is None else ask, volume)
        quote = book.quote_payload(contract, now)
        self._events.append(Event("quote", 0, contract_id, 1, quote))
        if volume:
            traded = book.trade_payload(contract, volume, now)
            self._events.append(Event("market_trade", 0, contract_id, 0, traded))
        if book.working:
            self.matching.match_all(book, now)
        self._announce()

    def set_market_open(
        self, is_open: bool, *, now: datetime, contract_id: str = ALL_CONTRACTS
    ) -> None:
        """Open or shut one contract's market, or all. Shut: no fills, no orders, no closes."""
        _require_utc(now)
        books = self._books.values() if contract_id == ALL_CONTRACTS else [self._books[contract_id]]
        for book in books:
            book.is_open = is_open
            self.matching.match_all(book, now)
        self._announce()

    def set_can_trade(self, account_id: int, can_trade: bool, *, now: datetime) -> None:
        """The platform allows or forbids trading. Orders stay; the trader's new ones are refused.

        Closes still work (the platform wants the account flat) unless `refuse_closes_when_locked`.
        """
        _require_utc(now)
        self._clearing.accounts[account_id].can_trade = can_trade
        self._emit_account(account_id)
        self._announce()

    def open_account(self, account: Account) -> None:
        """The firm gives the login one more account, for instance after a reset.

        Raises ValueError for an id that is in use.
        """
        self._clearing.open_account(account)

    def close_account(self, account_id: int) -> None:
        """The firm closes a flat account: no list and no call knows it any more.

        Raises KeyError for an unknown id, ValueError where something is open or working.
        """
        if self.positions(account_id) or self.working_orders(account_id):
            raise ValueError(f"account {account_id} is not flat")
        self._clearing.close_account(account_id)

    def void_trade(self, trade_id: int, *, now: datetime) -> None:
        """Bust a trade: its P&L and fees leave the balance. The position is left as it is.

        Raises KeyError for an unknown id; voiding twice does nothing.
        """
        _require_utc(now)
        trade = self._clearing.trades[trade_id]
        if trade.voided:
            return
        self._clearing.void(trade)
        self._events.append(Event("trade", trade.account_id, trade.contract_id, 1, trade.payload()))
        self._emit_account(trade.account_id)
        self._announce()

    def end_order(
        self,
        order_id: int,
        status: Literal[OrderStatus.EXPIRED, OrderStatus.REJECTED],
        *,
        now: datetime,
    ) -> None:
        """The exchange itself ends an order: a day order at the close, or a late rejection."""
        _require_utc(now)
        order = self._orders[order_id]
        if not order.is_terminal:
            self._orders.finish(order, status, now)
            self._announce()

    def drain_events(self) -> list[Event]:
        """Everything that happened since the last call, in order."""
        events = self._events.copy()
        self._events.clear()
        return events

    # ---- the truth ----------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        return [copy(account) for account in self._clearing.accounts.values()]

    def account(self, account_id: int) -> Account | None:
        account = self._clearing.accounts.get(account_id)
        return None if account is None else copy(account)

    def balance(self, account_id: int) -> Decimal:
        return self._clearing.accounts[account_id].balance

    def realised(self, account_id: int) -> Decimal:
        """Realised P&L before fees, voided trades left out."""
        return self._clearing.accounts[account_id].realised

    def fees(self, account_id: int) -> Decimal:
        return self._clearing.accounts[account_id].fees

    def unrealised(self, account_id: int) -> Decimal:
        """Open P&L at the price each position could be closed at now."""
        return self._clearing.unrealised(account_id)

    def net(self, account_id: int, contract_id: str) -> int:
        """Signed lots held; 0 when flat."""
        return self._clearing.net(account_id, contract_id)

    def position(self, account_id: int, contract_id: str) -> Position | None:
        position = self._clearing.positions.get((account_id, contract_id))
        return None if position is None else copy(position)

    def positions(self, account_id: int | None = None) -> list[Position]:
        """Open positions, oldest first, of one account or all."""
        return [
            copy(position)
            for position in self._clearing.positions.values()
            if account_id is None or position.account_id == account_id
        ]

    def order(self, order_id: int) -> Order | None:
        order = self._orders.get(order_id)
        return None if order is None else copy(order)

    def orders(self, account_id: int, since: datetime | None = None) -> list[Order]:
        """All orders of the account placed at or after `since`, oldest first."""
        found = self._orders.of_account(account_id)
        return [copy(order) for order in found if since is None or order.created_at >= since]

    def working_orders(
        self, account_id: int | None = None, *, suspended: bool = False
    ) -> list[Order]:
        """Working orders, oldest first; sleeping bracket children too if `suspended`."""
        return [
            copy(order)
            for order in self._orders.alive()
            if account_id in (None, order.account_id) and (suspended or order.is_working)
        ]

    def trades(
        self, account_id: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[Trade]:
        """Half-turns, oldest first; `since` is included, `until` is not."""
        return [
            copy(trade)
            for trade in self._clearing.trades_of(account_id)
            if (since is None or trade.created_at >= since)
            and (until is None or trade.created_at < until)
        ]

    def trade(self, trade_id: int) -> Trade | None:
        trade = self._clearing.trades.get(trade_id)
        return None if trade is None else copy(trade)

    def book(self, contract_id: str) -> Book:
        return copy(self._books[contract_id])

    @property
    def trade_count(self) -> int:
        """Half-turns of all accounts so far, voided ones included."""
        return len(self._clearing.trades)

    @property
    def is_idle(self) -> bool:
        """Whether nobody holds a position or has an order that could still fill."""
        return not (self._clearing.positions or self._orders.any_alive)

    def is_flat(self, account_id: int) -> bool:
        """No position and nothing that could still fill, suspended children included."""
        return not self.positions(account_id) and not self.working_orders(
            account_id, suspended=True
        )

    def contract_of(self, root: str) -> Contract:
        """The front contract of a product: `contract_of("MNQ")`. Raises KeyError if not listed."""
        for contract in self.contracts.values():
            if contract.root == root:
                return contract
        raise KeyError(root)

    def quote_payload(self, contract_id: str, *, now: datetime) -> dict[str, Any]:
        """The contract's current quote as it goes on the wire."""
        return self._books[contract_id].quote_payload(self.contracts[contract_id], now)

    # ---- inside -------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self.notify is not None and self._events:
            self.notify()

    def _place_refusal(
        self, account_id: int, contract_id: str, size: int, custom_tag: str | None
    ) -> Refusal | None:
        account = self._clearing.accounts.get(account_id)
        if account is None:
            return Refusal(PlaceError.ACCOUNT_NOT_FOUND, "account not found")
        contract = self.contracts.get(contract_id)
        if contract is None:
            return Refusal(PlaceError.CONTRACT_NOT_FOUND, "contract not found")
        if not contract.active:
            return Refusal(PlaceError.CONTRACT_NOT_ACTIVE, "contract is not active")
        if not account.can_trade:
            return Refusal(PlaceError.ACCOUNT_VIOLATION, "account is not allowed to trade")
        if not self._books[contract_id].is_open:
            return Refusal(PlaceError.OUTSIDE_TRADING_HOURS, "outside trading hours")
        if not 0 < size <= self.max_order_size:
            return Refusal(PlaceError.ORDER_REJECTED, f"invalid size {size}")
        if custom_tag is not None and self._orders.has_tag(account_id, custom_tag):
            return Refusal(PlaceError.ORDER_REJECTED, "custom tag is already in use")
        return None

    def _close_refusal(self, account_id: int, contract_id: str) -> Refusal | None:
        account = self._clearing.accounts.get(account_id)
        if account is None:
            return Refusal(CloseError.ACCOUNT_NOT_FOUND, "account not found")
        contract = self.contracts.get(contract_id)
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
        self.matching.match(order, self._books[order.contract_id], now, arriving=True)
        self._announce()
        return order.id

    def _emit_account(self, account_id: int) -> None:
        account = self._clearing.accounts[account_id]
        self._events.append(Event("account", account_id, "", 1, account.payload()))


def default_accounts() -> tuple[Account, ...]:
    """The two accounts of the practice login."""
    return (Account(101, "PRACTICE-50K-1"), Account(102, "PRACTICE-50K-2"))


def _require_utc(now: datetime) -> None:
    if now.tzinfo is not UTC and now.utcoffset() is None:
        raise ValueError("a naive time reached the exchange")
