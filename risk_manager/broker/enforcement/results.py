"""Judges how an action ended, by the gateway's answer and by the account as read back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from risk_manager.broker.replies import Answer, Reply
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    Outcome,
    ReducePosition,
)

OUTCOMES: Mapping[Answer, Outcome] = {
    Answer.OK: Outcome.DONE,
    Answer.GONE: Outcome.GONE,
    Answer.PENDING: Outcome.REFUSED,
    Answer.REFUSED: Outcome.REFUSED,
    Answer.INVALID: Outcome.REFUSED,
    Answer.UNAUTHORISED: Outcome.REFUSED,
    Answer.LIMITED: Outcome.REFUSED,
    Answer.UNSENT: Outcome.UNSENT,
    Answer.UNKNOWN: Outcome.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an action ended. `verified`: the account was read back since.

    `code` and `message` are the gateway's, or the message is ours. `order_id` is the placed order.
    """

    outcome: Outcome
    verified: bool
    code: int | None = None
    message: str = ""
    order_id: int | None = None


def unsent(message: str) -> Result:
    """Return the result of an action for which no call was made."""
    return Result(outcome=Outcome.UNSENT, verified=False, message=message)


def judge(action: Action, reply: Reply, *, verified: bool, shows: bool) -> Result:
    """Return the result of a call. `shows`: its effect was seen when the account was read back."""
    outcome = OUTCOMES[reply.answer]
    message = reply.message
    if verified and not shows:
        if reply.answer is Answer.GONE:
            # GONE would make the engine forget an order that still exists, or ask without pause.
            outcome = Outcome.REFUSED
            message = f"the gateway says {message}, yet it is still listed"
        elif reply.ok:
            message = "accepted, but without effect so far"
    elif verified and reply.answer is Answer.PENDING:
        outcome = Outcome.DONE
    elif verified and reply.answer is Answer.UNKNOWN:
        message = f"{message}; read back: the effect is there"
    only_ends = isinstance(action, ClosePosition | ReducePosition | CancelOrder)
    if only_ends and verified and shows and outcome is Outcome.REFUSED:
        # A fill, a bracket or the trader was faster: there is nothing left to do, no failure.
        outcome = Outcome.GONE
        message = f"{reply.message}; read back: nothing is left to do"
    return Result(outcome=outcome, verified=verified, code=reply.code, message=message)
