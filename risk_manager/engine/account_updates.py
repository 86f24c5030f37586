"""How an account changes with the broker's statements: stream messages and REST lists.

Statements are ordered by when they were true. Where two statements contradict each other and
neither is known to be newer, a dispute is kept until a list decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from risk_manager.domain import layered
from risk_manager.domain.account import Account, Dispute, Ended, Outlived
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    ReducePosition,
)
from risk_manager.domain.exit_orders import is_exit_stop
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import STOP_TYPES, TERMINAL, Order, Position
from risk_manager.domain.money import Valuation
from risk_manager.domain.records import (
    LIST_LAG,
    AccountRecord,
    OrderRecord,
    OrderStatus,
    PositionRecord,
    PositionType,
)
from risk_manager.domain.symbols import Contract

ORDERS_REMEMBERED = 500

# A stated average that differs from the fills' average by more than this (as a fraction, and in
# ticks) is not believed.
MISSTATED = Decimal("0.2")
MISSTATED_TICKS = 100


def with_position(
    account: Account, record: PositionRecord, at: datetime, contract: Contract | None
) -> Account:
    """The account after the gateway stated this position."""
    held = account.positions.get(record.contract_id)
    if held is not None and _is_of_an_earlier_one(record, held):
        return account
    net = record.net
    if net == 0:
        if held is None:
            return account
        account = fast_replace(account, positions=_without(account.positions, record.contract_id))
        return _ended(account, held)
    sided = record.type is not PositionType.UNDEFINED
    goes_on = held is not None and (held.net > 0) == (net > 0) and not held.precedes(record)
    known = held.average_price if held is not None and goes_on else None
    average, by_fills = record.average_price or None, None
    if sided and (average is None or average != known):
        by_fills = account.ledger.average_of(record.contract_id, net)
    if average is not None and by_fills is not None and _is_far(average, by_fills, contract):
        average = None
    stated = average is not None
    if average is None:
        # A reduction leaves the average price unchanged.
        took_off = held is not None and abs(net) <= held.size
        average = known if known is not None and took_off else by_fills
    if held is not None and goes_on:
        grew = abs(net) > held.size
        position = fast_replace(
            held,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            increased_at=at if grew else held.increased_at,
            created_at=held.created_at or record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        if position == held:
            return account
    else:
        position = Position(
            contract_id=record.contract_id,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            episode=account.next_episode,
            opened_at=at,
            increased_at=at,
            created_at=record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        account = fast_replace(account, next_episode=account.next_episode + 1)
        if held is not None:
            account = _ended(account, held)
    return fast_replace(account, positions={**account.positions, record.contract_id: position})


def _is_far(average: Decimal, by_fills: Decimal, contract: Contract | None) -> bool:
    """Whether a stated average is too far from the fills' average to be believed."""
    least = MISSTATED_TICKS * contract.tick_size if contract is not None else 0
    return abs(average - by_fills) > max(MISSTATED * abs(by_fills), least)


def averaged(account: Account, contracts: Mapping[str, Contract]) -> Account:
    """Return the account with the fills' average on each position whose average is unknown."""
    for position in account.positions.values():
        if position.average_price is None and position.sided:
            contract_id = position.contract_id
            average = account.ledger.average_of(contract_id, position.net)
            if average is not None:
                known = fast_replace(position, average_price=average)
                known = revalued(known, contracts.get(contract_id))
                positions = {**account.positions, contract_id: known}
                account = fast_replace(account, positions=positions)
    return account


def _ended(account: Account, position: Position) -> Account:
    return fast_replace(account, ended={**account.ended, position.contract_id: position})


def _is_of_an_earlier_one(record: PositionRecord, held: Position) -> bool:
    """Whether the record is a late message about a position older than the one held."""
    return (
        record.id != held.gateway_id
        and record.creation_timestamp is not None
        and held.created_at is not None
        and record.creation_timestamp < held.created_at
    )


