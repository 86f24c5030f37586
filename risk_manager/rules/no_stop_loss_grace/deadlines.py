"""The deadline of each episode: when the grace of its position ends, kept as a mark."""

from datetime import datetime

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import Remember
from risk_manager.domain.holdings import Position
from risk_manager.domain.view import View
from risk_manager.rules.no_stop_loss_grace.configuration import SHORTEST_GRACE, Configuration

COVERED = "covered"
"""The value of an episode's mark while stops cover its position."""
COUNTING = "counting"
"""The value while they do not, and `due_at`, if there is one, counts down."""


def is_counting_down(view: View, position: Position, mark: Mark) -> bool:
    """Whether no order works in the contract, the mark says so already, and time is left."""
    return (
        mark.value == COUNTING
        and mark.due_at is not None
        and view.now < mark.due_at
        and not view.account.orders_in(position.contract_id)
    )


def mark_to_keep(
    rule: Configuration,
    view: View,
    position: Position,
    uncovered: int,
    mark: Mark | None,
    since: datetime,
) -> Remember | None:
    """Return the new mark of an episode; None if the present one is right.

    `since` is when this rule began to watch the account.
    """
    subject = position.subject
    if not uncovered:
        if mark is not None and mark.value == COVERED:
            return None
        return Remember(subject, value=COVERED)
    if mark is not None and mark.value == COUNTING:
        return None
    due_at = _first_deadline(rule, position, since)
    if mark is not None:  # it was covered before
        due_at = max(due_at or view.now, view.now + rule.rearm_grace)
    return Remember(subject, due_at=due_at, value=COUNTING)


def _first_deadline(rule: Configuration, position: Position, since: datetime) -> datetime | None:
    """When the first grace ends; None for a position found at the start and not adopted."""
    reported_at = position.opened_at
    opened_at = min(position.created_at or reported_at, reported_at)
    if opened_at < since:  # it was there before we watched
        return max(since, reported_at) + rule.grace if rule.adopt_existing_at_startup else None
    return max(opened_at + rule.grace, reported_at + SHORTEST_GRACE)
