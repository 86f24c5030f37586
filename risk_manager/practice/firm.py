"""The trading firm's decisions about accounts: open, close, allow trading, void a trade."""

from collections.abc import Callable
from datetime import datetime

from risk_manager.practice.clearing import Clearing
from risk_manager.practice.instants import require_utc
from risk_manager.practice.order_life import Orders
from risk_manager.practice.records import Account, Event


class Firm:
    """Changes accounts from the outside. `announce` is called after each change with events."""

    def __init__(
        self,
        orders: Orders,
        clearing: Clearing,
        events: list[Event],
        announce: Callable[[], None],
    ) -> None:
        self._orders = orders
        self._clearing = clearing
        self._events = events
        self._announce = announce

    def set_can_trade(self, account_id: int, can_trade: bool, *, now: datetime) -> None:
        """Allow or forbid trading. Working orders stay; new orders of the account are refused.

        Closes still work (the firm wants the account flat) unless
        `OrderEntry.refuse_closes_when_locked`.
        """
        require_utc(now)
        self._clearing.accounts[account_id].can_trade = can_trade
        self._emit_account(account_id)
        self._announce()

    def open_account(self, account: Account) -> None:
        """Give the login one more account, for instance after a reset.

        Raises ValueError for an id that is in use.
        """
        self._clearing.open_account(account)

    def close_account(self, account_id: int) -> None:
        """Remove a flat account from every list and call.

        Raises KeyError for an unknown id, ValueError where something is open or working.
        """
        holds = any(held.account_id == account_id for held in self._clearing.positions.values())
        works = any(
            order.account_id == account_id and order.is_working for order in self._orders.alive()
        )
        if holds or works:
            raise ValueError(f"account {account_id} is not flat")
        self._clearing.close_account(account_id)

    def void_trade(self, trade_id: int, *, now: datetime) -> None:
        """Take a trade's P&L and fees out of the balance. The position is left as it is.

        Raises KeyError for an unknown id; voiding twice does nothing.
        """
        require_utc(now)
        trade = self._clearing.trades[trade_id]
        if trade.voided:
            return
        self._clearing.void(trade)
        self._events.append(Event("trade", trade.account_id, trade.contract_id, 1, trade.payload()))
        self._emit_account(trade.account_id)
        self._announce()

    def _emit_account(self, account_id: int) -> None:
        account = self._clearing.accounts[account_id]
        self._events.append(Event("account", account_id, "", 1, account.payload()))
