"""Turns validation errors into sentences: what is wrong, and what to write instead."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, TypeAliasType, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from risk_manager.settings.documents import Path_

# Keys of earlier configurations, and the text that replaces each.
RENAMED = {
    "account_id": "id",
    "allowed_hours": "sessions, a list of {days, start, end}",
    "api_credentials": "gateway.username and gateway.api_key in settings.yaml",
    "api_secret": "gateway.api_key in settings.yaml",
    "auto_stop_loss": 'initial_stop, as {enabled: true, ticks: 40}',
    "backup_count": "backups",
    "blocked_symbols": "blocked",
    "close_existing": "existing_positions, as close or close_only",
    "cooldown_minutes": 'cooldown, as "5m"',
    "cooldown_seconds": 'cooldown, as "300s"',
    "count_type": "count",
    "enforcement": "action",
    "global": "defaults",
    "grace_period_seconds": 'grace, as "30s"',
    "grace_seconds": 'grace, as "30s"',
    "holidays_file": "calendar.yaml",
    "lockout_duration": 'lockout, as "30m"',
    "lockout_until": "lockout, as until_reset, manual or a duration",
    "log_level": "level",
    "logging_level": "logging.level in settings.yaml",
    "loss_limit": "limit, as a positive amount",
    "loss_threshold": "tiers, a list of {loss, cooldown}",
    "max_trades": "windows, a list of {name, per, max, cooldown}",
    "profit_target": "target",
    "reset_time": "reset",
    "rule_overrides": "accounts.<id>.overrides in risk_config.yaml",
    "schema_version": "version",
    "stop_loss_ticks": "initial_stop, as {enabled: true, ticks: 40}",
    "strict_mode": "lockout of each rule",
    "time_window_minutes": "windows, a list of {name, per, max, cooldown}",
    "unknown_symbol_action": "unknown_symbol, as {mode: allow_with_limit, limit: 1}",
}  # fmt: skip
OLD_VALUES = {
    "lockout": {"daily_reset": "until_reset", "permanent": "manual"},
    "cooldown": {"daily_reset": "until_reset"},
    "action": {
        "CLOSE_ALL_POSITIONS": "close_all",
        "CLOSE_POSITION": "close_position",
        "REDUCE_POSITION": "reduce_to_limit",
    },
}
_CREDENTIALS = frozenset({"username", "api_key", "password", "jwt_token"})

_SENTENCES: dict[str, str] = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "date_from_datetime_inexact": "must be a date, as 2026-12-25",
    "date_from_datetime_parsing": "must be a date, as 2026-12-25",
    "date_parsing": "must be a date, as 2026-12-25",
    "date_type": "must be a date, as 2026-12-25",
    "decimal_parsing": "must be a number, as 500 or 499.50",
    "decimal_type": "must be a number, as 500 or 499.50",
    "dict_type": "must be a group of keys, as {key: value}",
    "finite_number": "must be a finite number",
    "frozen_set_type": "must be a list, as [a, b]",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list, as [a, b]",
    "mapping_type": "must be a group of keys, as {key: value}",
    "missing": "is missing; add this key",
    "model_attributes_type": "must be a group of keys, as {key: value}",
    "model_type": "must be a group of keys, as {key: value}",
    "string_too_short": "must not be empty",
    "string_type": "must be text; quote it",
    "too_short": "must not be empty",
    "tuple_type": "must be a list, as [a, b]",
}


def explain(error: ValidationError, data: Any, model: type[BaseModel]) -> list[tuple[Path_, str]]:
    """Return each error as (path in `data`, sentence)."""
    found: dict[tuple[Path_, str], None] = {}
    missing: list[Path_] = []
    meant: set[Path_] = set()  # the known keys that unknown keys stand for
    for details in error.errors(include_url=False, include_input=True):
        kind = details["type"]
        path = _path(data, details["loc"], kind == "missing")
        if kind == "missing":
            missing.append(path)
        elif kind == "extra_forbidden":
            keys = keys_at(model, path[:-1])
            found[path, _unknown_key(path, keys)] = None
            meant.add((*path[:-1], _meant(path, keys)))
        elif kind == "too_short" and details["input"]:
            pass  # the list has items, but all are wrong: each is reported by itself
        else:
            found[path, _sentence(details, path)] = None
    for path in missing:
        if path not in meant:
            found[path, _SENTENCES["missing"]] = None
    return list(found)


def suggestion(word: str, words: Iterable[str]) -> str:
    """Return '; did you mean "limit"?', or an empty text where no word is close."""
    close = _closest(word, words)
    return f'; did you mean "{close}"?' if close else ""


def _closest(word: str, words: Iterable[str]) -> str:
    folded = {w.lower(): w for w in words}
    close = get_close_matches(word.lower(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _meant(path: Path_, keys: Iterable[str]) -> str:
    """Return the key that an unknown key stands for; empty where none is close."""
    key = str(path[-1]) if path else ""
    renamed = RENAMED.get(key, "").partition(",")[0]
    return renamed or _closest(key, keys)


def keys_at(model: type[BaseModel], path: Path_) -> list[str]:
    """Return the keys that are allowed at a place of a document of this model."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue
        deeper = [m for each in models for m in _models_of_field(each, part)]
        named = any(_field(each, part) for each in models)
        # A part that is no field is a free key of a mapping; `models` are those of its values.
        models = deeper if named else models
    return [field.alias or name for each in models for name, field in each.model_fields.items()]


