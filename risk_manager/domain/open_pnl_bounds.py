"""The open P&L of an account as far as it can be told while fresh prices are missing."""

from decimal import Decimal
from typing import NamedTuple

from risk_manager.domain.holdings import Position
from risk_manager.domain.money import ZERO
from risk_manager.domain.state import State
from risk_manager.domain.view import View, valuing_price


class OpenBetween(NamedTuple):
    """Bounds of the open P&L of an account in which some positions have no fresh price.

    `likely` values those positions at their last price. `least` and `most` allow for a move from
    there by the contract's range of the day. None: there is no bound. `doubts` names the positions
    for people.
    """

    likely: Decimal
    least: Decimal | None
    most: Decimal | None
    doubts: str


def open_between(view: View) -> OpenBetween:
    """Return bounds of the open P&L of the account, for when `View.unrealised_total` is None."""
    known: OpenBetween | None = view.memo.get("open between")
    if known is None:
        known = view.memo["open between"] = _open_between(view)
    return known


def _open_between(view: View) -> OpenBetween:
    likely = least = most = ZERO
    bounded_below = bounded_above = True
    doubts = []
    positions = view.account.positions.values()
    for position, value in zip(positions, view.open_results(), strict=True):
        if value is not None:
            likely += value
            least += value
            most += value
            continue
        name = view.name(position.contract_id)
        value, swing = last_unrealised(view.state, position), _swing(view.state, position)
        bounded_above &= not _may_come(view, position)
        # A position that was never priced removes the lower bound only: it must neither
        # excuse a known loss nor create a profit.
        bounded_below &= value is not None
        doubts.append(f"{name} {'has no' if value is None else 'at its last'} price")
        value = ZERO if value is None else value
        likely += value
        least += value - swing
        most += value + swing
    return OpenBetween(
        likely=likely,
        least=least if bounded_below else None,
        most=most if bounded_above else None,
        doubts=", ".join(sorted(doubts)),
    )


def last_unrealised(state: State, position: Position) -> Decimal | None:
    """Return the open P&L of a position at its newest quote, however old."""
    quote = state.quotes.get(position.contract_id)
    if quote is None or position.valuation is None:
        return None
    price = valuing_price(quote, position, state.rulebook.defaults.pnl_price)
    return None if price is None else position.valuation.unrealised(price)


def _swing(state: State, position: Position) -> Decimal:
    """Return the value, for a position, of its contract's price range of the day."""
    valuation, seen = position.valuation, state.ranges.get(position.contract_id)
    if valuation is None or seen is None:
        return ZERO
    return abs(valuation.per_tick) * round((seen.high - seen.low) / valuation.tick_size)


def _may_come(view: View, position: Position) -> bool:
    """Whether a first price may still arrive, shortly after an entry, start or opening."""
    account, state, after = view.account, view.state, view.oldest_fresh_at
    quote = state.quotes.get(position.contract_id)
    if quote is not None:
        after = max(after, quote.at)
    for since in (position.opened_at, account.resumed_at, state.awake_since):
        if since is not None and since > after:
            return True
    session = view.trading_since(position.contract_id)
    return session is not None and session > after
