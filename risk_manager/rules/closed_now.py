"""Shared by the meters that count closed trades only: how it would be if all were closed now."""

from decimal import Decimal

from risk_manager.domain.money import dollars
from risk_manager.domain.view import View
from risk_manager.rules.open_pnl import in_ticks


def open_result(view: View) -> Decimal | None:
    """Return the P&L of what is open; None where nothing is open or it is not known."""
    return view.unrealised_total() if view.account.positions else None


def left_if_closed(view: View, left: Decimal, of: str = "") -> str:
    """Say what is left of a loss limit if all is closed now; empty where that is not known.

    Such as "; closed now, $36.97 = 24 ticks on 3": the price may move so far from where it is.
    """
    open_pnl = open_result(view)
    if open_pnl is None:
        return ""
    left += open_pnl
    if left <= 0:
        past = f"{dollars(-left)} past the limit" if left else "limit reached"
        return f"; closed now, {past}"
    return f"; closed now, {dollars(left)}{of}{ticks_from_here(view, left)}"


def is_reached_if_closed(view: View, left: Decimal) -> bool:
    """Whether a loss limit of which so much is left is reached once all is closed."""
    open_pnl = open_result(view)
    return open_pnl is not None and left + open_pnl <= 0


def to_go_if_closed(view: View, to_go: Decimal, reached: str) -> str:
    """Say what a profit still lacks if all is closed now; empty where that is not known."""
    open_pnl = open_result(view)
    if open_pnl is None:
        return ""
    to_go -= open_pnl
    return f"; closed now, {reached}" if to_go <= 0 else f"; closed now, {dollars(to_go)} to go"


def ticks_from_here(view: View, amount: Decimal) -> str:
    """Return an amount as a move from the present price; empty unless one contract is held."""
    held = list(view.account.positions.values())
    return in_ticks(view, held[0], amount) if len(held) == 1 else ""