def _field(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            return field
    return None


def _models_of_field(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    field = _field(model, key)
    return [] if field is None else list(_models_in(field.annotation))


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _path(data: Any, loc: Sequence[str | int], missing: bool) -> Path_:
    """Return the place in the file, without the union members that the location names."""
    path: list[str | int] = []
    for number, part in enumerate(loc):
        if isinstance(data, dict):
            key = _same_key(data, part)
            if key is not None:
                path.append(key)
                data = data[key]
            elif missing and number == len(loc) - 1:
                path.append(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return tuple(path)


def _same_key(data: dict[str, Any], part: str | int) -> str | None:
    text = str(part)
    if text in data:
        return text
    return next((key for key in data if key.upper() == text.upper()), None)


def _unknown_key(path: Path_, keys: list[str]) -> str:
    key = str(path[-1]) if path else ""
    if key in RENAMED:
        return f"is an old spelling; write {RENAMED[key]}"
    if key in _CREDENTIALS:
        return "credentials belong in settings.yaml, under gateway; remove this key"
    close = suggestion(key, keys)
    return f"unknown key{close}" if close else f"unknown key; known here: {', '.join(keys)}"


def _sentence(details: ErrorDetails, path: Path_) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    value = details["input"]
    old = OLD_VALUES.get(str(path[-1]) if path else "", {})
    if isinstance(value, str) and value in old:
        return f"{value} is an old word; write {old[value]}"
    match kind:
        case "value_error" | "assertion_error":
            return str(context.get("error", details["msg"]))
        case "literal_error" | "enum":
            return _choices(str(context.get("expected", "")), value)
        case "greater_than":
            return f"must be above {context['gt']}{_without_minus(value)}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}{_without_minus(value)}"
        case "less_than":
            return f"must be below {context['lt']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "decimal_max_places":
            return f"at most {context['decimal_places']} digits after the point"
        case "string_too_long":
            return f"at most {context['max_length']} characters"
    return _SENTENCES.get(kind, details["msg"].lower())


def _choices(expected: str, value: Any) -> str:
    words = expected.replace(" or ", ", ").replace("'", "").split(", ")
    if len(words) == 1:
        return f"must be {words[0].lower() if words[0] in ('True', 'False') else words[0]}"
    close = suggestion(value, words) if isinstance(value, str) else ""
    return f"must be one of {', '.join(words)}{close}"


def _without_minus(value: Any) -> str:
    if isinstance(value, int | float) and value < 0:
        return f"; write it without the minus, {-value}"
    return ""
