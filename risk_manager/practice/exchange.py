"""The practice exchange: orders, fills, positions and money, with no IO, no clock and no luck.

Every call takes the instant it happens at, so the same calls give the same events. Prices and money
are `Decimal`; they become floats only in the payloads, as on the gateway's wire.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import IntEnum
from random import Random
from typing import Any, Literal

from risk_manager.practice.products import BELOW_ZERO, Contract, contracts_on

CENT = Decimal("0.01")
ZERO = Decimal(0)
ALL_CONTRACTS = "*"
DEFAULT_DAY = date(2026, 11, 20)

type Kind = Literal["order", "trade", "position", "account"]
FILL_ORDER: tuple[Kind, ...] = ("order", "trade", "position", "account")


class Side(IntEnum):
    BUY = 0
    SELL = 1

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(IntEnum):
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class OrderStatus(IntEnum):
    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)
WORKING = frozenset({OrderStatus.OPEN, OrderStatus.PENDING})


class PlaceError(IntEnum):
    ACCOUNT_NOT_FOUND = 1
    ORDER_REJECTED = 2
    INSUFFICIENT_FUNDS = 3
    ACCOUNT_VIOLATION = 4
    OUTSIDE_TRADING_HOURS = 5
    ORDER_PENDING = 6
    UNKNOWN = 7
    CONTRACT_NOT_FOUND = 8
    CONTRACT_NOT_ACTIVE = 9
    ACCOUNT_REJECTED = 10


class CancelError(IntEnum):
    ACCOUNT_NOT_FOUND = 1
    ORDER_NOT_FOUND = 2
    REJECTED = 3
    PENDING = 4
    UNKNOWN = 5
    ACCOUNT_REJECTED = 6


class ModifyError(IntEnum):
    ACCOUNT_NOT_FOUND = 1
    ORDER_NOT_FOUND = 2
    REJECTED = 3
    PENDING = 4
    UNKNOWN = 5
    ACCOUNT_REJECTED = 6
    CONTRACT_NOT_FOUND = 7


class CloseError(IntEnum):
    ACCOUNT_NOT_FOUND = 1
    POSITION_NOT_FOUND = 2
    CONTRACT_NOT_FOUND = 3
    CONTRACT_NOT_ACTIVE = 4
    ORDER_REJECTED = 5
    ORDER_PENDING = 6
    UNKNOWN = 7
    ACCOUNT_REJECTED = 8


class PartialCloseError(IntEnum):
    ACCOUNT_NOT_FOUND = 1
    POSITION_NOT_FOUND = 2
    CONTRACT_NOT_FOUND = 3
    CONTRACT_NOT_ACTIVE = 4
    INVALID_CLOSE_SIZE = 5
    ORDER_REJECTED = 6
    ORDER_PENDING = 7
    UNKNOWN = 8
    ACCOUNT_REJECTED = 9


@dataclass(frozen=True, slots=True)
class Refusal:
    """The exchange said no. `code` is the gateway's errorCode for the endpoint that was asked."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Event:
    """One frame's worth of news.

    `kind` is order, trade, position or account (user hub) or quote, market_trade (market hub);
    `action` is 0 added, 1 changed, 2 gone. `contract_id` is empty for account events, `account_id`
    is 0 for market events. `data` is the payload as it goes on the wire.
    """

    kind: Literal["order", "trade", "position", "account", "quote", "market_trade"]
    account_id: int
    contract_id: str
    action: int
    data: Mapping[str, Any]

    @property
    def is_market(self) -> bool:
        return self.kind in ("quote", "market_trade")


@dataclass(slots=True)
class Account:
    """An account. `balance` is the start plus realised P&L less fees; open P&L is not in it."""

    id: int
    name: str
    start_balance: Decimal = Decimal(50_000)
    can_trade: bool = True
    is_visible: bool = True
    simulated: bool = True
    realised: Decimal = ZERO  # before fees
    fees: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        return self.start_balance + self.realised - self.fees

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "balance": float(self.balance),
            "canTrade": self.can_trade,
            "isVisible": self.is_visible,
            "simulated": self.simulated,
        }


