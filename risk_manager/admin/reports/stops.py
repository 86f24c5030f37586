"""Protective stops that were moved away or removed while their position was open. Pure.

Known from the stored order events alone. Whether the position was losing at that moment is not
among them, so the result that the trade came to is given instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from risk_manager.admin.reports.records import Entry, Records
from risk_manager.admin.reports.results import held_after
from risk_manager.domain.events import OrderChanged
from risk_manager.domain.fill_attribution import SLACK
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.records import OrderStatus, OrderType

REPLACED_WITHIN = timedelta(seconds=5)
"""A stop that another one follows so soon is a moved one, and one whose position ends is done."""
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_WORKING = (OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.SUSPENDED)
_TAKEN_AWAY = (OrderStatus.CANCELLED, OrderStatus.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopChange:
    """`to_price` None: removed. `trade_net`: the result of its trade, None while that is open."""

    at: datetime
    symbol: str
    from_price: Decimal
    to_price: Decimal | None
    trade_net: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """`unknown_days`: dates whose order events are not stored."""

    changes: tuple[StopChange, ...]
    unknown_days: tuple[date, ...]


def stop_changes(records: Records, ledger: Ledger) -> Stops:
    """Return the trader's own changes; what this program did itself is left out."""
    found: list[StopChange] = []
    last: dict[int, OrderChanged] = {}
    for order in records.orders:
        known = last.get(order.id)
        last[order.id] = order
        if not records.starts_at <= order.at < records.ends_at:
            continue
        if known is None or order.type not in _STOPS or known.stop_price is None:
            continue
        if known.status not in _WORKING or _is_our_own(order, records.entries):
            continue
        net = _held(ledger, order.contract_id, order.at)
        if net * order.side.sign >= 0:
            continue  # it protected nothing
        if order.status in _TAKEN_AWAY:
            change = _removed(records, ledger, known, order.at, net)
        elif order.status in _WORKING and _is_away(known, order.stop_price):
            change = _change(records, ledger, known, order.at, order.stop_price)
        else:
            change = None
        if change is not None:
            found.append(change)
    traded = {e.trading_date for e in ledger.standing()}
    unknown = tuple(d for d in records.dates if d in traded and d not in records.journaled)
    return Stops(changes=tuple(found), unknown_days=unknown)


def _removed(
    records: Records, ledger: Ledger, stop: OrderChanged, at: datetime, net: int
) -> StopChange | None:
    if _held(ledger, stop.contract_id, at + REPLACED_WITHIN) * net <= 0:
        return None  # the position ended as well
    other = _replacement(records.orders, stop, at)
    if other is None:
        return _change(records, ledger, stop, at, None)
    if _is_away(stop, other.stop_price):
        return _change(records, ledger, stop, at, other.stop_price)
    return None


def _replacement(
    orders: Sequence[OrderChanged], stop: OrderChanged, at: datetime
) -> OrderChanged | None:
    """Return a stop on the same side that first appeared close to the removal."""
    first: dict[int, OrderChanged] = {}
    for o in orders:
        if o.id != stop.id and o.type in _STOPS and o.stop_price is not None:
            first.setdefault(o.id, o)
    near = [
        o
        for o in first.values()
        if o.contract_id == stop.contract_id
        and o.side is stop.side
        and o.status in _WORKING
        and abs(o.at - at) <= REPLACED_WITHIN
    ]
    return min(near, key=lambda o: abs(o.at - at), default=None)


def _change(
    records: Records, ledger: Ledger, stop: OrderChanged, at: datetime, to: Decimal | None
) -> StopChange:
    assert stop.stop_price is not None
    trade = next(
        (
            t
            for t in ledger.finished_turns
            if t.contract_id == stop.contract_id and t.first_at <= at <= t.last_at
        ),
        None,
    )
    return StopChange(
        at=at,
        symbol=records.symbol(stop.contract_id),
        from_price=stop.stop_price,
        to_price=to,
        trade_net=None if trade is None else trade.net,
    )


def _is_away(stop: OrderChanged, price: Decimal | None) -> bool:
    """Whether this price is farther from the market: lower for a stop that sells."""
    if price is None or stop.stop_price is None:
        return False
    return (price - stop.stop_price) * stop.side.sign > 0


def _held(ledger: Ledger, contract_id: str, at: datetime) -> int:
    past = (e for e in ledger.standing() if e.contract_id == contract_id and e.executed_at <= at)
    return held_after(past).get(contract_id, 0)


def _is_our_own(order: OrderChanged, entries: Sequence[Entry]) -> bool:
    subjects = (f"order:{order.id}", f"position:{order.contract_id}")
    return any(
        e.action != "decide"
        and e.subject in subjects
        and e.at <= order.at <= max(e.last_seen, e.at) + SLACK
        for e in entries
    )
