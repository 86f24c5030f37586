"""Which orders an administrator has called off with `cancel_all`, until each of them is gone.

Kept as marks of the account, so that they outlive a refusal, the brake and a restart.
"""

from collections.abc import Callable
from datetime import datetime

from risk_manager.domain.account import Account, Mark
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.evolve import evolve
from risk_manager.domain.guard import Wanted
from risk_manager.domain.own_closes import ENFORCER
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.view import in_scope

ONE = "called off:"
ALL = "all called off:"


def noted(account: Account, event: AdminAsked, root: Callable[[str], str]) -> Account:
    """With a mark for each order now known that the administrator means, and one for those that
    are met when the account is read, if it has not been."""
    subjects = [f"{ONE}{order_id}" for order_id in _within(account, event.scope, root)]
    if account.is_only_remembered(event.at):
        subjects.append(f"{ALL}{event.scope}")
    return _with(account, subjects, event.at, event.reason)


def is_called_off(account: Account, order_id: int) -> bool:
    return (ENFORCER, f"{ONE}{order_id}") in account.marks


def demanded(account: Account, wanted: dict[str, Wanted], root: Callable[[str], str]) -> Account:
    """Add a cancel of each to `wanted`; returns the account with marks for those that are left."""
    gone = set()
    for mark in account.marks_of(ENFORCER):
        if mark.subject.startswith(ALL):
            gone.add((ENFORCER, mark.subject))
            met = _within(account, mark.subject.removeprefix(ALL), root)
            account = _with(account, [f"{ONE}{i}" for i in met], mark.set_at, mark.value)
    for mark in account.marks_of(ENFORCER):
        if not mark.subject.startswith(ONE):
            continue
        order_id = int(mark.subject.removeprefix(ONE))
        order = account.orders.get(order_id)
        if order is None:
            # A list that left it out may have been wrong: then it is met again.
            if order_id in account.finished or order_id not in account.unlisted:
                gone.add((ENFORCER, mark.subject))
        elif order.status is not OrderStatus.PENDING_CANCELLATION:  # that is under way
            want = wanted.setdefault(order.contract_id, Wanted())
            want.cancel_orders([order_id], ["manual"], mark.value)
    if not gone:
        return account
    return evolve(account, marks={k: m for k, m in account.marks.items() if k not in gone})


def _within(account: Account, scope: str, root: Callable[[str], str]) -> list[int]:
    orders = account.orders.values()
    return [o.id for o in orders if in_scope(scope, root(o.contract_id), o.contract_id)]


def _with(account: Account, subjects: list[str], at: datetime, reason: str) -> Account:
    if not subjects:
        return account
    marks = {
        (ENFORCER, subject): Mark(rule_id=ENFORCER, subject=subject, set_at=at, value=reason)
        for subject in subjects
    }
    return evolve(account, marks={**account.marks, **marks})
