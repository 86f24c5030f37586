"""The orders that a trader has placed, as things that count."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from risk_manager.domain.decisions import Remember
from risk_manager.domain.events import OrderChanged
from risk_manager.domain.fill_attribution import not_own
from risk_manager.domain.holdings import Order
from risk_manager.domain.records import OWN_TAG, OrderType
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.domain.view import View

DAY = timedelta(days=1)


class Counted(Protocol):
    """One thing that counts: an execution, or an order placed."""

    @property
    def id(self) -> int: ...
    @property
    def executed_at(self) -> datetime: ...
    @property
    def counts_from(self) -> datetime: ...
    @property
    def trading_date(self) -> date: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """An order placed, as something that counts."""

    id: int
    executed_at: datetime
    day: TradingDay

    @property
    def trading_date(self) -> date:
        return self.day.date_of(self.executed_at)

    @property
    def counts_from(self) -> datetime:
        return self.executed_at


def orders_counted(view: View, rule_id: str) -> list[Counted]:
    """Return every order of the trader's own, oldest first; those of this program never count."""
    day = view.state.rulebook.day
    placed = _placed(view, rule_id)
    # An order that was never seen working has left its fills.
    for e in not_own(view.account, view.account.ledger.standing()):
        placed.setdefault(e.order_id, e.executed_at)
    orders = (Placed(number, at, day) for number, at in placed.items())
    return sorted(orders, key=lambda o: (o.executed_at, o.id))


def to_note(view: View, rule_id: str, longest: timedelta) -> Remember | None:
    """Return a mark that keeps a new order, as the account forgets finished ones.

    None if there is nothing new. `longest` is the longest time that anything counts.
    """
    placed = _placed(view, rule_id)
    if placed.keys() == _noted_before(view, rule_id).keys():
        return None
    horizon = view.now - max(longest, DAY) - DAY
    kept = {number: at for number, at in placed.items() if at >= horizon}
    text = " ".join(f"{n}@{int(at.timestamp() * 1000)}" for n, at in sorted(kept.items()))
    return Remember("placed", value=text)


def _placed(view: View, rule_id: str) -> dict[int, datetime]:
    """Orders by when they came: those noted, and those there now."""
    placed = _noted_before(view, rule_id)
    event = view.event
    if type(event) is OrderChanged and not _is_ours(view, event):
        placed.setdefault(event.id, event.creation_timestamp or event.at)
    for order in view.account.orders.values():
        if not _is_ours(view, order):
            placed.setdefault(order.id, order.created_at or order.seen_at)
    return placed


def _noted_before(view: View, rule_id: str) -> dict[int, datetime]:
    mark = view.mark(rule_id, "placed")
    pairs = (text.split("@") for text in mark.value.split()) if mark else ()
    return {int(n): datetime.fromtimestamp(int(ms) / 1000, UTC) for n, ms in pairs}


def _is_ours(view: View, order: Order | OrderChanged) -> bool:
    if (order.custom_tag or "").startswith(OWN_TAG):
        return True
    # The market order that our close call made carries no tag.
    closing = f"position:{order.contract_id}" in view.account.attempts
    return closing and order.type is OrderType.MARKET
