"""Warns of calls and actions that take long, in the log of the gateway's side."""

import structlog

from risk_manager.broker.lanes import Call
from risk_manager.domain.events import ActionSettled, AnyEvent

SLOW_CALL_MS = 1000.0
SLOW_ACTION_MS = 2000.0
"""An action is its calls and the reading of their effect."""

log = structlog.get_logger("risk_manager.broker.lanes")


def log_call(call: Call) -> None:
    """Log a call that changes something at the broker; a slow one as a warning."""
    tell = log.warning if call.took_ms > SLOW_CALL_MS else log.info
    tell(
        "call",
        path=call.path,
        body=dict(call.body),
        answer=str(call.answer),
        code=call.code,
        message=call.message,
        took_ms=round(call.took_ms, 1),
        late=call.late,
    )


def warn_if_slow(event: AnyEvent) -> None:
    """Log an action that took long until its effect was known."""
    if isinstance(event, ActionSettled) and event.took_ms > SLOW_ACTION_MS:
        log.warning(
            "slow_action",
            id=event.action_id,
            account=event.account_id,
            outcome=str(event.outcome),
            took_ms=round(event.took_ms),
        )
