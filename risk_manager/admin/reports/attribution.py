"""Which stored executions the program's own closes caused. Pure."""

from collections.abc import Iterable, Mapping

from risk_manager.admin.reports.records import Entry
from risk_manager.domain.executions import HEARD_AT_ONCE, Execution, TradeKey
from risk_manager.domain.fill_attribution import SLACK


def causes(executions: Iterable[Execution], entries: Iterable[Entry]) -> Mapping[TradeKey, Entry]:
    """Return the call that caused each execution, where one did. Executions come oldest first.

    It is the newest call to close or reduce that fits by contract and time. A call that had ended
    before the position was opened did not close it, nor lots that it was to keep.
    """
    calls = [e for e in entries if e.action != "decide" and e.subject.startswith("position:")]
    opening: dict[str, Execution] = {}
    held: dict[str, int] = {}
    found: dict[TradeKey, Entry] = {}
    for e in executions:
        net = held.get(e.contract_id, 0)
        if e.pnl is None:
            if net * e.side.sign <= 0:
                opening[e.contract_id] = e
            held[e.contract_id] = net + e.signed_size
            continue
        held[e.contract_id] = net + e.signed_size if net else 0
        opened = opening.get(e.contract_id) if net else None
        fitting = [
            c
            for c in calls
            if _fits(e, c)
            and (opened is None or opened.received_at <= c.last_seen)
            and (not net or abs(net) - e.size >= (c.keeps or 0))
        ]
        if fitting:
            found[e.key] = max(fitting, key=lambda c: c.at)
    return found


def _fits(execution: Execution, call: Entry) -> bool:
    if call.subject != f"position:{execution.contract_id}":
        return False
    at, since = execution.received_at, call.at
    if execution.received_at - execution.executed_at > HEARD_AT_ONCE:
        at, since = execution.executed_at, call.at - SLACK  # heard late: by the gateway's clock
    return since <= at <= call.last_seen + SLACK