@dataclass(slots=True)
class Order:
    """An order through its whole life. Terminal orders are kept for `Order/search`."""

    id: int
    account_id: int
    contract_id: str
    symbol_id: str
    type: OrderType
    side: Side
    size: int
    created_at: datetime
    updated_at: datetime
    status: OrderStatus = OrderStatus.OPEN
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None  # a distance, not a level
    filled: int = 0
    filled_price: Decimal | None = None  # average over all fills
    custom_tag: str | None = None
    parent_id: int | None = None  # bracket children only
    bracket_ticks: int | None = None  # bracket children only; always positive
    triggered: bool = False  # a stop-limit whose stop has been touched
    is_close: bool = False  # placed by the exchange for a close request

    @property
    def remaining(self) -> int:
        return self.size - self.filled

    @property
    def is_working(self) -> bool:
        return self.status in WORKING

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "symbolId": self.symbol_id,
            "creationTimestamp": self.created_at.isoformat(),
            "updateTimestamp": self.updated_at.isoformat(),
            "status": int(self.status),
            "type": int(self.type),
            "side": int(self.side),
            "size": self.size,
            "limitPrice": _wire(self.limit_price),
            "stopPrice": _wire(self.stop_price),
            "fillVolume": self.filled,
            "filledPrice": _wire(self.filled_price),
            "customTag": self.custom_tag,
        }


@dataclass(slots=True)
class Position:
    """What an account holds of a contract. `net` is positive for long, negative for short."""

    id: int
    account_id: int
    contract_id: str
    created_at: datetime
    net: int
    average_price: Decimal

    @property
    def size(self) -> int:
        return abs(self.net)

    def payload(self, *, closed_from: int = 0) -> dict[str, Any]:
        """The wire form; `closed_from` gives the side of a position that is now 0."""
        side_of = self.net or closed_from
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "creationTimestamp": self.created_at.isoformat(),
            "type": 1 if side_of > 0 else 2,
            "size": self.size,
            "averagePrice": float(self.average_price),
        }


@dataclass(slots=True)
class Trade:
    """A half-turn. `profit_and_loss` is None when it opened or added; fees are never inside it."""

    id: int
    account_id: int
    contract_id: str
    created_at: datetime
    price: Decimal
    profit_and_loss: Decimal | None
    fees: Decimal
    side: Side
    size: int
    order_id: int
    voided: bool = False

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "creationTimestamp": self.created_at.isoformat(),
            "price": float(self.price),
            "profitAndLoss": _wire(self.profit_and_loss),
            "fees": float(self.fees),
            "side": int(self.side),
            "size": self.size,
            "voided": self.voided,
            "orderId": self.order_id,
        }


