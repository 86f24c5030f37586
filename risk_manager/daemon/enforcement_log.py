"""The enforcement log: decisions, locks, calls and alarms as lines for people, then the feed."""

import structlog

from risk_manager.domain.decisions import Alarm, DayReset, LockCleared, LockSet, Severity
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.report import Report, reported
from risk_manager.engine.step import Step
from risk_manager.pipeline import Feed

log = structlog.get_logger("risk_manager.enforcement")


class EnforcementLog:
    """A `Feed` that logs the results of a step and passes the step on."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self._feed.publish(event, before, outcome)
        if outcome.decisions or outcome.actions or outcome.facts or outcome.settled:
            _write_down(reported(event, outcome))


def _write_down(report: Report) -> None:
    for decision in report.decisions:
        log.warning(
            "decided",
            account=decision.account_id,
            rule=decision.rule_id,
            reason=decision.reason,
            shadow=decision.shadow,
            count=decision.count,
        )
    for call in report.calls:
        action = call.action
        log.info(
            "asked",
            action=type(action).__name__,
            id=action.id,
            account=action.account_id,
            contract=action.contract_id,
        )
    for settled in report.settled:
        call, action = settled.call, settled.call.action
        log.info(
            "settled",
            action=type(action).__name__,
            id=action.id,
            account=action.account_id,
            contract=action.contract_id,
            outcome=str(settled.outcome),
            tries=call.tries,
            rules=list(call.rule_ids),
            reason=call.reason,
        )
    for fact in report.facts:
        match fact:
            case LockSet(lock=lock):
                log.warning(
                    "locked",
                    account=lock.account_id,
                    scope=lock.scope,
                    rule=lock.rule_id,
                    policy=str(lock.policy),
                    until=str(lock.expires_at or lock.release),
                    reason=lock.reason,
                )
            case LockCleared(lock=lock, cleared_by=cleared_by):
                log.info(
                    "unlocked",
                    account=lock.account_id,
                    scope=lock.scope,
                    rule=lock.rule_id,
                    by=cleared_by,
                )
            case DayReset():
                log.info(
                    "day_reset",
                    account=fact.account_id,
                    day=fact.new_date,
                    previous_net=str(fact.previous_net),
                )
            case Alarm():
                tell = log.critical if fact.severity is Severity.CRITICAL else log.warning
                tell("alarm", code=fact.code, account=fact.account_id, message=fact.message)
