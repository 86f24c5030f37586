"""The effect of an administrator's order, as the rows of its answer."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.locks import Lock, Release
from risk_manager.domain.scope import in_scope
from risk_manager.domain.state import State
from risk_manager.engine.locking import may_be_cleared
from risk_manager.feed.snapshot import lock_row

Row = dict[str, Any]


# --- locks ----------------------------------------------------------------------------------------


def rows_of(locks: Iterable[Lock]) -> list[Row]:
    """Return locks in the form of the feed."""
    return [asdict(lock_row(lock)) for lock in locks]


def lifted(before: Account, after: Account, meant: Iterable[Lock], today: date) -> Row:
    """Return the locks that a clear has lifted, and those left, with who may lift them."""
    gone = [lock for lock in meant if lock.key not in after.locks]
    known = {lock.key for lock in meant}
    stays = [
        {
            **row,
            "asked_for": lock.key in known,
            "who": _who_may_lift(after, lock, before.locks.get(lock.key), today),
        }
        for lock, row in zip(after.locks.values(), rows_of(after.locks.values()), strict=True)
    ]
    return {"lifted": rows_of(gone), "stays": stays}


def who_may_lift(account: Account, lock: Lock, today: date) -> str:
    """Return who or what ends a lock, in words that complete "it stays: ..."."""
    if may_be_cleared(account, lock, today):
        return "an administrator may lift it"
    match lock.release:
        case Release.TIME:
            return "nobody may lift it; it ends by itself when its time is over"
        case Release.RESET:
            return "nobody may lift it; it ends by itself at the daily reset"
        case Release.MANUAL:
            return "an administrator may lift it from the next trading day on"
        case Release.CAN_TRADE:
            return "it ends once the platform lets the account trade again"
        case Release.SESSION_START:
            return "nobody may lift it; it ends by itself when the session opens"
        case Release.CONFIG:
            return "it ends once the configuration is changed"


def _who_may_lift(account: Account, lock: Lock, before: Lock | None, today: date) -> str:
    if before is not None and lock.set_at > before.set_at:
        return "set again at once: its rule still asks for it"
    return who_may_lift(account, lock, today)


# --- what was open and working --------------------------------------------------------------------


@dataclass(slots=True)
class _Meant:
    """The positions and orders found in one account, and when they were first seen to be gone."""

    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    gone_at: datetime | None = None
    verified_at: datetime | None = None


class Carried:
    """The progress of a `close_all` or `cancel_all`, account by account.

    Verified means that a list of the broker, asked for after everything was gone, confirms it.
    """

    def __init__(self, account_ids: Iterable[int], scope: str, *, with_positions: bool) -> None:
        self._meant = {account_id: _Meant() for account_id in account_ids}
        self._scope = scope
        self._with_positions = with_positions

    def find(self, state: State) -> None:
        """Note what there is to close and to cancel. May be called again when more is known."""
        for account_id, meant in self._meant.items():
            account = state.accounts[account_id]
            if self._with_positions:
                for position in self._positions(state, account):
                    meant.positions.setdefault((position.contract_id, position.episode), position)
            for order in self._orders(state, account):
                meant.orders.setdefault(order.id, order)

    def look(self, state: State, now: datetime) -> list[int]:
        """Return the accounts that must still be read from the broker; empty when all is done."""
        waiting = []
        for account_id, meant in self._meant.items():
            account = state.accounts[account_id]
            if self._open(account, meant) or self._working(account, meant):
                meant.gone_at = meant.verified_at = None
            elif meant.gone_at is None:
                meant.gone_at = now
            elif account.reported_as_of is not None and account.reported_as_of > meant.gone_at:
                meant.verified_at = meant.verified_at or account.reported_at
            if meant.verified_at is None:
                waiting.append(account_id)
        return waiting

    def rows(self, state: State) -> list[Row]:
        """Return the result per account."""
        return [self._row(state, state.accounts[i], meant) for i, meant in self._meant.items()]

    def _row(self, state: State, account: Account, meant: _Meant) -> Row:
        still_open, working = self._open(account, meant), self._working(account, meant)
        filled = _filled(account, [o for o in meant.orders.values() if o.id not in working])
        return {
            "account_id": account.id,
            "name": account.name,
            "closed": [
                _position_row(state, position)
                for position in meant.positions.values()
                if position.contract_id not in still_open
            ],
            "cancelled": [
                _order_row(state, order)
                for order in meant.orders.values()
                if order.id not in working and order.id not in filled
            ],
            "filled": [_order_row(state, meant.orders[i]) for i in sorted(filled)],
            "still_open": [
                {**_position_row(state, p), **_tries(account, f"position:{p.contract_id}")}
                for p in still_open.values()
            ],
            "still_working": [
                {**_order_row(state, o), **_tries(account, f"order:{o.id}")}
                for o in working.values()
            ],
            "opened_since": [
                _position_row(state, p)
                for p in self._positions(state, account)
                if self._with_positions and (p.contract_id, p.episode) not in meant.positions
            ],
            "placed_since": [
                _order_row(state, o)
                for o in self._orders(state, account)
                if o.id not in meant.orders
            ],
            "verified": meant.verified_at is not None,
            "verified_at": meant.verified_at,
        }

    def _open(self, account: Account, meant: _Meant) -> dict[str, Position]:
        return {
            p.contract_id: p
            for p in account.positions.values()
            if (p.contract_id, p.episode) in meant.positions
        }

    def _working(self, account: Account, meant: _Meant) -> dict[int, Order]:
        return {i: order for i, order in account.orders.items() if i in meant.orders}

    def _positions(self, state: State, account: Account) -> list[Position]:
        return [p for p in account.positions.values() if self._means(state, p.contract_id)]

    def _orders(self, state: State, account: Account) -> list[Order]:
        return [o for o in account.orders.values() if self._means(state, o.contract_id)]

    def _means(self, state: State, contract_id: str) -> bool:
        return in_scope(self._scope, state.root(contract_id), contract_id)


def _filled(account: Account, gone: list[Order]) -> set[int]:
    """Return those of the orders that filled before their cancel arrived."""
    lots = {order.id: 0 for order in gone}
    for execution in account.ledger.standing():
        if execution.order_id in lots:
            lots[execution.order_id] += execution.size
    return {order.id for order in gone if lots[order.id] >= order.size}


def _position_row(state: State, position: Position) -> Row:
    return {
        "contract_id": position.contract_id,
        "symbol": state.name(position.contract_id),
        "net": position.net,
    }


def _order_row(state: State, order: Order) -> Row:
    return {
        "order_id": order.id,
        "contract_id": order.contract_id,
        "symbol": state.name(order.contract_id),
        "type": order.type.name.lower(),
        "side": order.side.name.lower(),
        "size": order.remaining,
    }


def _tries(account: Account, key: str) -> Row:
    attempt = account.attempts.get(key)
    outcome = None if attempt is None or attempt.outcome is None else attempt.outcome.value
    return {"tries": 0 if attempt is None else attempt.tries, "outcome": outcome}
