"""The positions and orders of a contract outside its session: which of them have to go."""

from collections.abc import Iterator
from datetime import datetime

from risk_manager.domain.decisions import Ask, Cancel, Close, Severity, Verdict
from risk_manager.domain.holdings import Position
from risk_manager.domain.records import OrderType
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside.hours import Place
from risk_manager.rules.session_block_outside.sessions import Sessions


def outside_verdicts(
    rule: Sessions, view: View, place: Place, contract_id: str, ended_at: datetime | None
) -> Iterator[Verdict]:
    """Judge a contract whose last session ended at `ended_at`; None when none is known."""
    account = view.account
    position = account.positions.get(contract_id)
    asks: list[Ask] = []
    words: list[str] = []
    severity = Severity.BREACH
    if position is not None and _must_close(rule, view, position, ended_at):
        asks.append(Close(contract_id))
        words.append(f"closing {position.size} {view.name(contract_id)}")
    orders = [] if asks else _stray_orders(rule, view, contract_id, ended_at)
    if orders:
        words.append("cancelling entry orders")
        if rule.lockout == "none":  # under a lock, lock enforcement cancels them
            asks.append(Cancel(tuple(orders)))
    elif position is not None and not asks:
        if not _filled_outside(view, position, ended_at):
            return  # held past the session's end, as at_end allows
        words.append(f"{position.size} {view.name(contract_id)} opened outside; left as is")
        severity = Severity.WARNING
    if not words:
        return
    subject = (
        f"{contract_id}:episode:{position.episode}"
        if position is not None
        else f"{contract_id}:order:{orders[0]}"
    )
    yield Verdict(
        reason=f"{rule.why_shut(view, place)}: {'; '.join(words)}",
        subject=subject,
        asks=tuple(asks),
        severity=severity,
    )


def _must_close(rule: Sessions, view: View, position: Position, ended_at: datetime | None) -> bool:
    if _filled_outside(view, position, ended_at) and rule.fills_outside == "close":
        return True
    is_carried = ended_at is not None and _begun(position) < ended_at
    return is_carried and rule.at_end == "close_and_cancel"


def _stray_orders(
    rule: Sessions, view: View, contract_id: str, ended_at: datetime | None
) -> list[int]:
    """Return the ids of entry orders that may not go on working."""
    found = []
    for order in view.entry_orders(contract_id):
        if order.type is OrderType.MARKET:  # fills by itself, or is our own close
            continue
        is_carried = ended_at is not None and order.seen_at < ended_at
        if (is_carried and rule.at_end != "none") or (
            not is_carried and rule.working_orders_outside == "cancel"
        ):
            found.append(order.id)
    return found


def _filled_outside(view: View, position: Position, ended_at: datetime | None) -> bool:
    if ended_at is None:
        return True
    grew = position.increased_at > position.opened_at
    if (position.increased_at if grew else _begun(position)) >= ended_at:
        return True
    # Opened during the session, but added to or reversed since, while the daemon was down.
    return any(
        e.contract_id == position.contract_id and e.pnl is None and e.executed_at >= ended_at
        for e in view.account.ledger.standing()
    )


def _begun(position: Position) -> datetime:
    """Return when the position was opened, which may be before it was reported to us."""
    reported_at = position.opened_at
    return min(position.created_at or reported_at, reported_at)
