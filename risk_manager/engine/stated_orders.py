"""How an account changes when the stream states an order, and what is kept of orders that ended."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from risk_manager.domain import layered
from risk_manager.domain.account import Account, Ended, Outlived
from risk_manager.domain.decisions import CancelOrder
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import TERMINAL, Order
from risk_manager.domain.records import LIST_LAG, OrderRecord, OrderStatus
from risk_manager.engine.disputes import is_older, with_disputed_order

ORDERS_REMEMBERED = 500


def with_order(
    account: Account, record: OrderRecord, at: datetime, told_at: datetime | None
) -> Account:
    """Return the account after the stream stated this order, as it last did at `told_at`.

    Statements are ordered by their update timestamps. A newer one can revive an order that was
    reported as ended. Two contradicting statements of unknown order are a dispute, which the next
    list decides.
    """
    known = account.orders.get(record.id)
    ended = account.finished.get(record.id)
    if record.status in TERMINAL:
        if known is None:
            if ended is None:
                return _with_ended(account, record.id, at, record.update_timestamp)
            if not is_older(ended.updated_at, record.update_timestamp):
                return account
            # A repeat keeps the first arrival time, so that lists asked for since then may decide.
            ended = replace(ended, updated_at=record.update_timestamp)
            return fast_replace(account, finished={**account.finished, record.id: ended})
        if is_older(record.update_timestamp, known.updated_at):
            return with_disputed_order(account, known.id, known.contract_id, at + LIST_LAG)
        return over(account, known, at, record.update_timestamp)
    if ended is not None:
        if is_older(record.update_timestamp, ended.updated_at):
            return account
        if not is_older(ended.updated_at, record.update_timestamp):
            # A repeated statement does not postpone the decision.
            return with_disputed_order(
                account, record.id, record.contract_id, max(at, ended.at + LIST_LAG)
            )
        account = with_disputed_order(account, record.id, record.contract_id, at + LIST_LAG)
    elif is_late(account, record):
        return with_disputed_order(account, record.id, record.contract_id, at)
    elif known is not None:
        return _working_still(account, known, record, at, told_at)
    return working(account, record, at)


def _working_still(
    account: Account, known: Order, record: OrderRecord, at: datetime, told_at: datetime | None
) -> Account:
    """Return the account after the stream stated an order that is known as working."""
    if is_older(record.update_timestamp, known.updated_at):
        return account
    if is_of_an_earlier_stage(record, known):
        if None in (record.update_timestamp, known.updated_at):
            return with_disputed_order(account, record.id, record.contract_id, at + LIST_LAG)
        return account
    if _may_be_a_late_repeat(record, known, at, told_at):
        return with_disputed_order(account, record.id, record.contract_id, at)
    return working(account, record, at)


def _may_be_a_late_repeat(
    record: OrderRecord, known: Order, at: datetime, told_at: datetime | None
) -> bool:
    """Whether a statement may be an earlier one again, as it is long after and dated the same.

    The changes that a gateway makes to an order in one instant are told together.
    """
    return (
        record.update_timestamp is not None
        and record.update_timestamp == known.updated_at
        and told_at is not None
        and at >= told_at + LIST_LAG
        and (record.size, record.stop_price, record.limit_price)
        != (known.size, known.stop_price, known.limit_price)
    )


def is_of_an_earlier_stage(one: OrderRecord | Order, other: OrderRecord | Order) -> bool:
    """Whether `one` describes an earlier stage of an order than `other`, timestamps being equal.

    A gateway may give several changes of an order the same timestamp. Within one instant an order
    never goes back from working to suspended, and its filled quantity never falls.
    """
    if is_older(_dated(other), _dated(one)):
        return False
    slept = one.status is OrderStatus.SUSPENDED and other.status is not OrderStatus.SUSPENDED
    return slept or _filled(one) < _filled(other)


def _dated(stated: OrderRecord | Order) -> datetime | None:
    return stated.updated_at if isinstance(stated, Order) else stated.update_timestamp


def _filled(stated: OrderRecord | Order) -> int:
    return stated.filled if isinstance(stated, Order) else stated.fill_volume


def working(account: Account, record: OrderRecord, at: datetime) -> Account:
    """Return the account with this order working, whatever was known of it before."""
    known = account.orders.get(record.id)
    order = Order(
        id=record.id,
        contract_id=record.contract_id,
        type=record.type,
        status=record.status,
        side=record.side,
        size=record.size,
        filled=record.fill_volume,
        limit_price=record.limit_price,
        stop_price=record.stop_price,
        custom_tag=record.custom_tag,
        seen_at=known.seen_at if known else at,
        created_at=record.creation_timestamp,
        updated_at=record.update_timestamp,
    )
    if order == known:
        return account
    ended = account.finished.get(order.id)
    if ended is not None:
        if ended.cancelled:
            before = account.outlived.get(order.id)
            times = before.times + 1 if before is not None else 1
            outlived = capped({**account.outlived, order.id: Outlived(times, at)})
            account = _without_settled(fast_replace(account, outlived=outlived), order.id)
        finished = {k: e for k, e in account.finished.items() if k != order.id}
        account = fast_replace(account, finished=finished)
    return fast_replace(account, orders=layered.with_order(account.orders, order))


def _without_settled(account: Account, order_id: int) -> Account:
    """Drop the answered cancel of an order that still works in spite of it.

    The next cancel is then a first try and does not wait for the earlier one's pause.
    """
    key = f"order:{order_id}"
    attempt = account.attempts.get(key)
    if attempt is None or attempt.in_flight:
        return account
    return fast_replace(account, attempts={k: a for k, a in account.attempts.items() if k != key})


def without_order(account: Account, order_id: int, at: datetime) -> Account:
    """Return the account after the gateway said that it knows no such working order."""
    order = account.orders.get(order_id)
    return account if order is None else over(account, order, at)


def is_late(account: Account, record: OrderRecord) -> bool:
    """Whether a "working" message is older than a list that no longer showed the order."""
    return (
        record.id not in account.orders
        and record.status not in TERMINAL
        and is_older(record.update_timestamp, account.unlisted.get(record.id))
    )


def over(
    account: Account, order: Order, at: datetime, updated_at: datetime | None = None
) -> Account:
    """Return the account after this order has ended, by a statement dated `updated_at`."""
    account = without_working(account, order, at)
    return _with_ended(account, order.id, at, updated_at, order.seen_at)


def _with_ended(
    account: Account,
    order_id: int,
    at: datetime,
    updated_at: datetime | None,
    seen_at: datetime | None = None,
) -> Account:
    attempt = account.attempts.get(f"order:{order_id}")
    cancelled = attempt is not None and isinstance(attempt.action, CancelOrder)
    ended = Ended(at, updated_at, cancelled, seen_at)
    return fast_replace(account, finished=capped({**account.finished, order_id: ended}))


def without_working(account: Account, order: Order, at: datetime) -> Account:
    """Return the account without this order. The end of an exit is noted for its contract."""
    orders = layered.without_order(account.orders, order.id)
    if account.net(order.contract_id) * order.side.sign >= 0:
        return fast_replace(account, orders=orders)
    return fast_replace(
        account, orders=orders, exit_over={**account.exit_over, order.contract_id: at}
    )


def capped[V](orders: dict[int, V]) -> Mapping[int, V]:
    """Return what is kept of ended orders: of the newest `ORDERS_REMEMBERED`."""
    while len(orders) > ORDERS_REMEMBERED:
        del orders[next(iter(orders))]
    return orders
