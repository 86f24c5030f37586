"""Whether a changed field tightens or loosens a limit, for people.

Nothing is decided by it: which limits hold, and when, is decided by `commitment`, which needs no
such judgement.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.settings.configuration import Configuration, plain


class Effect(StrEnum):
    TIGHTER = "tighter"
    LOOSER = "looser"
    UNKNOWN = "unknown"  # treated as looser: it waits for the reset
    NONE = "no limit"  # a name, an address, or a rule that is switched off before and after


_NAMES = ("nickname", "label")
_UNLISTED = ("ignore", "alarm", "enforce")


def of_rule(before: Rule | None, after: Rule | None, path: tuple[str, ...]) -> Effect:
    """Return the effect of one changed field of a rule; of the whole rule for an empty path."""
    was, now = _acts(before), _acts(after)
    if not was and not now:
        return Effect.NONE
    if before is None or after is None or not path:
        return Effect.TIGHTER if now else Effect.LOOSER
    match path[0]:
        case "enabled" | "shadow":
            return _by_order(int(was), int(now))
        case "accounts":
            return _of_scope(before.accounts, after.accounts)
    if not was:
        return Effect.TIGHTER  # the rule is switched on with this value
    return _compared(before, _with_field(before, after, path))


def of_account(name: str, old: Any, new: Any) -> Effect:
    """Return the effect of a changed field of an account, by its last word; "" for all of it."""
    match name:
        case "mode":
            return Effect.LOOSER if new == Mode.SHADOW else Effect.TIGHTER
        case "enabled" | "enforce_on_live":
            return _by_order(int(bool(old)), int(bool(new)))
        case "":
            was, now = (bool(x and x.get("enabled", True)) for x in (old, new))
            return _by_order(int(was), int(now))
    return Effect.NONE if name in _NAMES else Effect.UNKNOWN


def of_unlisted(old: str, new: str) -> Effect:
    return _by_order(_UNLISTED.index(old), _UNLISTED.index(new))


def of_shared(key: str, old: Any, new: Any) -> Effect:
    """Return the effect of a setting that all rules share."""
    if key == "trading_day.flat_by" and None in (old, new):
        return Effect.TIGHTER if old is None else Effect.LOOSER
    return Effect.UNKNOWN


def rule_of(configuration: Configuration, rule_id: str, account_id: int | None) -> Rule | None:
    """Return a rule as written, or as one account has it."""
    base = next((rule for rule in configuration.rules if rule.id == rule_id), None)
    if base is None or account_id is None:
        return base
    return configuration.overridden.get(account_id, {}).get(rule_id, base)


def _acts(rule: Rule | None) -> bool:
    return rule is not None and rule.enabled and not rule.shadow


def _by_order(old: int, new: int) -> Effect:
    if old == new:
        return Effect.NONE
    return Effect.TIGHTER if new > old else Effect.LOOSER


def _of_scope(old: frozenset[int] | None, new: frozenset[int] | None) -> Effect:
    """Return the effect of other accounts; None is all of them."""
    if new is None or (old is not None and old < new):
        return Effect.TIGHTER
    if old is None or new < old:
        return Effect.LOOSER
    return Effect.UNKNOWN


def _with_field(before: Rule, after: Rule, path: tuple[str, ...]) -> Rule:
    """Return the rule as it was, with this field alone as it is now."""
    if len(path) > 1:
        data = _with_value(plain(before), plain(after), path)
        try:
            return type(before).model_validate(data)
        except ValidationError:
            pass  # valid only together with other fields: take the whole of the outer one
    names = {field.alias or name: name for name, field in type(before).model_fields.items()}
    name = names.get(path[0], path[0])
    return before.model_copy(update={name: getattr(after, name, None)})


def _with_value(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    result, first = dict(old), path[0]
    if first not in new:
        result.pop(first, None)
    elif len(path) == 1 or not isinstance(old.get(first), Mapping):
        result[first] = new[first]
    else:
        result[first] = _with_value(old[first], new[first], path[1:])
    return result


def _compared(before: Rule, after: Rule) -> Effect:
    is_tighter, is_looser = after.covers(before), before.covers(after)
    if is_tighter and is_looser:
        return Effect.NONE
    if is_tighter:
        return Effect.TIGHTER
    return Effect.LOOSER if is_looser else Effect.UNKNOWN