@dataclass(slots=True)
class Book:
    """The top of a contract's book, and the day so far."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: int = 0
    is_open: bool = True
    working: dict[int, None] = field(default_factory=dict)  # order ids, oldest first


@dataclass(frozen=True, slots=True)
class Bracket:
    """A child order at a distance from the entry's fill. The sign of `ticks` does not matter.

    The gateway wants a negative number for a long's stop; clients differ, and the side is plain
    from the parent.
    """

    ticks: int
    type: OrderType


class Exchange:
    """A futures exchange and the broker in front of it.

    `max_fill` caps the lots of one trade, so 5 lots can fill 2+2+1; with `rng` each trade takes a
    random 1..max_fill. `lots_per_touch` caps what one order can fill at one price move: the rest
    goes on working. `first_id` shifts every id, for a gateway that must not repeat the ids of an
    earlier run. `event_order` is the order of the four frames of one fill. `notify` is called after
    each mutation that left events to drain.
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
        self.max_fill = max_fill
        self.lots_per_touch = lots_per_touch
        self.max_order_size = max_order_size
        self.event_order = tuple(event_order)
        self.cancel_brackets_when_flat = cancel_brackets_when_flat
        self.refuse_closes_when_locked = False
        self.notify = notify
        self._rng = rng
        self._accounts: dict[int, Account] = {account.id: account for account in chosen}
        self._orders: dict[int, Order] = {}
        self._by_account: dict[int, list[int]] = {id_: [] for id_ in self._accounts}
        self._alive: dict[int, None] = {}  # ids of orders not terminal, oldest first
        self._children: dict[int, list[int]] = {}
        self._positions: dict[tuple[int, str], Position] = {}
        self._trades: dict[int, Trade] = {}
        self._trades_by_account: dict[int, list[Trade]] = {id_: [] for id_ in self._accounts}
        self._tags: set[tuple[int, str]] = set()
        self._books: dict[str, Book] = {}
        for contract in self.contracts.values():
            bid = contract.product.start_price
            self._books[contract.id] = Book(
                bid=bid, ask=bid + contract.tick_size, last=bid, open=bid, high=bid, low=bid
            )
        self._events: list[Event] = []
        self._next_order = 1001 + first_id
        self._next_trade = 9001 + first_id
        self._next_position = 5001 + first_id

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
        problem = _price_problem(kind, way, limit_price, stop_price, trail_price, contract, book)
        if problem is None:
            problem = _bracket_problem(stop_loss, take_profit)
        if problem is not None:
            return Refusal(PlaceError.ORDER_REJECTED, problem)
        if kind is OrderType.TRAILING_STOP and trail_price is not None:
            stop_price = _trail_level(book, way, trail_price)
        order = self._new_order(account_id, contract_id, kind, way, size, now)
        order.limit_price = limit_price
        order.stop_price = stop_price
        order.trail_price = trail_price
        order.custom_tag = custom_tag
        if custom_tag is not None:
            self._tags.add((account_id, custom_tag))
        self._emit_order(order, 0)
        for bracket in (stop_loss, take_profit):
            if bracket is not None:
                self._add_child(order, bracket, now)
        self._match(order, book, now, arriving=True)
        self._announce()
        return order.id

    def cancel(self, account_id: int, order_id: int, *, now: datetime) -> Refusal | None:
        """Cancel a working or suspended order; None when done."""
        _require_utc(now)
        if account_id not in self._accounts:
            return Refusal(CancelError.ACCOUNT_NOT_FOUND, "account not found")
        order = self._orders.get(order_id)
        if order is None or order.account_id != account_id:
            return Refusal(CancelError.ORDER_NOT_FOUND, "order not found")
        if order.is_terminal:
            return Refusal(CancelError.REJECTED, f"order is already {order.status.name.lower()}")
        self._finish(order, OrderStatus.CANCELLED, now)
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
        if account_id not in self._accounts:
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
        problem = _price_problem(
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
            order.stop_price = _trail_level(book, order.side, trail_price)
        order.updated_at = now
        self._emit_order(order, 1)
        self._match(order, book, now, arriving=True)
        self._announce()
        return None

    def close_position(self, account_id: int, contract_id: str, *, now: datetime) -> int | Refusal:
        """Flatten one contract at the market; the id of the order that does it, or why not."""
        _require_utc(now)
        refusal = self._close_refusal(account_id, contract_id)
        if refusal is not None:
            return refusal
        position = self._positions[account_id, contract_id]
        return self._close(position, position.size, now)

    def partial_close(
        self, account_id: int, contract_id: str, size: int, *, now: datetime
    ) -> int | Refusal:
        """Close `size` lots at the market; the id of the order that does it, or why not."""
        _require_utc(now)
        refusal = self._close_refusal(account_id, contract_id)
        if refusal is not None:
            # From 5 on, this endpoint's codes are the other's shifted by one.
            shift = 1 if refusal.code >= PartialCloseError.INVALID_CLOSE_SIZE else 0
            return Refusal(refusal.code + shift, refusal.message)
        position = self._positions[account_id, contract_id]
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
        book.last = last
        book.bid = last if bid is None else bid
        book.ask = book.bid + contract.tick_size if ask is None else ask
        if book.ask <= book.bid:
            raise ValueError(f"crossed book: bid {book.bid}, ask {book.ask}")
        book.high, book.low = max(book.high, last), min(book.low, last)
        book.volume += volume
        self._events.append(
            Event("quote", 0, contract_id, 1, self._quote_payload(contract, book, now))
        )
        if volume:
            self._events.append(
                Event(
                    "market_trade",
                    0,
                    contract_id,
                    0,
                    {
                        "symbolId": contract.product.symbol_id,
                        "price": float(last),
                        "timestamp": now.isoformat(),
                        "type": 0 if last >= book.ask else 1,
                        "volume": volume,
                    },
                )
            )
        if book.working:
            self._match_all(book, now)
        self._announce()

    def set_market_open(
        self, is_open: bool, *, now: datetime, contract_id: str = ALL_CONTRACTS
    ) -> None:
        """Open or shut one contract's market, or all. Shut: no fills, no orders, no closes."""
        _require_utc(now)
        books = self._books.values() if contract_id == ALL_CONTRACTS else [self._books[contract_id]]
        for book in books:
            book.is_open = is_open
            self._match_all(book, now)
        self._announce()

    def set_can_trade(self, account_id: int, can_trade: bool, *, now: datetime) -> None:
        """The platform allows or forbids trading. Orders stay; the trader's new ones are refused.

        Closes still work (the platform wants the account flat) unless `refuse_closes_when_locked`.
        """
        _require_utc(now)
        self._accounts[account_id].can_trade = can_trade
        self._emit_account(account_id)
        self._announce()

    def open_account(self, account: Account) -> None:
        """The firm gives the login one more account, for instance after a reset.

        Raises ValueError for an id that is in use.
        """
        if account.id in self._accounts:
            raise ValueError(f"account {account.id} exists already")
        self._accounts[account.id] = account
        self._by_account.setdefault(account.id, [])
        self._trades_by_account.setdefault(account.id, [])

    def close_account(self, account_id: int) -> None:
        """The firm closes a flat account: no list and no call knows it any more.

        Raises KeyError for an unknown id, ValueError where something is open or working.
        """
        if self.positions(account_id) or self.working_orders(account_id):
            raise ValueError(f"account {account_id} is not flat")
        del self._accounts[account_id]

    def void_trade(self, trade_id: int, *, now: datetime) -> None:
        """Bust a trade: its P&L and fees leave the balance. The position is left as it is.

        Raises KeyError for an unknown id; voiding twice does nothing.
        """
        _require_utc(now)
        trade = self._trades[trade_id]
        if trade.voided:
            return
        trade.voided = True
        account = self._accounts[trade.account_id]
        account.realised -= trade.profit_and_loss or ZERO
        account.fees -= trade.fees
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
            self._finish(order, status, now)
            self._announce()

    def adjust_balance(self, account_id: int, amount: Decimal, *, now: datetime) -> None:
        """A deposit, a withdrawal, a correction by the desk."""
        _require_utc(now)
        self._accounts[account_id].start_balance += amount
        self._emit_account(account_id)
        self._announce()

    def drain_events(self) -> list[Event]:
        """Everything that happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # ---- the truth ----------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        return [copy(account) for account in self._accounts.values()]

    def account(self, account_id: int) -> Account | None:
        account = self._accounts.get(account_id)
        return None if account is None else copy(account)

    def balance(self, account_id: int) -> Decimal:
        return self._accounts[account_id].balance

    def realised(self, account_id: int) -> Decimal:
        """Realised P&L before fees, voided trades left out."""
        return self._accounts[account_id].realised

    def fees(self, account_id: int) -> Decimal:
        return self._accounts[account_id].fees

    def unrealised(self, account_id: int) -> Decimal:
        """Open P&L at the price each position could be closed at now."""
        total = ZERO
        for position in self._positions.values():
            if position.account_id == account_id:
                contract, book = (
                    self.contracts[position.contract_id],
                    self._books[position.contract_id],
                )
                price = book.bid if position.net > 0 else book.ask
                points = (price - position.average_price) * position.net
                total += points / contract.tick_size * contract.tick_value
        return total.quantize(CENT, ROUND_HALF_EVEN)

    def net(self, account_id: int, contract_id: str) -> int:
        """Signed lots held; 0 when flat."""
        position = self._positions.get((account_id, contract_id))
        return 0 if position is None else position.net

    def positions(self, account_id: int | None = None) -> list[Position]:
        """Open positions, oldest first, of one account or all."""
        return [
            copy(position)
            for position in self._positions.values()
            if account_id is None or position.account_id == account_id
        ]

    def order(self, order_id: int) -> Order | None:
        order = self._orders.get(order_id)
        return None if order is None else copy(order)

    def orders(self, account_id: int, since: datetime | None = None) -> list[Order]:
        """All orders of the account placed at or after `since`, oldest first."""
        found = (self._orders[id_] for id_ in self._by_account.get(account_id, ()))
        return [copy(order) for order in found if since is None or order.created_at >= since]

    def working_orders(
        self, account_id: int | None = None, *, suspended: bool = False
    ) -> list[Order]:
        """Working orders, oldest first; sleeping bracket children too if `suspended`."""
        alive = (self._orders[id_] for id_ in self._alive)
        return [
            copy(order)
            for order in alive
            if account_id in (None, order.account_id) and (suspended or order.is_working)
        ]

    def trades(
        self, account_id: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[Trade]:
        """Half-turns, oldest first; `since` is included, `until` is not."""
        return [
            copy(trade)
            for trade in self._trades_by_account.get(account_id, ())
            if (since is None or trade.created_at >= since)
            and (until is None or trade.created_at < until)
        ]

    def trade(self, trade_id: int) -> Trade | None:
        trade = self._trades.get(trade_id)
        return None if trade is None else copy(trade)

    def book(self, contract_id: str) -> Book:
        return copy(self._books[contract_id])

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

    # ---- inside -------------------------------------------------------------------------------

    def _announce(self) -> None:
        if self.notify is not None and self._events:
            self.notify()

    def _place_refusal(
        self, account_id: int, contract_id: str, size: int, custom_tag: str | None
    ) -> Refusal | None:
        account = self._accounts.get(account_id)
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
        if custom_tag is not None and (account_id, custom_tag) in self._tags:
            return Refusal(PlaceError.ORDER_REJECTED, "custom tag is already in use")
        return None

    def _close_refusal(self, account_id: int, contract_id: str) -> Refusal | None:
        account = self._accounts.get(account_id)
        if account is None:
            return Refusal(CloseError.ACCOUNT_NOT_FOUND, "account not found")
        contract = self.contracts.get(contract_id)
        if contract is None:
            return Refusal(CloseError.CONTRACT_NOT_FOUND, "contract not found")
        if (account_id, contract_id) not in self._positions:
            return Refusal(CloseError.POSITION_NOT_FOUND, "position not found")
        if not contract.active:
            return Refusal(CloseError.CONTRACT_NOT_ACTIVE, "contract is not active")
        if not account.can_trade and self.refuse_closes_when_locked:
            return Refusal(CloseError.ACCOUNT_REJECTED, "account rejected")
        book = self._books[contract_id]
        if not book.is_open:
            return Refusal(CloseError.ORDER_REJECTED, "outside trading hours")
        for id_ in book.working:
            order = self._orders[id_]
            if order.is_close and order.account_id == account_id:
                return Refusal(CloseError.ORDER_PENDING, "a close is already pending")
        return None

    def _close(self, position: Position, size: int, now: datetime) -> int:
        side = Side.SELL if position.net > 0 else Side.BUY
        order = self._new_order(
            position.account_id, position.contract_id, OrderType.MARKET, side, size, now
        )
        order.is_close = True
        self._emit_order(order, 0)
        self._match(order, self._books[order.contract_id], now, arriving=True)
        self._announce()
        return order.id

    def _new_order(
        self,
        account_id: int,
        contract_id: str,
        kind: OrderType,
        side: Side,
        size: int,
        now: datetime,
        status: OrderStatus = OrderStatus.OPEN,
    ) -> Order:
        order = Order(
            id=self._next_order,
            account_id=account_id,
            contract_id=contract_id,
            symbol_id=self.contracts[contract_id].product.symbol_id,
            type=kind,
            side=side,
            size=size,
            created_at=now,
            updated_at=now,
            status=status,
        )
        self._next_order += 1
        self._orders[order.id] = order
        self._alive[order.id] = None
        self._by_account[account_id].append(order.id)
        if status is OrderStatus.OPEN:
            self._books[contract_id].working[order.id] = None
        return order

    def _add_child(self, parent: Order, bracket: Bracket, now: datetime) -> None:
        child = self._new_order(
            parent.account_id,
            parent.contract_id,
            bracket.type,
            parent.side.opposite,
            parent.size,
            now,
            OrderStatus.SUSPENDED,
        )
        child.parent_id = parent.id
        child.bracket_ticks = abs(bracket.ticks)
        self._children.setdefault(parent.id, []).append(child.id)
        self._emit_order(child, 0)

    def _match_all(self, book: Book, now: datetime) -> None:
        for id_ in list(book.working):
            order = self._orders[id_]
            if order.is_working:
                self._match(order, book, now, arriving=False)

    def _match(self, order: Order, book: Book, now: datetime, *, arriving: bool) -> None:
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
            held = self.net(order.account_id, order.contract_id)
            if order.is_close and held * order.side.sign >= 0:
                # What it was to close is gone already; the rest must not open the other way.
                self._finish(order, OrderStatus.CANCELLED, now)
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
        level = _trail_level(book, order.side, order.trail_price)
        improved = level < order.stop_price if order.side is Side.BUY else level > order.stop_price
        if improved:
            order.stop_price = level
            order.updated_at = now
            self._emit_order(order, 1)

    def _execute(self, order: Order, lots: int, price: Decimal, now: datetime) -> None:
        contract = self.contracts[order.contract_id]
        paid = (order.filled_price or ZERO) * order.filled + price * lots
        order.filled += lots
        order.filled_price = paid / order.filled
        order.updated_at = now
        if order.remaining == 0:
            order.status = OrderStatus.FILLED
            self._retire(order)

        key = (order.account_id, order.contract_id)
        position = self._positions.get(key)
        was_net = 0 if position is None else position.net
        pnl: Decimal | None = None
        action = 1
        if position is None:
            action = 0
            position = Position(
                self._next_position,
                order.account_id,
                order.contract_id,
                now,
                lots * order.side.sign,
                price,
            )
            self._next_position += 1
            self._positions[key] = position
        elif was_net * order.side.sign > 0:
            value = position.average_price * position.size + price * lots
            position.net += lots * order.side.sign
            position.average_price = value / position.size
        else:
            points = (price - position.average_price) * (lots if was_net > 0 else -lots)
            pnl = (points / contract.tick_size * contract.tick_value).quantize(
                CENT, ROUND_HALF_EVEN
            )
            position.net += lots * order.side.sign
            if position.net == 0:
                action = 2
                del self._positions[key]

        trade = Trade(
            id=self._next_trade,
            account_id=order.account_id,
            contract_id=order.contract_id,
            created_at=now,
            price=price,
            profit_and_loss=pnl,
            fees=contract.product.fee * lots,
            side=order.side,
            size=lots,
            order_id=order.id,
        )
        self._next_trade += 1
        self._trades[trade.id] = trade
        self._trades_by_account[order.account_id].append(trade)
        account = self._accounts[order.account_id]
        account.realised += pnl or ZERO
        account.fees += trade.fees

        frames: dict[Kind, Event] = {
            "order": Event("order", order.account_id, order.contract_id, 1, order.payload()),
            "trade": Event("trade", order.account_id, order.contract_id, 0, trade.payload()),
            "position": Event(
                "position",
                order.account_id,
                order.contract_id,
                action,
                position.payload(closed_from=was_net),
            ),
            "account": Event("account", order.account_id, "", 1, account.payload()),
        }
        self._events.extend(frames[kind] for kind in self.event_order)
        self._after_fill(order, lots, now)
        if position.net == 0 and self.cancel_brackets_when_flat:
            self._cancel_live_children(order.account_id, order.contract_id, now)

    def _after_fill(self, order: Order, lots: int, now: datetime) -> None:
        """A parent's fill wakes its children; a child's fill shrinks or cancels its sibling."""
        for id_ in self._children.get(order.id, ()):
            child = self._orders[id_]
            if not child.is_terminal:
                self._wake_child(order, child, now)
        if order.parent_id is None:
            return
        for id_ in self._children[order.parent_id]:
            sibling = self._orders[id_]
            if sibling.id == order.id or sibling.is_terminal:
                continue
            if order.remaining == 0 or sibling.remaining <= lots:
                self._finish(sibling, OrderStatus.CANCELLED, now)
            else:
                sibling.size -= lots
                sibling.updated_at = now
                self._emit_order(sibling, 1)

    def _wake_child(self, parent: Order, child: Order, now: datetime) -> None:
        contract = self.contracts[parent.contract_id]
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
            self._finish(child, OrderStatus.CANCELLED, now)
            return
        child.status = OrderStatus.OPEN
        child.updated_at = now
        self._books[child.contract_id].working[child.id] = None
        self._emit_order(child, 1)

    def _cancel_live_children(self, account_id: int, contract_id: str, now: datetime) -> None:
        for id_ in list(self._books[contract_id].working):
            order = self._orders[id_]
            if order.account_id == account_id and order.parent_id is not None:
                parent = self._orders[order.parent_id]
                if parent.is_terminal:
                    self._finish(order, OrderStatus.CANCELLED, now)

    def _finish(self, order: Order, status: OrderStatus, now: datetime) -> None:
        order.status = status
        order.updated_at = now
        self._retire(order)
        self._emit_order(order, 2)
        if order.filled == 0:
            # An entry that never filled takes its sleeping children with it.
            for id_ in self._children.get(order.id, ()):
                if not self._orders[id_].is_terminal:
                    self._finish(self._orders[id_], OrderStatus.CANCELLED, now)

    def _retire(self, order: Order) -> None:
        self._books[order.contract_id].working.pop(order.id, None)
        self._alive.pop(order.id, None)

    def _emit_order(self, order: Order, action: int) -> None:
        self._events.append(
            Event("order", order.account_id, order.contract_id, action, order.payload())
        )

    def _emit_account(self, account_id: int) -> None:
        account = self._accounts[account_id]
        self._events.append(Event("account", account_id, "", 1, account.payload()))

    def quote_payload(self, contract_id: str, *, now: datetime) -> dict[str, Any]:
        """The contract's current quote as it goes on the wire."""
        return self._quote_payload(self.contracts[contract_id], self._books[contract_id], now)

    def _quote_payload(self, contract: Contract, book: Book, now: datetime) -> dict[str, Any]:
        change = book.last - book.open
        stamp = now.isoformat()
        return {
            "symbol": contract.product.symbol_id,
            "symbolName": f"/{contract.root}",
            "lastPrice": float(book.last),
            "bestBid": float(book.bid),
            "bestAsk": float(book.ask),
            "change": float(change),
            "changePercent": round(float(change) / float(book.open), 6) if book.open else 0.0,
            "open": float(book.open),
            "high": float(book.high),
            "low": float(book.low),
            "volume": book.volume,
            "lastUpdated": stamp,
            "timestamp": stamp,
        }


def default_accounts() -> tuple[Account, ...]:
    """The two accounts of the practice login."""
    return (Account(101, "PRACTICE-50K-1"), Account(102, "PRACTICE-50K-2"))


def _fill_price(order: Order, book: Book, *, arriving: bool) -> Decimal | None:
    """What the order would trade at now, or None while it must wait."""
    buying = order.side is Side.BUY
    touch = book.ask if buying else book.bid
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


def _trail_level(book: Book, side: Side, distance: Decimal) -> Decimal:
    return book.last + distance if side is Side.BUY else book.last - distance


def _price_problem(
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


def _bracket_problem(stop_loss: Bracket | None, take_profit: Bracket | None) -> str | None:
    for label, bracket, allowed in (
        ("stopLossBracket", stop_loss, (OrderType.STOP, OrderType.TRAILING_STOP)),
        ("takeProfitBracket", take_profit, (OrderType.LIMIT,)),
    ):
        if bracket is None:
            continue
        if bracket.type not in allowed:
            return f"{label} cannot be of type {int(bracket.type)}"
        if not 0 < abs(bracket.ticks) <= 1000:
            return f"{label} ticks {bracket.ticks} out of range"
    return None


def _to_tick(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick


def _wire(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _require_utc(now: datetime) -> None:
    if now.tzinfo is not UTC and now.utcoffset() is None:
        raise ValueError("a naive time reached the exchange")
