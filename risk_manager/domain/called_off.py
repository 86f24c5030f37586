"""Which orders an administrator has called off with `cancel_all`, until each of them is gone.

Kept as marks of the account, so that they outlive a refusal, the brake and a restart.
"""

from collections.abc import Callable

from risk_manager.domain.account import Account, Mark
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.evolve import evolve
from risk_manager.domain.guard import Wanted
from risk_manager.domain.own_closes import ENFORCER
from risk_manager.domain.view import in_scope

PREFIX = "called off:"


def noted(account: Account, event: AdminAsked, root: Callable[[str], str]) -> Account:
    """With a mark for each order now known that the administrator means."""
    marks = {}
    for order in account.orders.values():
        if in_scope(event.scope, root(order.contract_id), order.contract_id):
            subject = f"{PREFIX}{order.id}"
            marks[ENFORCER, subject] = Mark(
                rule_id=ENFORCER, subject=subject, set_at=event.at, value=event.reason
            )
    return evolve(account, marks={**account.marks, **marks}) if marks else account


def is_called_off(account: Account, order_id: int) -> bool:
    return (ENFORCER, f"{PREFIX}{order_id}") in account.marks


def demanded(account: Account, wanted: dict[str, Wanted]) -> Account:
    """Add a cancel of each to `wanted`; returns the account without the marks of those gone."""
    gone = set()
    for mark in account.marks_of(ENFORCER):
        if not mark.subject.startswith(PREFIX):
            continue
        order = account.orders.get(int(mark.subject.removeprefix(PREFIX)))
        if order is None:
            gone.add((mark.rule_id, mark.subject))
        else:
            want = wanted.setdefault(order.contract_id, Wanted())
            want.cancel_orders([order.id], ["manual"], mark.value)
    if not gone:
        return account
    return evolve(account, marks={k: m for k, m in account.marks.items() if k not in gone})
