"""Tries one field of one rule at another value, or at several."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook

VALUES_AT_MOST = 50
WARNING = (
    "A limit chosen because its past days look best fits those days and says little about the "
    "next ones. Choose by what you can bear, and look whether its neighbours do about as well."
)
_WRITTEN = re.compile(r"([\w-]+)\.(\w+)=([^:]+):([^:]+):([^:]+)")


class GridRefused(Exception):
    """A value or a grid that cannot be tried. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One field of a rule with another value. `rule` is the id of a rule, or its kind."""

    rule: str
    field: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`rule` is the id of a rule, or its kind."""

    rule: str
    field: str
    values: tuple[Decimal, ...]


def parse_grid(text: str) -> Grid:
    """Read RULE.FIELD=LOW:HIGH:STEP. Raises `GridRefused`."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise GridRefused(
            f"{text!r} is no grid; write it as daily_realized_loss.limit=300:1000:100"
        )
    try:
        low, high, step = (Decimal(part) for part in found.groups()[2:])
    except InvalidOperation:
        raise GridRefused(f"{text!r}: the values must be numbers, as 300:1000:100") from None
    if not all(part.is_finite() for part in (low, high, step)) or step <= 0 or high < low:
        raise GridRefused(f"{text!r}: the first value must not exceed the last, in steps above 0")
    if (high - low) / step >= VALUES_AT_MOST:
        raise GridRefused(f"{text!r}: {VALUES_AT_MOST} values at most; take larger steps")
    count = int((high - low) / step) + 1
    values = tuple(low + n * step for n in range(count))
    return Grid(rule=found[1], field=found[2], values=values)


def variants(grid: Grid, rulebook: Rulebook) -> Iterator[tuple[Decimal, Rulebook]]:
    """Yield each value with the rulebook that has it, on all accounts. Raises `GridRefused`."""
    for value in grid.values:
        number = int(value) if value == value.to_integral_value() else value
        yield value, on_trial(Trial(rule=grid.rule, field=grid.field, value=number), rulebook)


def on_trial(trial: Trial, rulebook: Rulebook) -> Rulebook:
    """Return the rulebook with the value on all accounts. Raises `GridRefused`."""
    found = [r for rules in rulebook.accounts.values() for r in rules.rules if _is(trial, r)]
    if not found:
        raise GridRefused(f"no enabled rule is called {trial.rule}")
    if trial.field not in type(found[0]).model_fields:
        raise GridRefused(f"{trial.rule} has no field {trial.field}")
    accounts = {}
    for account_id, rules in rulebook.accounts.items():
        changed = [_with(trial, rule) for rule in rules.rules]
        accounts[account_id] = AccountRules.of(changed, rules.mode, on_live=rules.on_live)
    return replace(rulebook, accounts=MappingProxyType(accounts), digest="")


def _is(trial: Trial, rule: Rule) -> bool:
    return trial.rule in (rule.id, rule.rule)


def _with(trial: Trial, rule: Rule) -> Rule:
    if not _is(trial, rule):
        return rule
    try:
        return type(rule).model_validate({**rule.model_dump(), trial.field: trial.value})
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise GridRefused(f"{trial.rule}.{trial.field} cannot be {trial.value}: {why}") from None
