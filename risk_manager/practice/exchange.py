"""The practice exchange: its parts put together, the moves of its markets, and the true state.

It has no IO, no clock and no randomness of its own. Every call takes the instant at which it
happens, so the same calls give the same events.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Any, Literal

from risk_manager.practice.book import Book
from risk_manager.practice.clearing import Clearing
from risk_manager.practice.firm import Firm
from risk_manager.practice.instants import require_utc
from risk_manager.practice.matching import FILL_ORDER, Kind, Matching
from risk_manager.practice.order_entry import OrderEntry
from risk_manager.practice.order_life import Orders
from risk_manager.practice.products import Contract, contracts_on
from risk_manager.practice.records import (
    Account,
    Event,
    Order,
    OrderStatus,
    Position,
    Trade,
)

ALL_CONTRACTS = "*"
DEFAULT_DAY = date(2026, 11, 20)


class Exchange:
    """A futures exchange and the broker in front of it.

    Participants act through `order_entry`, the trading firm through `firm`. `first_id` shifts
    every id, for a gateway that must not repeat the ids of an earlier run. `notify` is called after
    each change that left events to drain. See `Matching` for the rest.
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
        self.order_entry = OrderEntry(
            self.contracts,
            self._books,
            self._orders,
            self._clearing,
            self.matching,
            max_order_size=max_order_size,
            announce=self._announce,
        )
        self.firm = Firm(self._orders, self._clearing, self._events, self._announce)

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
        require_utc(now)
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
        require_utc(now)
        books = self._books.values() if contract_id == ALL_CONTRACTS else [self._books[contract_id]]
        for book in books:
            book.is_open = is_open
            self.matching.match_all(book, now)
        self._announce()

    def end_order(
        self,
        order_id: int,
        status: Literal[OrderStatus.EXPIRED, OrderStatus.REJECTED],
        *,
        now: datetime,
    ) -> None:
        """The exchange itself ends an order: a day order at the close, or a late rejection."""
        require_utc(now)
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


def default_accounts() -> tuple[Account, ...]:
    """The two accounts of the practice login."""
    return (Account(101, "PRACTICE-50K-1"), Account(102, "PRACTICE-50K-2"))
