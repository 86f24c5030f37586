"""The answer of a what-if as plain data, for `--json`."""

from collections.abc import Sequence
from typing import Any

from risk_manager.admin.whatif import Answer
from risk_manager.whatif.amounts import Between
from risk_manager.whatif.grid import WARNING
from risk_manager.whatif.outcomes import Outcome
from risk_manager.whatif.result import AccountResult, Result, RuleResult


def plain(answer: Answer, trials: Sequence[str] = ()) -> dict[str, Any]:
    """Return the answer for `--json`. Amounts are texts, ranges have `low` and `high`.

    `trials` are the values that counted instead of the written ones.
    """
    result = answer.result
    return {
        "rules_as_recorded": lived_under_rules(result),
        "rules_tried": "on",
        "set": list(trials),
        "has_quotes": result.has_quotes,
        "same_decisions": result.is_reproduced,
        **_sums(result),
        "round_turns": {kind.value: n for kind, n in result.counts.items()},
        "after_first_intervention": result.after,
        "days": [_day(day) for day in result.days],
        "rules": [_rule(rule) for rule in result.rules.values()],
        "grid": [
            {"value": value, **_sums(one), "best_day_change": _range(one.best_day_change)}
            for value, one in answer.grid
        ],
        "warning": WARNING if answer.grid else None,
        "notes": answer.notes,
    }


def lived_under_rules(result: Result) -> str:
    """Say whether limits were enforced in the record: on, off, or unknown."""
    if not result.has_quotes:
        return "unknown"
    return "on" if any(d.lived_under_rules for d in result.days) else "off"


def _sums(result: Result) -> dict[str, Any]:
    return {
        "recorded": str(result.recorded),
        "known": _range(result.known),
        "change": _range(result.change),
        "not_counted": str(result.not_counted),
    }


def _range(amount: Between | None) -> dict[str, str] | None:
    return None if amount is None else {"low": str(amount.low), "high": str(amount.high)}


def _day(day: AccountResult) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "account_id": day.account_id,
        "recorded": str(day.recorded),
        "known": _range(day.known),
        "not_counted": str(day.not_counted),
        "intervened_at": None if day.intervened_at is None else day.intervened_at.isoformat(),
        "intervened_by": day.intervened_by or None,
        "reason": day.reason or None,
        "by_limits_of_that_day": day.parted_by_record,
        "locked_only_in_record_at": None
        if day.locked_in_record_at is None
        else day.locked_in_record_at.isoformat(),
        "round_turns": [_outcome(o) for o in day.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    episode = outcome.episode
    return {
        "symbol": outcome.symbol,
        "side": "long" if episode.side > 0 else "short",
        "size": episode.size,
        "opened_at": episode.opened_at.isoformat(),
        "ended_at": None if episode.ended_at is None else episode.ended_at.isoformat(),
        "recorded": str(episode.net),
        "outcome": outcome.kind.value,
        "result": _range(outcome.result),
        "is_estimate": outcome.is_estimate,
        "after_first_intervention": outcome.is_after,
        "rule_id": outcome.rule_id or None,
        "why": outcome.why or None,
    }


def _rule(rule: RuleResult) -> dict[str, Any]:
    return {
        "rule_id": rule.rule_id,
        "acted": rule.acted,
        "prevented": rule.prevented,
        "cut_early": rule.cut_early,
        "saved": _range(rule.saved),
        "missed": _range(rule.missed),
    }
