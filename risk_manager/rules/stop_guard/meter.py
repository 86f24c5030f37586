"""The meter of the stop guard: the position whose stop is put back first."""

from datetime import datetime
from decimal import Decimal

from risk_manager.domain.holdings import Position
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.stop_guard.configuration import Configuration
from risk_manager.rules.stop_guard.memory import recalled


def read_meter(config: Configuration, view: View) -> Meter:
    """The position whose grace ends first, in seconds of it."""
    limit = Decimal(str(config.grace.total_seconds()))
    guarded, doubted = 0, ""
    first: tuple[datetime, Position] | None = None
    for position in view.account.positions.values():
        mark = view.mark(config.id, position.subject)
        if mark is None:
            continue
        memory = recalled(mark.value)
        guarded += len(memory.reference)
        if memory.seen is None:
            continue
        if mark.due_at is None:
            doubted = view.name(position.contract_id)
        elif first is None or mark.due_at < first[0]:
            first = mark.due_at, position
    state, current = MeterState.OK, Decimal(0)
    sentence = "flat" if not view.account.positions else "no stop to guard"
    if guarded:
        lots = "1 contract" if guarded == 1 else f"{guarded} contracts"
        sentence = f"the stops of {lots} stand"
    if first is not None:
        due_at, position = first
        left_s = max((due_at - view.now).total_seconds(), 0.0)
        current = max(limit - Decimal(str(left_s)), Decimal(0))
        done = "put back" if config.action == "put_back" else "the position is closed"
        result = view.unrealised(position)
        state = MeterState.WARN
        sentence = f"{view.name(position.contract_id)}: stop widened or removed; {done}"
        if left_s:
            sentence += f" in {round(left_s)} s"
        elif result is None or result >= 0:
            sentence += " once the position is known to lose"
        else:
            state = MeterState.BREACH
    elif doubted:
        sentence = f"{doubted}: stop widened or removed; waits for a price"
        return config.reading(
            current=None, limit=limit, unit="s", sentence=sentence, state=MeterState.UNKNOWN
        )
    return config.reading(current=current, limit=limit, unit="s", sentence=sentence, state=state)
