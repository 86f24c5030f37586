"""The end of the grace: the position is closed, or a stop is placed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from risk_manager.domain.decisions import (
    Close,
    LookAgain,
    Outcome,
    PlaceExit,
    Protect,
    ReducePosition,
    Severity,
    Verdict,
    bookkeeping,
)
from risk_manager.domain.exit_orders import is_exit_stop, is_through, leftover_entries, stop_ticks
from risk_manager.domain.holdings import Position
from risk_manager.domain.view import View
from risk_manager.rules.no_stop_loss_grace.configuration import Configuration

REPORT_PATIENCE = timedelta(seconds=5)
"""After a start nothing is closed for this long, unless the account has been read."""
READ_PATIENCE = timedelta(seconds=3)
"""Before a position without a stop is closed, the orders are read over REST, as a stop's event may
have been lost. If they cannot be read for this long, the known orders decide."""
REFUSALS = 3
"""After this many refusals of a stop the position is closed instead."""


def uncovered_verdicts(
    rule: Configuration,
    view: View,
    position: Position,
    uncovered: int,
    due_at: datetime | None,
    since: datetime,
) -> Iterator[Verdict]:
    """Judge a position of which `uncovered` contracts lack a stop, with its deadline.

    `since` is when the rule began to watch the account. Without a deadline the position is left
    alone.
    """
    name = view.name(position.contract_id)
    lack = (
        f"{position.size} {name} without a stop"
        if uncovered == position.size or rule.require == "any"
        else f"stops cover {position.size - uncovered} of {position.size} {name}"
    )
    subject = position.subject
    if due_at is None:
        yield Verdict(
            reason=f"{lack}; it was open before the start and is left alone",
            subject=f"{subject}:not adopted",
            severity=Severity.WARNING,
        )
        return
    if view.now < due_at or uncovered <= _leaving(view, position):
        return  # the grace is not over, or what lacks a stop is being closed already
    as_of = view.account.reported_as_of
    # Where stream and list differ about an order, the list of a moment later decides.
    decided_from = max(due_at, view.account.disputed(position.contract_id) or due_at)
    is_read = as_of is not None and as_of >= max(since, decided_from)
    if not is_read and view.now < max(since + REPORT_PATIENCE, decided_from + READ_PATIENCE):
        if view.now >= decided_from:
            yield bookkeeping(LookAgain())
        return
    ask = _stop_to_place(rule, view, position, uncovered)
    if ask is None:
        yield Verdict(
            reason=f"{lack}; closing", subject=subject, asks=(Close(position.contract_id),)
        )
    else:
        yield Verdict(
            reason=f"{lack}; placing a stop at {ask.stop_price}",
            subject=f"{subject}:stop",
            asks=(ask,),
        )


def _leaving(view: View, position: Position) -> int:
    """Return how many contracts of the position are being closed for another reason.

    A reduction that the gateway did not refuse may have been carried out already.
    """
    left = abs(view.projected()[position.contract_id])
    attempt = view.account.attempts.get(f"position:{position.contract_id}")
    if attempt is not None and attempt.outcome in (None, Outcome.DONE, Outcome.UNKNOWN):
        action = attempt.action
        if isinstance(action, ReducePosition) and action.episode == position.episode:
            left = min(left, action.keep)
    return position.size - left


def leftover_verdicts(view: View, position: Position) -> Iterator[Verdict]:
    """Warn of an old stop that would add to the position, as the position has turned round."""
    orders = view.account.orders_in(position.contract_id)
    stale = leftover_entries(position, orders) if orders else []
    if stale:
        yield Verdict(
            reason=f"the position in {view.name(position.contract_id)} turned round: order "
            f"{', '.join(str(o.id) for o in stale)}, its old stop, would now add to it",
            subject=f"{position.subject}:turned",
            severity=Severity.WARNING,
        )


def _stop_to_place(
    rule: Configuration, view: View, position: Position, uncovered: int
) -> Protect | None:
    """Return the stop to place; None where only closing is left."""
    contract = view.state.contracts.get(position.contract_id)
    average = position.average_price
    if rule.place_stop_ticks is None or contract is None or average is None:
        return None
    side, contract_id = position.side, position.contract_id
    away = side * rule.place_stop_ticks * contract.tick_size
    price = stop_ticks(average - away, side, contract.tick_size) * contract.tick_size
    size = uncovered if rule.require == "full_size" else position.size
    working = sum(
        o.remaining for o in view.account.orders_in(contract_id) if is_exit_stop(o, position)
    )
    is_refused = any(
        isinstance(a.action, PlaceExit)
        and a.action.contract_id == contract_id
        and a.action.stop_price is not None
        and a.outcome is Outcome.REFUSED
        and a.tries >= REFUSALS
        for a in view.account.attempts.values()
    )
    # A stop that does not count may leave no room for one that does.
    if is_refused or working + size > position.size:
        return None
    if is_through(view.state.fresh_quote(contract_id), side, price):
        return None
    return Protect(contract_id, stop_price=price, size=size)
