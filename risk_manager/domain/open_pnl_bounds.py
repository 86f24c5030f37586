"""The open P&L of an account as far as it can be told while fresh prices are missing."""

from decimal import Decimal
from typing import NamedTuple

from risk_manager.domain.exchange_hours import trading_since
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
    likely = least = most = ZERO
    bounded_below = bounded_above = True
    doubts = []
    for position in view.account.positions.values():
        name = view.name(position.contract_id)
        value = view.unrealised(position)
        swing = ZERO
        if value is None:
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
    account, state = view.account, view.state
    since = [position.opened_at]
    since += [at for at in (account.resumed_at, state.awake_since) if at is not None]
    session = trading_since(state.rulebook.calendar, view.root(position.contract_id), view.now)
    if session is not None:
        since.append(session)
    quote, began = state.quotes.get(position.contract_id), max(since)
    return (quote is None or quote.at < began) and began > view.oldest_fresh_at
