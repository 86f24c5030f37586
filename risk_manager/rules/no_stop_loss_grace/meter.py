"""The meter of RULE-008: the position whose grace ends first."""

from datetime import datetime
from decimal import Decimal

from risk_manager.domain.durations import plain_duration
from risk_manager.domain.holdings import Position
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.no_stop_loss_grace.configuration import Configuration


def read_meter(rule: Configuration, view: View) -> Meter:
    """The position whose time runs out first; in seconds of its grace."""
    first: tuple[datetime, int, Position] | None = None
    unguarded = ""
    for position in view.account.positions.values():
        mark = view.mark(rule.id, position.subject)
        uncovered = rule.uncovered(view, position)
        if not uncovered:
            continue
        if mark is None or mark.due_at is None:
            unguarded = view.name(position.contract_id)
        elif view.account.closings.get(position.contract_id) is None and (
            first is None or mark.due_at < first[0]
        ):
            first = (mark.due_at, uncovered, position)
    limit = Decimal(str(rule.grace.total_seconds()))
    current: Decimal | None = Decimal(0)
    state = MeterState.OK
    sentence = "every position has its stop"
    if not view.account.positions:
        sentence = f"flat; a new position has {plain_duration(rule.grace)} to get its stop"
    elif first is not None:
        due_at, uncovered, position = first
        left_s = max((due_at - view.now).total_seconds(), 0.0)
        current = max(limit - Decimal(str(left_s)), Decimal(0))
        name, size = view.name(position.contract_id), position.size
        part = f"{uncovered} of {size} {name}" if uncovered < size else f"{uncovered} {name}"
        done = "a stop is placed"
        if rule.action == "close_position":
            done = f"all {size} closed" if uncovered < size else "closed"
        state = MeterState.WARN if left_s else MeterState.BREACH
        sentence = f"{part} without a stop: {done} in {round(left_s)} s"
    elif unguarded:
        state, current = MeterState.WARN, None
        sentence = f"{unguarded} has no stop"
    return rule.reading(
        current=current,
        limit=limit,
        unit="s",
        sentence=sentence,
        state=state,
    )
