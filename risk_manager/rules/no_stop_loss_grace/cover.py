"""The cover of a position, kept: the same stops still cover it until the market passes one."""

from risk_manager.domain.holdings import Position
from risk_manager.domain.view import View
from risk_manager.rules.no_stop_loss_grace.configuration import Configuration


def keep_cover(rule: Configuration, view: View, position: Position) -> None:
    """Keep that this position is covered, with everything that this was judged by but the price."""
    contract_id = position.contract_id
    orders = view.account.orders_in(contract_id)
    prices = [float(o.stop_price) for o in orders if o.stop_price is not None]
    passed_first = (max if position.net > 0 else min)(prices, default=None)
    contract = view.state.contracts.get(contract_id)
    position.memo[rule.id] = (rule, contract, orders, passed_first)


def is_covered_as_before(rule: Configuration, view: View, position: Position) -> bool:
    """Whether this same position was covered by these orders, and the market has passed no stop.

    Without a quote that is fresh, no stop counts as passed.
    """
    known = position.memo.get(rule.id)
    if known is None:
        return False
    contract_id = position.contract_id
    kept_by, contract, orders, passed_first = known
    if (
        kept_by is not rule
        or contract is not view.state.contracts.get(contract_id)
        or orders != view.account.orders_in(contract_id)
    ):
        return False
    quote = view.quote(contract_id)
    far = None if quote is None else quote.far(position.side)
    if far is None or not isinstance(passed_first, float):
        return True
    return (passed_first - far) * position.side <= 0