def revalued(position: Position, contract: Contract | None) -> Position:
    """Return the position with its valuation prepared. The valuation is None unless side, average
    price and contract are known."""
    valuation = _valuation(position.net, position.average_price, position.sided, contract)
    return (
        position if valuation == position.valuation else fast_replace(position, valuation=valuation)
    )


def _valuation(
    net: int, average: Decimal | None, sided: bool, contract: Contract | None
) -> Valuation | None:
    if contract is None or average is None or not sided:
        return None
    return Valuation.of(net, average, contract)


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
            if not _is_older(ended.updated_at, record.update_timestamp):
                return account
            # A repeat keeps the first arrival time, so that lists asked for since then may decide.
            ended = replace(ended, updated_at=record.update_timestamp)
            return fast_replace(account, finished={**account.finished, record.id: ended})
        if _is_older(record.update_timestamp, known.updated_at):
            return _disputed(account, known.id, known.contract_id, at + LIST_LAG)
        return _over(account, known, at, record.update_timestamp)
    if ended is not None:
        if _is_older(record.update_timestamp, ended.updated_at):
            return account
        if not _is_older(ended.updated_at, record.update_timestamp):
            # A repeated statement does not postpone the decision.
            return _disputed(account, record.id, record.contract_id, max(at, ended.at + LIST_LAG))
        account = _disputed(account, record.id, record.contract_id, at + LIST_LAG)
    elif is_late(account, record):
        return _disputed(account, record.id, record.contract_id, at)
    elif known is not None:
        return _working_still(account, known, record, at, told_at)
    return _working(account, record, at)


def _working_still(
    account: Account, known: Order, record: OrderRecord, at: datetime, told_at: datetime | None
) -> Account:
    """Return the account after the stream stated an order that is known as working."""
    if _is_older(record.update_timestamp, known.updated_at):
        return account
    if _is_of_an_earlier_stage(record, known):
        if None in (record.update_timestamp, known.updated_at):
            return _disputed(account, record.id, record.contract_id, at + LIST_LAG)
        return account
    if _may_be_a_late_repeat(record, known, at, told_at):
        return _disputed(account, record.id, record.contract_id, at)
    return _working(account, record, at)


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


def _is_of_an_earlier_stage(one: OrderRecord | Order, other: OrderRecord | Order) -> bool:
    """Whether `one` describes an earlier stage of an order than `other`, timestamps being equal.

    A gateway may give several changes of an order the same timestamp. Within one instant an order
    never goes back from working to suspended, and its filled quantity never falls.
    """
    if _is_older(_dated(other), _dated(one)):
        return False
    slept = one.status is OrderStatus.SUSPENDED and other.status is not OrderStatus.SUSPENDED
    return slept or _filled(one) < _filled(other)


def _dated(stated: OrderRecord | Order) -> datetime | None:
    return stated.updated_at if isinstance(stated, Order) else stated.update_timestamp


def _filled(stated: OrderRecord | Order) -> int:
    return stated.filled if isinstance(stated, Order) else stated.fill_volume


def _working(account: Account, record: OrderRecord, at: datetime) -> Account:
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
            outlived = _capped({**account.outlived, order.id: Outlived(times, at)})
            account = _without_settled(fast_replace(account, outlived=outlived), order.id)
        account = fast_replace(account, finished=_without(account.finished, order.id))
    return fast_replace(account, orders=layered.with_order(account.orders, order))


def _without_settled(account: Account, order_id: int) -> Account:
    """Drop the answered cancel of an order that still works in spite of it.

    The next cancel is then a first try and does not wait for the earlier one's pause.
    """
    key = f"order:{order_id}"
    attempt = account.attempts.get(key)
    if attempt is None or attempt.in_flight:
        return account
    return fast_replace(account, attempts=_without(account.attempts, key))


def without_order(account: Account, order_id: int, at: datetime) -> Account:
    """Return the account after the gateway said that it knows no such working order."""
    order = account.orders.get(order_id)
    return account if order is None else _over(account, order, at)


