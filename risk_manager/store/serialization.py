"""Converts domain values (states, rulebooks, rules) to plain JSON and back without loss."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel

PACKAGE = __name__.partition(".")[0]
ROOMS = ("domain", "rules")
"""Only classes defined in these packages are written, or created from stored text."""

WRITTEN_AS = {
    "domain.call_brake:Brake": "domain.brake:Brake",
    "domain.events:HealthIssueChanged": "domain.events:DoubtChanged",
    "domain.executions:Execution": "domain.ledger:Execution",
    "domain.health_issue:Baseline": "domain.blindness:Baseline",
    "domain.health_issue:HealthIssue": "domain.doubt:Doubt",
    "domain.health_issue:IssueKind": "domain.doubt:DoubtKind",
    "domain.quotes:Candidate": "domain.prices:Candidate",
    "domain.quotes:DoubtedQuote": "domain.prices:Doubted",
    "rules.no_stop_loss_grace.rule:NoStopLossGrace": "rules.no_stop_loss_grace:NoStopLossGrace",
    "rules.session_block_outside.hours:Hours": "rules.session_block_outside:Hours",
    "rules.session_block_outside.hours:SessionWindow": "rules.session_block_outside:SessionWindow",
    "rules.session_block_outside.rule:SessionBlockOutside": (
        "rules.session_block_outside:SessionBlockOutside"
    ),
    "rules.trade_management.configuration:Breakeven": "rules.trade_management:Breakeven",
    "rules.trade_management.configuration:InitialStop": "rules.trade_management:InitialStop",
    "rules.trade_management.configuration:TakeProfit": "rules.trade_management:TakeProfit",
    "rules.trade_management.configuration:Trailing": "rules.trade_management:Trailing",
    "rules.trade_management.rule:TradeManagement": "rules.trade_management:TradeManagement",
}
"""Class -> the name under which it is stored, which is the one it had first."""
_NOW = {written: now for now, written in WRITTEN_AS.items()}

FIELDS_WRITTEN_AS = {"domain.state:State": {"health_issues": "doubts"}}
"""Class -> its fields that are stored under the name they had first."""


class Unreadable(ValueError):
    """The text was not written by this version of the program."""


def dumps(value: Any) -> str:
    """Serialise a value. Raises TypeError if it is not a value of the domain."""
    return json.dumps(_plain(value), separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """Read a value back. Raises `Unreadable`."""
    try:
        return _value(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, IndexError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return {"$enum": _name(value), "value": value.value}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$instant": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, time):
        return {"$time": value.isoformat()}
    if isinstance(value, timedelta):
        return {"$span": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {
            "$value": _name(value),
            "fields": {f: _plain(getattr(value, f)) for f in value._fields},
        }
    if isinstance(value, tuple | list):
        return {"$list": [_plain(v) for v in value]}
    if isinstance(value, frozenset | set):
        return {"$set": [_plain(v) for v in value]}
    if isinstance(value, Mapping):
        return {"$map": [[_plain(k), _plain(v)] for k, v in value.items()]}
    if isinstance(value, BaseModel):
        fields = {name: _plain(getattr(value, name)) for name in type(value).model_fields}
        return {"$model": _name(value), "fields": fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = _name(value)
        written = FIELDS_WRITTEN_AS.get(name, {})
        fields = {
            written.get(f.name, f.name): _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
        }
        return {"$value": name, "fields": fields}
    raise TypeError(f"a {type(value).__name__} cannot be written down")


def _name(value: object) -> str:
    cls = type(value)
    package, _, module = cls.__module__.partition(".")
    if package != PACKAGE or module.partition(".")[0] not in ROOMS:
        raise TypeError(f"a {cls.__qualname__} cannot be written down")
    name = f"{module}:{cls.__qualname__}"
    return WRITTEN_AS.get(name, name)


def class_named[T](name: str, base: type[T]) -> type[T]:
    module, _, cls = _NOW.get(name, name).partition(":")
    if module.partition(".")[0] not in ROOMS:
        raise Unreadable(f"{name} is not of the domain")
    found = getattr(importlib.import_module(f"{PACKAGE}.{module}"), cls)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise Unreadable(f"{name} is no {base.__name__}")
    return found


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    (tag, content), *_ = plain.items()
    make = _MAKERS.get(tag)
    if make is not None:
        return make(content)
    if tag == "$enum":
        return class_named(content, Enum)(plain["value"])
    now = {written: name for name, written in FIELDS_WRITTEN_AS.get(content, {}).items()}
    fields = {now.get(name, name): _value(v) for name, v in plain["fields"].items()}
    if tag == "$model":
        # Not validated again: it was when first made, and some fields differ from the file's form.
        return class_named(content, BaseModel).model_construct(**fields)
    cls = class_named(content, object)
    if tag != "$value" or not (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")):
        raise Unreadable(f"{content} is no value")
    return cls(**fields)


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "$decimal": Decimal,
    "$instant": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$span": lambda parts: timedelta(*parts),
    "$list": lambda items: tuple(_value(v) for v in items),
    "$set": lambda items: frozenset(_value(v) for v in items),
    "$map": lambda pairs: {_value(k): _value(v) for k, v in pairs},
}
