"""The single report of a step: decisions, calls to the broker, settled calls and facts.

Audit, feed, enforcement log and replay render it. The words for actions and for the results of
calls are defined only here. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from risk_manager.domain.account import Attempt
from risk_manager.domain.decisions import (
    Action,
    Ask,
    Cancel,
    CancelOrder,
    Close,
    ClosePosition,
    Decision,
    Fact,
    Flatten,
    LockOut,
    MoveStop,
    Outcome,
    PlaceExit,
    Protect,
    ReducePosition,
    ReduceTo,
)
from risk_manager.domain.events import ActionSettled, AnyEvent
from risk_manager.domain.locks import LockKind, LockPolicy
from risk_manager.engine.step import Step


class Result(StrEnum):
    """How a call to the broker ended, as far as anybody can say."""

    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One action asked of the broker: for which rules, why, and at which try."""

    action: Action
    tries: int
    rule_ids: tuple[str, ...]
    reason: str

    @property
    def kind(self) -> str:
        return kind_of(self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One call that has ended. `took` counts from when the action was asked for."""

    call: Call
    result: Result
    outcome: Outcome
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a step produced, each kind in order of occurrence."""

    settled: tuple[Settled, ...]
    decisions: tuple[Decision, ...]
    facts: tuple[Fact, ...]
    calls: tuple[Call, ...]


def reported(event: AnyEvent, outcome: Step) -> Report:
    """Build the report of one step."""
    return Report(
        settled=tuple(_settled(attempt, event) for attempt in outcome.settled)
        if isinstance(event, ActionSettled)
        else (),
        decisions=outcome.decisions,
        facts=outcome.facts,
        calls=tuple(_asked(outcome, action) for action in outcome.actions),
    )


def result_of(event: ActionSettled) -> Result:
    """CONFIRMED where the broker was read back; FAILED where nothing can have happened."""
    if event.outcome in (Outcome.REFUSED, Outcome.UNSENT):
        return Result.FAILED
    if event.outcome in (Outcome.DONE, Outcome.GONE) and event.verified:
        return Result.CONFIRMED
    return Result.UNCERTAIN


def kind_of(action: Action) -> str:
    """The kind of an action in one word."""
    return _KINDS[type(action)]


def effect_of(asks: Iterable[Ask]) -> str:
    """Return the word for the weightiest ask of a decision; `warn` where it asks for nothing."""
    words = {_effect(ask) for ask in asks}
    return next((word for word in _BY_WEIGHT if word in words), "warn")


_KINDS: dict[type[Action], str] = {
    ClosePosition: "close_position",
    ReducePosition: "reduce_position",
    CancelOrder: "cancel_order",
    PlaceExit: "place_exit",
    MoveStop: "move_stop",
}

_BY_WEIGHT = (
    "close_all_and_lockout",
    "cooldown",
    "lockout",
    "close_all_positions",
    "close_position",
    "reduce_position",
    "cancel_order",
    "auto_stop_loss",
)


def _effect(ask: Ask) -> str:
    match ask:
        case LockOut(lock) if lock.kind is LockKind.COOLDOWN:
            return "cooldown"
        case LockOut(lock) if lock.policy is LockPolicy.FLAT and lock.scope == "account":
            return "close_all_and_lockout"
        case LockOut():
            return "lockout"
        case Flatten():
            return "close_all_positions"
        case Close():
            return "close_position"
        case ReduceTo():
            return "reduce_position"
        case Cancel():
            return "cancel_order"
        case Protect():
            return "auto_stop_loss"
    return ""


def _asked(outcome: Step, action: Action) -> Call:
    account = outcome.state.accounts.get(action.account_id)
    attempt = account.attempts.get(action.key) if account is not None else None
    if attempt is None:
        return Call(action=action, tries=1, rule_ids=(), reason="")
    return Call(
        action=action, tries=attempt.tries, rule_ids=attempt.rule_ids, reason=attempt.reason
    )


def _settled(attempt: Attempt, event: ActionSettled) -> Settled:
    call = Call(
        action=attempt.action,
        tries=attempt.tries,
        rule_ids=attempt.rule_ids,
        reason=attempt.reason,
    )
    return Settled(
        call=call,
        result=result_of(event),
        outcome=event.outcome,
        took=event.at - attempt.asked_at,
    )