def is_told_freshly(account: Account, key: str, asked_at: datetime) -> bool:
    """Whether a REST reply asked for at `asked_at` may lag behind the stream's newest message.

    `key` names an order ("order:7"), a contract, or "account".
    """
    heard = account.heard.get(key)
    return heard is not None and asked_at < heard + LIST_LAG


def is_for_news(account: Account, action: Action, now: datetime) -> bool:
    """Whether REST may not know the action's order or position yet, as the stream has only just
    reported it."""
    if isinstance(action, CancelOrder | MoveStop):
        return action.order_id in account.orders and is_told_freshly(account, action.key, now)
    if not isinstance(action, ClosePosition | ReducePosition):
        return False
    held = account.positions.get(action.contract_id)
    if held is None or held.episode != action.episode:
        return False
    if isinstance(action, ReducePosition):
        return is_told_freshly(account, action.contract_id, now)
    return opened_freshly(account, action.contract_id, now)


def with_record_reported(
    account: Account, record: AccountRecord, asked_at: datetime, at: datetime
) -> Account:
    """Return the account after a list stated balance and trading permission.

    A permission that the stream stated within `LIST_LAG` before the request stays in force.
    """
    heard, may = account.heard.get("account"), account.can_trade
    if heard is not None and heard > asked_at:
        return account
    differs = None not in (record.can_trade, may) and record.can_trade is not may
    if heard is not None and differs and is_told_freshly(account, "account", asked_at):
        account = with_dispute(account, "account", Dispute("", heard + LIST_LAG))
        record = record.model_copy(update={"can_trade": None})
    elif "account" in account.disputes:
        account = fast_replace(account, disputes=_without(account.disputes, "account"))
    return with_record(account, record, at)


def with_record(account: Account, record: AccountRecord, at: datetime) -> Account:
    """Return the account after the gateway stated balance and permission.

    A field that the record leaves out keeps its value.
    """
    can_trade = account.can_trade if record.can_trade is None else record.can_trade
    changed = fast_replace(
        account,
        name=account.name or record.name,  # the operator's nickname wins
        balance=account.balance if record.balance is None else record.balance,
        can_trade=can_trade,
        can_trade_since=account.can_trade_since if can_trade == account.can_trade else at,
        simulated=account.simulated if record.simulated is None else record.simulated,
    )
    return account if changed == account else changed


def with_positions_reported(
    account: Account,
    records: Iterable[PositionRecord],
    asked_at: datetime,
    at: datetime,
    contracts: Mapping[str, Contract],
) -> Account:
    """Return the account after a full list of positions.

    The list does not override what the stream reported after it was asked for. Nor does it override
    a size or an end that the stream reported within `LIST_LAG` before, or remove a position that
    the stream reported as new within that time.
    """
    stated = {r.contract_id: r for r in records}
    for contract_id in sorted({*stated, *account.positions}):
        heard = account.heard.get(contract_id)
        if heard is not None and heard > asked_at:
            continue
        if contract_id not in stated and opened_freshly(account, contract_id, asked_at):
            decided_from = account.positions[contract_id].opened_at + LIST_LAG
            left_out = Dispute(contract_id, decided_from, left_out=True)
            account = with_dispute(account, contract_id, left_out)
            continue
        record = stated.get(contract_id)
        dispute = None if record is None else _disputed_size(account, record, asked_at)
        if dispute is not None:
            account = with_dispute(account, contract_id, dispute)
            continue
        record = record or PositionRecord(account_id=account.id, contract_id=contract_id, size=0)
        account = with_position(account, record, at, contracts.get(contract_id))
    return account


def _disputed_size(account: Account, record: PositionRecord, asked_at: datetime) -> Dispute | None:
    """Return the dispute about the size of this position; None if this list decides it.

    A list asked for within `LIST_LAG` after the stream stated another size, or the end, may be the
    older one. The first such difference sets the time, as a stream that is late goes on stating old
    sizes.
    """
    contract_id = record.contract_id
    held, heard = account.positions.get(contract_id), account.heard.get(contract_id)
    if heard is None or asked_at >= heard + LIST_LAG or record.net == account.net(contract_id):
        return None
    is_news = held.precedes(record) if held is not None else not account.is_of_ended(record)
    if is_news:
        return None
    known = account.disputes.get(contract_id)
    decided_from = heard + LIST_LAG if known is None else known.decided_from
    return Dispute(contract_id, decided_from) if asked_at < decided_from else None


