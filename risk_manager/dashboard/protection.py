"""Which stops protect a position, and until when one must be there."""

from collections.abc import Sequence
from datetime import datetime

from risk_manager.feed.messages import AccountSnapshot, DeadlineRow, OrderRow, PositionRow

_WORKING = ("open", "pending")
_STOPS = ("stop", "stop_limit", "trailing_stop")
_COUNTING = "counting"  # the word a rule keeps with the time by which a stop must be there


def stops_of(account: AccountSnapshot, position: PositionRow) -> list[OrderRow] | None:
    """The stops that work for this position; None where the daemon does not tell."""
    orders = [o for o in account.orders if o.contract_id == position.contract_id]
    if any(not o.role for o in orders):
        return None
    return [
        o
        for o in orders
        if o.status in _WORKING
        and (o.role == "protective" or (o.role == "reversing" and o.type in _STOPS))
    ]


def covered(stops: Sequence[OrderRow]) -> int:
    """The number of contracts that these stops would close."""
    return sum(max(o.size - o.filled, 0) for o in stops)


def stop_due(account: AccountSnapshot, position: PositionRow) -> datetime | None:
    """The instant by which a rule wants a stop to be there; None: none is waited for."""
    waits = [
        d.due_at for d in counting_down(account) if d.subject.startswith(f"{position.contract_id}:")
    ]
    return min(waits, default=None)


def counting_down(account: AccountSnapshot) -> list[DeadlineRow]:
    """Return the deadlines after which a position without its stop is closed.

    A rule in shadow closes nothing.
    """
    shadows = {m.rule_id for m in account.meters if m.shadow}
    return [d for d in account.deadlines if d.value == _COUNTING and d.rule_id not in shadows]
