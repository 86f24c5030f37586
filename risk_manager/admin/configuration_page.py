"""Writes docs/configuration.md from the models of the files.

`python -m risk_manager.admin.configuration_page > docs/configuration.md` makes it anew.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, TypeAdapter

from risk_manager.admin.shipped_rules import notes_on
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rule import Rule
from risk_manager.rules import RULES
from risk_manager.settings.accounts_file import AccountsFile
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.preset_entries import PresetEntry
from risk_manager.settings.risk_file import RiskFile
from risk_manager.settings.settings_file import Settings

HEAD = """\
# Configuration

<!-- Made by `python -m risk_manager.admin.configuration_page > docs/configuration.md`. -->

Every key of the four files in `config/`. An unknown key is an error. Money is in account currency
and never negative, durations are written as `90s`, `30m`, `1h30m` or `2d`, times of day as
`"17:00"`, in quotes. `admin config validate` checks the files, and `admin config show` prints what
is in force. Edits count as [operations](operations.md) says: tighter at once, looser from the
reset on.
"""
FILES: tuple[tuple[str, type[BaseModel], str], ...] = (
    (
        "settings.yaml",
        Settings,
        "How the daemon is run. Read at the start only. Each value can be overridden by an"
        " environment variable: `RISK_MANAGER_`, the section, two underscores, the key; for example"
        " `RISK_MANAGER_GATEWAY__KIND=projectx`.",
    ),
    ("accounts.yaml", AccountsFile, "The accounts that are guarded."),
    ("risk_config.yaml", RiskFile, "The limits."),
    (
        "calendar.yaml",
        CalendarFile,
        "Your corrections to the exchange calendar; the file is optional.",
    ),
)
SECRET = "`env:NAME`, `file:PATH`, `keyring:service/user`"
LOCKOUT = "`none`, `until_reset`, `manual`, or a duration"
PLURALS = {
    "a section": "sections",
    "a date": "dates",
    "text": "texts",
    "a whole number": "whole numbers",
    "names, each with a value": "entries",
}
LOCKOUT_NAME = "#/$defs/Lockout"
AS_WRITTEN = {
    "windows[].per": "a duration, or `trading_day`",
    "windows[].cooldown": LOCKOUT,
    "sessions[].start": "a time of day",
    "sessions[].end": "a time of day",
    "per_symbol.NAME.sessions[].start": "a time of day",
    "per_symbol.NAME.sessions[].end": "a time of day",
    "consecutive_losses": "null",
    "file": "the name of a file in the configuration folder, or null",
}
"""Keys whose model is not what is written in the file."""
OF_EVERY_RULE = ("rule", "id", "enabled", "shadow", "accounts", "pnl_basis")


class Key(NamedTuple):
    path: str
    accepts: str
    default: str
    meaning: str


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for name, model, about in FILES:
        lines += [f"## {name}", "", about, "", *_table(keys_of(model)), ""]
    lines += [
        "## Rules",
        "",
        "Each entry of `rules` in risk_config.yaml has these keys, and those of its rule below.",
        "",
        *_table(_of_every_rule()),
        "",
        "A [preset](presets.md) stands in the list too, or as `rules: {preset: NAME, own: [...]}`.",
        "",
        *_table(keys_of(PresetEntry)),
        "",
    ]
    for rule in RULES:
        name, notes = rule.model_fields["rule"].default, notes_on(rule.model_fields["rule"].default)
        about = " ".join(inspect.cleandoc(rule.__doc__ or notes.about).split())
        lines += [f"### {name}", "", about, "", *_table(keys_of(rule)), ""]
        lines += [f"Examples: [{name}](rules/{name}.md).", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def keys_of(model: type[BaseModel]) -> list[Key]:
    """Return every key of a file or a rule, those of its parts after it."""
    if issubclass(model, Rule):
        notes = notes_on(model.model_fields["rule"].default)
        own = [k for k in _keys(model) if k.path not in OF_EVERY_RULE]
        return [k._replace(meaning=k.meaning or notes.of(k.path)) for k in own]
    return list(_keys(model))


def _of_every_rule() -> list[Key]:
    notes = notes_on("")
    meanings = {"rule": "the rule's name"}
    return [
        Key(k.path, k.accepts, k.default, k.meaning or meanings.get(k.path) or notes.of(k.path))
        for k in _keys(Rule)
    ] + [Key("pnl_basis", "`net`, `gross`", "null", notes.of("pnl_basis"))]


def _keys(model: type[BaseModel], above: str = "") -> Iterator[Key]:
    schema = model.model_json_schema()
    parts, required = schema.get("$defs", {}), schema.get("required", ())
    meanings = attribute_docstrings(model)
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    for key, told in schema["properties"].items():
        field = model.model_fields[names[key]]
        path = f"{above}{key}"
        inner = [] if path in AS_WRITTEN else list(_models_in(field.annotation))
        suffix = "" if not inner else _step_into(field.annotation)
        yield Key(
            path,
            AS_WRITTEN.get(path) or accepts(told, parts).replace(f"{LOCKOUT}, or null", LOCKOUT),
            "needed" if key in required else _default(told, is_section=bool(inner) and not suffix),
            meanings.get(names[key], ""),
        )
        for part in inner:
            yield from _keys(part, f"{path}{suffix}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _step_into(annotation: Any) -> str:
    """Return how the path of a part is written: below a list, below a name, or directly."""
    origin = getattr(annotation, "__origin__", None)
    if origin is tuple:
        return "[]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ".NAME"
    return next((step for a in get_args(annotation) if (step := _step_into(a))), "")


def accepts(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Say in words which values a JSON schema accepts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        part = parts[name]
        if name == "SecretReference":
            return SECRET
        if name == "Lockout":
            return LOCKOUT
        return "a section" if "properties" in part else accepts(part, parts)
    if "const" in schema:
        return f"`{_yaml(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_yaml(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        said = [accepts(one, parts) for one in schema["anyOf"] if one.get("type") != "null"]
        if any(one.get("type") == "null" for one in schema["anyOf"]):
            said.append("null")
        return ", or ".join(dict.fromkeys(_without_the_text_form(said)))
    match schema.get("type"):
        case "boolean":
            return "`true`, `false`"
        case "integer" | "number":
            return _number(schema)
        case "array":
            each = accepts(schema.get("items", {}), parts)
            return f"a list of {PLURALS.get(each, each)}"
        case "object":
            inner = schema.get("additionalProperties")
            return f"names, each with {accepts(inner if isinstance(inner, dict) else {}, parts)}"
        case "string":
            return {"duration": "a duration", "date": "a date", "time": "a time of day"}.get(
                schema.get("format", ""), "text"
            )
    return "a value"


def _without_the_text_form(said: list[str]) -> list[str]:
    # A Decimal is accepted as text as well, which nobody writes.
    is_number = any("number" in one for one in said)
    return [one for one in said if not (is_number and one == "text")]


def _number(schema: Mapping[str, Any]) -> str:
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    for key, words in (
        ("exclusiveMinimum", "above"),
        ("minimum", "from"),
        ("exclusiveMaximum", "below"),
        ("maximum", "to"),
    ):
        if key in schema:
            kind += f" {words} {schema[key]:g}"
    return kind


def _default(schema: Mapping[str, Any], *, is_section: bool) -> str:
    value = schema.get("default")
    if is_section and value is not None:
        return "see its keys"
    if isinstance(value, Mapping) and value.keys() == {"until"}:
        until = value["until"]
        return f"`{_plain_duration(until) if until.startswith('P') else f'until_{until}'}`"
    if value is None and LOCKOUT_NAME in json.dumps(schema):
        return "`none`"
    if schema.get("format") == "duration" and isinstance(value, str):
        return f"`{_plain_duration(value)}`"
    if isinstance(value, Mapping) and value.keys() == {"kind", "place"}:
        return f"`{value['kind']}:{value['place']}`"
    if schema.get("format") == "time" and isinstance(value, str):
        return f"`{value[:5]}`"
    return {None: "null", "": "none"}.get(
        value if value is None else str(value), f"`{_yaml(value)}`"
    )


def _plain_duration(text: str) -> str:
    if not text.startswith("P"):
        return text
    return plain_duration(TypeAdapter(timedelta).validate_python(text))


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


@cache
def attribute_docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the texts that stand under the fields of a model and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base is BaseModel or not _has_source(base):
            continue
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, text in pairwise(body):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    found[name] = " ".join(said.split())
    return found


def _has_source(model: type[BaseModel]) -> bool:
    return model.__module__.startswith("risk_manager.")


def _table(keys: list[Key]) -> list[str]:
    rows = ["| " + " | ".join((f"`{key}`", *map(_cell, rest))) + " |" for key, *rest in keys]
    return ["| key | accepts | default | meaning |", "|---|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