def opened_freshly(account: Account, contract_id: str, asked_at: datetime) -> bool:
    """Whether a REST reply asked for at `asked_at` may not know this position yet.

    True where the stream reported the opening within `LIST_LAG` before. A late message about an
    ended position does not count as an opening.
    """
    held, heard = account.positions.get(contract_id), account.heard.get(contract_id)
    return (
        held is not None
        and heard is not None
        and heard >= held.opened_at
        and asked_at < held.opened_at + LIST_LAG
        and not account.is_back(contract_id)
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
                account = _without_working(account, order, at)
        elif heard is not None and asked_at < heard + LIST_LAG:
            dispute = Dispute(order.contract_id, heard + LIST_LAG, left_out=True)
            account = with_dispute(account, f"order:{order.id}", dispute)
        else:
            unlisted = _capped({**account.unlisted, order.id: asked_at})
            account = fast_replace(_without_working(account, order, at), unlisted=unlisted)
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
        return _over(account, known, at, record.update_timestamp) if is_news and known else account
    if ended is not None and not _is_older(ended.updated_at, record.update_timestamp):
        decided_from = ended.at + LIST_LAG
        if asked_at < ended.at and _is_older(record.update_timestamp, ended.updated_at):
            return account
        if asked_at < decided_from and not _knows_of_the_end(record, ended, asked_at):
            # A list asked for before the message arrived may have been compiled after it.
            return _disputed(account, record.id, record.contract_id, decided_from)
    elif (
        known is not None
        and is_told_freshly(account, f"order:{known.id}", asked_at)
        and not _is_older(known.updated_at, record.update_timestamp)
        and not _is_of_an_earlier_stage(known, record)
    ):
        return account
    return _working(account, record, at)


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


def with_dispute(account: Account, key: str, dispute: Dispute) -> Account:
    """Record that two statements about an order, a contract or the account differ."""
    if account.disputes.get(key) == dispute:
        return account
    return fast_replace(account, disputes={**account.disputes, key: dispute})


def without_disputes(account: Account, asked_at: datetime) -> Account:
    """Return the account without the disputes that a list asked for at `asked_at` has decided."""
    left = {
        k: d for k, d in account.disputes.items() if k == "account" or d.decided_from > asked_at
    }
    return account if len(left) == len(account.disputes) else fast_replace(account, disputes=left)


def _disputed(account: Account, order_id: int, contract_id: str, decided_from: datetime) -> Account:
    return with_dispute(account, f"order:{order_id}", Dispute(contract_id, decided_from))


def is_late(account: Account, record: OrderRecord) -> bool:
    """Whether a "working" message is older than a list that no longer showed the order."""
    return (
        record.id not in account.orders
        and record.status not in TERMINAL
        and _is_older(record.update_timestamp, account.unlisted.get(record.id))
    )


def _over(
    account: Account, order: Order, at: datetime, updated_at: datetime | None = None
) -> Account:
    account = _without_working(account, order, at)
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
    return fast_replace(account, finished=_capped({**account.finished, order_id: ended}))


def _without_working(account: Account, order: Order, at: datetime) -> Account:
    orders = layered.without_order(account.orders, order.id)
    if account.net(order.contract_id) * order.side.sign >= 0:
        return fast_replace(account, orders=orders)
    return fast_replace(
        account, orders=orders, exit_over={**account.exit_over, order.contract_id: at}
    )


def _is_older(stated: datetime | None, known: datetime | None) -> bool:
    return stated is not None and known is not None and stated < known


def _without[K, V](mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {k: v for k, v in mapping.items() if k != key}


def _capped[V](orders: dict[int, V]) -> Mapping[int, V]:
    while len(orders) > ORDERS_REMEMBERED:
        del orders[next(iter(orders))]
    return orders
