"""The price band of a contract within which no rule of an account needs to be asked."""

from datetime import timedelta

from risk_manager.domain.money import NOWHERE, Band
from risk_manager.domain.rule import Rule
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine.lock_enforcement import is_at_rest

TOGETHER_EVERY = timedelta(seconds=1)


def is_within_quiet_band(state: State, account_id: int, contract_id: str) -> bool:
    """Whether the newest quote lies within the band in which no rule has anything to say."""
    known = state.accounts[account_id].memo.get(contract_id)
    if known is None or known[0] is not state.rulebook:
        return False
    low, high = known[1]
    quote = state.quotes[contract_id]
    bid, ask, last = quote.best_bid, quote.best_ask, quote.last_price
    if bid is None or ask is None or last is None:
        return False
    return low < bid < high and low < ask < high and low < last < high


def keep_quiet_band(view: View, rules: tuple[Rule, ...], contract_id: str) -> None:
    """Work out the quiet band once and keep it for as long as the account stays as it is.

    To be called only when this quote led to nothing: no verdict, and nothing wanted. Bands that
    hold only together are worked out anew for all positions once a quote has left its own, but not
    with every quote.
    """
    account, rulebook, now = view.account, view.state.rulebook, view.now
    known = account.memo.get(contract_id)
    if len(account.positions) > 1 and any([rule.bands_hold_together for rule in rules]):
        if known is None or known[0] is not rulebook or now - known[2] >= TOGETHER_EVERY:
            for held in account.positions:
                account.memo[held] = (rulebook, _quiet_between(view, rules, held), now)
    elif known is None or known[0] is not rulebook:
        account.memo[contract_id] = (rulebook, _quiet_between(view, rules, contract_id), now)


def _quiet_between(view: View, rules: tuple[Rule, ...], contract_id: str) -> Band:
    account = view.account
    position = account.positions.get(contract_id)
    if position is None or account.attempts or not is_at_rest(view.state, account):
        return NOWHERE
    band = Band()
    for rule in rules:
        own = rule.quiet_between(view, position)
        if own is None:
            return NOWHERE
        band = band.within(own)
    return band
