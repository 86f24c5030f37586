"""How an account changes with a list of its working orders."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from risk_manager.domain.account import Account, Dispute, Ended
from risk_manager.domain.exit_orders import is_exit_stop
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import STOP_TYPES, TERMINAL, Order
from risk_manager.domain.records import LIST_LAG, OrderRecord, OrderStatus
from risk_manager.engine.disputes import (
    is_older,
    is_told_freshly,
    with_dispute,
    with_disputed_order,
)
from risk_manager.engine.stated_orders import (
    capped,
    is_of_an_earlier_stage,
    over,
    without_working,
    working,
)


def with_orders_reported(
    account: Account, records: Iterable[OrderRecord], asked_at: datetime, at: datetime
) -> Account:
    """Return the account after a full list of working orders.

    The list does not override what the stream reported after it was asked for, or within
    `LIST_LAG` before.
    """
    stated = {r.id: r for r in records}
    for record in stated.values():
        account = _with_listed(account, record, asked_at, at)
    for order in list(account.orders.values()):
        if order.id in stated or order.seen_at > asked_at:
            continue
        heard = account.heard.get(f"order:{order.id}")
        if heard is not None and heard > asked_at:
            continue
        if order.status is OrderStatus.SUSPENDED:
            if not _may_wait(account, order, stated, asked_at):
                account = without_working(account, order, at)
        elif heard is not None and asked_at < heard + LIST_LAG:
            dispute = Dispute(order.contract_id, heard + LIST_LAG, left_out=True)
            account = with_dispute(account, f"order:{order.id}", dispute)
        else:
            unlisted = capped({**account.unlisted, order.id: asked_at})
            account = fast_replace(without_working(account, order, at), unlisted=unlisted)
    return account


def _may_wait(
    account: Account, child: Order, stated: Mapping[int, OrderRecord], asked_at: datetime
) -> bool:
    """Whether a suspended bracket child may be waiting for its entry.

    No list shows suspended children. The event that ends them may be lost, but without a working
    entry order none of them can be waiting.
    """
    return any(
        r.contract_id == child.contract_id and r.side is not child.side for r in stated.values()
    ) or any(
        o.side is not child.side and is_told_freshly(account, f"order:{o.id}", asked_at)
        for o in account.orders_in(child.contract_id)
    )


def _with_listed(
    account: Account, record: OrderRecord, asked_at: datetime, at: datetime
) -> Account:
    """Return the account after a list stated this order."""
    known = account.orders.get(record.id)
    ended = account.finished.get(record.id)
    if record.status in TERMINAL:
        is_news = known is not None and not is_told_freshly(account, f"order:{known.id}", asked_at)
        return over(account, known, at, record.update_timestamp) if is_news and known else account
    if ended is not None and not is_older(ended.updated_at, record.update_timestamp):
        decided_from = ended.at + LIST_LAG
        if asked_at < ended.at and is_older(record.update_timestamp, ended.updated_at):
            return account
        if asked_at < decided_from and not _knows_of_the_end(record, ended, asked_at):
            # A list asked for before the message arrived may have been compiled after it.
            return with_disputed_order(account, record.id, record.contract_id, decided_from)
    elif (
        known is not None
        and is_told_freshly(account, f"order:{known.id}", asked_at)
        and not is_older(known.updated_at, record.update_timestamp)
        and not is_of_an_earlier_stage(known, record)
    ):
        return account
    return working(account, record, at)


def _knows_of_the_end(record: OrderRecord, ended: Ended, asked_at: datetime) -> bool:
    """Whether a list shows an order changed at the very moment that the stream calls its end.

    A list that lags would not know of that change. An order may be placed and filled in one moment,
    so its placing does not count as a change.
    """
    changed_at = record.update_timestamp
    return (
        asked_at >= ended.at
        and changed_at is not None
        and changed_at == ended.updated_at != record.creation_timestamp
    )


def judgeable_without_positions(
    account: Account, records: Iterable[OrderRecord]
) -> tuple[OrderRecord, ...]:
    """Return the orders of a list that came without the positions, as far as they can be judged.

    These are the known ones, and stops that fit a known position. Any other may protect a position
    that is not known yet; it would be taken for an entry and cancelled.
    """
    chosen: list[OrderRecord] = []
    free = {
        held.contract_id: held.size
        - sum(o.remaining for o in account.orders_in(held.contract_id) if is_exit_stop(o, held))
        for held in account.positions.values()
    }
    for record in records:
        if record.id in account.orders:
            chosen.append(record)
            continue
        held = account.positions.get(record.contract_id)
        if held is None or not held.sided or record.side.sign == held.side:
            continue
        remaining = record.size - record.fill_volume
        if record.type in STOP_TYPES and 0 < remaining <= free[record.contract_id]:
            free[record.contract_id] -= remaining
            chosen.append(record)
    return tuple(chosen)
