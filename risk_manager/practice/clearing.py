"""Clearing: every fill is booked in the accounts, positions and trades of the exchange."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from risk_manager.practice.book import Book
from risk_manager.practice.products import Contract
from risk_manager.practice.records import ZERO, Account, Order, Position, Trade

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Cleared:
    """One fill, booked. `net_before` is what was held before it; `action` is that of its event."""

    position: Position
    action: int
    net_before: int
    trade: Trade
    account: Account


class Clearing:
    """Accounts, positions and trades. Every fill is booked in all three at once."""

    def __init__(
        self,
        accounts: Iterable[Account],
        contracts: Mapping[str, Contract],
        books: Mapping[str, Book],
        *,
        next_trade: int,
        next_position: int,
    ) -> None:
        self._contracts = contracts
        self._books = books
        self._next_trade = next_trade
        self._next_position = next_position
        self._accounts: dict[int, Account] = {account.id: account for account in accounts}
        self._positions: dict[tuple[int, str], Position] = {}
        self._trades: dict[int, Trade] = {}
        self._trades_by_account: dict[int, list[Trade]] = {}

    @property
    def accounts(self) -> Mapping[int, Account]:
        return self._accounts

    @property
    def positions(self) -> Mapping[tuple[int, str], Position]:
        """Open positions by account and contract, oldest first."""
        return self._positions

    @property
    def trades(self) -> Mapping[int, Trade]:
        return self._trades

    def trades_of(self, account_id: int) -> Iterator[Trade]:
        """The account's trades, oldest first."""
        return iter(self._trades_by_account.get(account_id, ()))

    def net(self, account_id: int, contract_id: str) -> int:
        position = self._positions.get((account_id, contract_id))
        return 0 if position is None else position.net

    def unrealised(self, account_id: int) -> Decimal:
        """Open P&L at the price each position could be closed at now."""
        total = ZERO
        for position in self._positions.values():
            if position.account_id == account_id:
                price = self._books[position.contract_id].exit_price(position.net)
                points = (price - position.average_price) * position.net
                contract = self._contracts[position.contract_id]
                total += points / contract.tick_size * contract.tick_value
        return total.quantize(CENT, ROUND_HALF_EVEN)

    def open_account(self, account: Account) -> None:
        """ValueError for an id that is in use."""
        if account.id in self._accounts:
            raise ValueError(f"account {account.id} exists already")
        self._accounts[account.id] = account

    def close_account(self, account_id: int) -> None:
        del self._accounts[account_id]

    def book(self, order: Order, lots: int, price: Decimal, now: datetime) -> Cleared:
        """Book a fill that does not cross flat."""
        contract = self._contracts[order.contract_id]
        net_before = self.net(order.account_id, order.contract_id)
        position, action, profit_and_loss = self._move(order, lots, price, now)
        trade = Trade(
            id=self._next_trade,
            account_id=order.account_id,
            contract_id=order.contract_id,
            created_at=now,
            price=price,
            profit_and_loss=profit_and_loss,
            fees=contract.product.fee * lots,
            side=order.side,
            size=lots,
            order_id=order.id,
        )
        self._next_trade += 1
        self._trades[trade.id] = trade
        self._trades_by_account.setdefault(order.account_id, []).append(trade)
        account = self._accounts[order.account_id]
        account.realised += profit_and_loss or ZERO
        account.fees += trade.fees
        return Cleared(position, action, net_before, trade, account)

    def _move(
        self, order: Order, lots: int, price: Decimal, now: datetime
    ) -> tuple[Position, int, Decimal | None]:
        """The position after the fill, the action of its event, and what the fill realised."""
        key = (order.account_id, order.contract_id)
        signed = lots * order.side.sign
        position = self._positions.get(key)
        if position is None:
            position = Position(self._next_position, *key, now, signed, price)
            self._next_position += 1
            self._positions[key] = position
            return position, 0, None
        if position.net * order.side.sign > 0:
            value = position.average_price * position.size + price * lots
            position.net += signed
            position.average_price = value / position.size
            return position, 1, None
        contract = self._contracts[order.contract_id]
        points = (price - position.average_price) * -signed
        realised = (points / contract.tick_size * contract.tick_value).quantize(
            CENT, ROUND_HALF_EVEN
        )
        position.net += signed
        if position.net:
            return position, 1, realised
        del self._positions[key]
        return position, 2, realised

    def void(self, trade: Trade) -> None:
        """Take a trade's P&L and fees out of the balance; the position is left as it is."""
        trade.voided = True
        account = self._accounts[trade.account_id]
        account.realised -= trade.profit_and_loss or ZERO
        account.fees -= trade.fees
