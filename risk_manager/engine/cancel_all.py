"""Orders to cancel until each is gone: those of an administrator's `cancel_all`, and those that
ended together with a closed position.

They are kept as marks of the account, so that they survive a refusal, the brake and a restart. The
end of an order is certain only once a list confirms it: a cancel may be confirmed without effect.
"""

from collections.abc import Callable
from datetime import datetime

from risk_manager.domain.account import ENFORCER, Account, Mark, MarkKey
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Order
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.scope import in_scope
from risk_manager.engine.wanted import Wanted

ONE = "called off:"
ALL = "all called off:"
WITH_POSITION = "closed with its position:"


def with_called_off(account: Account, event: AdminAsked, root: Callable[[str], str]) -> Account:
    """Return the account with a mark for each order in the scope.

    If the account has not been read since the start, add a mark that applies to every order the
    read will show.
    """
    subjects = [f"{ONE}{order_id}" for order_id in _within(account, event.scope, root)]
    if account.is_only_remembered(event.at):
        subjects.append(f"{ALL}{event.scope}")
    return _with(account, subjects, event.at, event.reason)


def with_let_go(before: Account, after: Account) -> Account:
    """Return `after` with a mark for each order of a finished closing whose end is unconfirmed."""
    if after.closings is before.closings:
        return after
    marks: dict[MarkKey, Mark] = {}
    for contract_id, closing in before.closings.items():
        if contract_id in after.closings:
            continue
        for order_id in closing.order_ids & after.finished.keys():
            if not after.is_gone(order_id):
                subject = f"{WITH_POSITION}{order_id}"
                marks[ENFORCER, subject] = Mark(
                    rule_id=ENFORCER,
                    subject=subject,
                    set_at=after.finished[order_id].at,
                    value=f"{','.join(closing.rule_ids)} {closing.reason}",
                )
    return fast_replace(after, marks={**after.marks, **marks}) if marks else after


def is_called_off(account: Account, order_id: int) -> bool:
    return any(
        (ENFORCER, f"{prefix}{order_id}") in account.marks for prefix in (ONE, WITH_POSITION)
    )


def demanded(account: Account, wanted: dict[str, Wanted], root: Callable[[str], str]) -> Account:
    """Add a cancel of each marked order to `wanted`; return the account with the marks left."""
    gone = set()
    for mark in account.own_marks(_kind(ALL)):
        gone.add((ENFORCER, mark.subject))
        met = _within(account, mark.subject.removeprefix(ALL), root)
        account = _with(account, [f"{ONE}{i}" for i in met], mark.set_at, mark.value)
    for mark in (*account.own_marks(_kind(ONE)), *account.own_marks(_kind(WITH_POSITION))):
        order_id = int(mark.subject.rpartition(":")[2])
        order = account.orders.get(order_id)
        if order is None:
            # A list that left the order out may have been wrong: keep the mark until certain.
            unsure = order_id in account.finished or order_id in account.unlisted
            if account.is_gone(order_id) or not unsure:
                gone.add((ENFORCER, mark.subject))
        elif mark.subject.startswith(WITH_POSITION) and _only_reduces(account, order):
            continue  # it is an exit again, of a position the trader has opened since
        elif order.status is not OrderStatus.PENDING_CANCELLATION:  # else a cancel is under way
            want = wanted.setdefault(order.contract_id, Wanted())
            rule_ids, reason = ["manual"], mark.value
            if mark.subject.startswith(WITH_POSITION):
                names, _, reason = mark.value.partition(" ")
                rule_ids = names.split(",")
            want.cancel_orders([order_id], rule_ids, reason)
    if not gone:
        return account
    return fast_replace(account, marks={k: m for k, m in account.marks.items() if k not in gone})


def _only_reduces(account: Account, order: Order) -> bool:
    net = account.net(order.contract_id)
    return net * order.side.sign < 0 and order.remaining <= abs(net)


def _kind(prefix: str) -> str:
    return prefix.removesuffix(":")


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
    return fast_replace(account, marks={**account.marks, **marks})
