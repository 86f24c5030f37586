"""Which executions this program caused. The close call returns no order id to match them by.

Past closes and placed orders are kept as marks of the account, so that they survive a restart.
"""

from datetime import datetime, timedelta

from risk_manager.domain.account import ENFORCER, Account, Attempt, Mark, MarkKey
from risk_manager.domain.decisions import ClosePosition, Outcome, ReducePosition
from risk_manager.domain.events import ActionSettled
from risk_manager.domain.executions import HEARD_AT_ONCE, Execution
from risk_manager.domain.fast_replace import fast_replace

SLACK = timedelta(seconds=2)
"""Allowance for the gateway's clock, and for an execution that arrives after the answer."""


def with_answer(account: Account, attempt: Attempt, event: ActionSettled) -> Account:
    """Return the account with a mark for an ended action that may have been executed."""
    if event.outcome not in (Outcome.DONE, Outcome.UNKNOWN):
        return account
    marks: dict[MarkKey, Mark] = {}
    if isinstance(attempt.action, ClosePosition | ReducePosition):
        subject = f"close:{attempt.action.contract_id}:{attempt.action.id}"
        marks[ENFORCER, subject] = Mark(
            rule_id=ENFORCER,
            subject=subject,
            set_at=attempt.asked_at,
            value=f"{event.at.isoformat()} {','.join(attempt.rule_ids)}",
        )
    if event.order_id is not None:
        subject = f"order:{event.order_id}"
        marks[ENFORCER, subject] = Mark(rule_id=ENFORCER, subject=subject, set_at=event.at)
    return fast_replace(account, marks={**account.marks, **marks}) if marks else account


def without_older(account: Account, at: datetime) -> Account:
    """Return the account without the attribution marks set before an instant."""
    kept = {k: m for k, m in account.marks.items() if k[0] != ENFORCER or m.set_at >= at}
    return account if len(kept) == len(account.marks) else fast_replace(account, marks=kept)


def enforced_by(account: Account, execution: Execution) -> tuple[str, ...]:
    """Return the rules whose close caused this execution; empty for the trader's own."""
    if execution.pnl is None:
        return ()
    for attempt in account.attempts.values():
        action = attempt.action
        if (
            isinstance(action, ClosePosition | ReducePosition)
            and action.contract_id == execution.contract_id
            and _within(execution, attempt.asked_at, attempt.settled_at)
        ):
            return attempt.rule_ids
    prefix = f"close:{execution.contract_id}:"
    for mark in account.own_marks("close"):
        if mark.subject.startswith(prefix):
            settled_at, _, rule_ids = mark.value.partition(" ")
            if _within(execution, mark.set_at, datetime.fromisoformat(settled_at)):
                return tuple(rule_ids.split(","))
    return ()


def not_own(account: Account, executions: list[Execution]) -> list[Execution]:
    """Return the executions that neither a close nor an order of this program caused."""
    if not account.attempts and not account.marks_of(ENFORCER):
        return executions
    return [
        e
        for e in executions
        if (ENFORCER, f"order:{e.order_id}") not in account.marks and not enforced_by(account, e)
    ]


def _within(execution: Execution, asked_at: datetime, settled_at: datetime | None) -> bool:
    if execution.received_at - execution.executed_at <= HEARD_AT_ONCE:
        at, since = execution.received_at, asked_at
    else:  # reported late: compared by the gateway's clock
        at, since = execution.executed_at, asked_at - SLACK
    return since <= at and (settled_at is None or at <= settled_at + SLACK)
