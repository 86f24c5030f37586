"""Exit orders left behind by a position that this program closed, until each of them is gone.

Without the position such an order would open a new one, whoever placed it. The orders are kept as
marks of the account, so that they survive a refusal, the brake and a restart.
"""

from datetime import datetime

from risk_manager.domain.account import ENFORCER, Account, Mark
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.records import OrderStatus
from risk_manager.engine.wanted import Wanted

REASON = "its position is closed"


def subject_of(contract_id: str) -> str:
    return f"left:{contract_id}"


def with_exits_marked(account: Account, position: Position, at: datetime) -> Account:
    """Record on the account which exits the position has, as it is about to be closed."""
    contract_id = position.contract_id
    exits = {o.id for o in account.orders_in(contract_id) if o.side.sign != position.side}
    exits |= _marked(account, contract_id)
    if not exits:
        return account
    subject = subject_of(contract_id)
    value = ",".join(map(str, sorted(exits)))
    mark = Mark(rule_id=ENFORCER, subject=subject, set_at=at, value=value)
    return fast_replace(account, marks={**account.marks, (ENFORCER, subject): mark})


def is_left_behind(account: Account, order: Order) -> bool:
    return order.id in _marked(account, order.contract_id) and _would_enter(account, order)


def demanded(account: Account, wanted: dict[str, Wanted]) -> Account:
    """Add a cancel of each marked order to `wanted`; return the account without finished marks."""
    gone = set()
    for mark in account.own_marks("left"):
        contract_id = mark.subject.partition(":")[2]
        ids = _marked(account, contract_id)
        for order in account.orders_in(contract_id):
            if order.id not in ids or order.status is OrderStatus.PENDING_CANCELLATION:
                continue
            if _would_enter(account, order):
                want = wanted.setdefault(contract_id, Wanted())
                want.cancel_orders([order.id], ["protection"], REASON)
        # A list that left an order out may have been wrong: keep the mark until certain.
        if all(_is_over(account, order_id) for order_id in ids):
            gone.add((ENFORCER, mark.subject))
    if not gone:
        return account
    return fast_replace(account, marks={k: m for k, m in account.marks.items() if k not in gone})


def _marked(account: Account, contract_id: str) -> set[int]:
    mark = account.marks.get((ENFORCER, subject_of(contract_id)))
    return {int(order_id) for order_id in mark.value.split(",")} if mark is not None else set()


def _would_enter(account: Account, order: Order) -> bool:
    return account.net(order.contract_id) * order.side.sign >= 0


def _is_over(account: Account, order_id: int) -> bool:
    if order_id in account.orders:
        return False
    return order_id in account.finished or order_id not in account.unlisted
