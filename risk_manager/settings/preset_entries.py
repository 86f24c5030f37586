"""A preset in the list of rules: which of its lines are enforced, and where each figure is from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import Field, ValidationError

from risk_manager.domain.rule import AccountIds, Rule
from risk_manager.settings.documents import Document, Path_
from risk_manager.settings.explain import explain, suggestion
from risk_manager.settings.fields import Section
from risk_manager.settings.preset_files import (
    Preset,
    PresetLine,
    file_of,
    read_preset,
    shipped_names,
    shipped_text,
)
from risk_manager.settings.problems import ConfigurationErrors

PRESET, OWN = "preset", "own"


class PresetEntry(Section):
    """How a preset is written in risk_config.yaml."""

    preset: str
    """Its name, as topstep-50k-combine."""
    without: tuple[str, ...] = ()
    """The names of lines to leave out."""
    given: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """What only you know, by line: {consistency: {since: 2026-11-02}}."""
    enabled: bool = True
    """False: switched off."""
    shadow: bool = False
    """True: told, not enforced."""
    accounts: AccountIds | None = None
    """The accounts it is for; null: all."""


@dataclass(frozen=True, slots=True)
class UsedPreset:
    """A preset that a configuration uses. `rules` are its enforced lines, by rule id.

    `unenforced` are the lines for which this version of the program has no rule. `incomplete` are
    those that need a value which the entry does not give.
    """

    preset: Preset
    text: str
    entry: PresetEntry
    rules: Mapping[str, Rule] = field(default_factory=dict)
    unenforced: tuple[PresetLine, ...] = ()
    incomplete: tuple[PresetLine, ...] = ()

    def line_of(self, rule_id: str) -> PresetLine | None:
        """Return the line that a rule comes from; None for a rule of another origin."""
        return self.preset.line(rule_id.partition(".")[2]) if rule_id in self.rules else None

    def expiry(self, today: date) -> str:
        """Return in words which of the lines in use have expired; empty where none has."""
        gone = [x for x in self.preset.expired(today) if x.name not in self.entry.without]
        if not gone:
            return ""
        lines = ", ".join(f"{line.name} ({line.expires})" for line in gone)
        return (
            f"the preset {self.preset.preset} has figures that are no longer relied upon: {lines}; "
            "they hold all the same. Compare them with the firm's, and update risk_manager"
        )


def line_id(preset: Preset, line: PresetLine) -> str:
    """Return the id of the rule that a line becomes."""
    return f"{preset.preset}.{line.name}"


def as_list(raw: Any) -> Any:
    """Return the list of rules, whichever of the two forms of `rules:` is written."""
    if not isinstance(raw, dict) or PRESET not in raw:
        return raw
    own = raw.get(OWN)
    return [
        {key: value for key, value in raw.items() if key != OWN},
        *(own if isinstance(own, list) else ()),
    ]


def places(raw: Any) -> list[Path_]:
    """Return where in the file each item of `as_list` is written."""
    if isinstance(raw, dict):
        own = raw.get(OWN)
        count = len(own) if isinstance(own, list) else 0
        return [("rules",), *(("rules", OWN, index) for index in range(count))]
    return [("rules", index) for index in range(len(raw))]


def used_preset(
    document: Document,
    path: Path_,
    item: Mapping[str, Any],
    classes: Mapping[str, type[Rule]],
    kept: Mapping[str, str] | None,
) -> UsedPreset | None:
    """Return the preset of an entry with its rules. Errors are added to the document.

    `kept` are texts by file name to be used in place of the presets of this version.
    """
    try:
        entry = PresetEntry.model_validate(item)
    except ValidationError as error:
        for inner, sentence in explain(error, dict(item), PresetEntry):
            document.refuse((*path, *inner), sentence)
        return None
    document.labels[path] = entry.preset
    text = _text(entry.preset, kept)
    if text is None:
        close = suggestion(entry.preset, shipped_names())
        known = f"; presets here: {', '.join(shipped_names())}"
        document.refuse((*path, PRESET), f"no such preset{close or known}")
        return None
    try:
        preset = read_preset(entry.preset, text)
    except ConfigurationErrors as errors:
        document.problems += errors.problems
        return None
    return _with_rules(document, path, UsedPreset(preset, text, entry), classes)


def _text(name: str, kept: Mapping[str, str] | None) -> str | None:
    if kept is not None and file_of(name) in kept:
        return kept[file_of(name)]
    return shipped_text(name) if name in shipped_names() else None


def _with_rules(
    document: Document, path: Path_, used: UsedPreset, classes: Mapping[str, type[Rule]]
) -> UsedPreset:
    names = [line.name for line in used.preset.lines]
    for index, name in enumerate(used.entry.without):
        if name not in names:
            close = suggestion(name, names) or f"; lines: {', '.join(names)}"
            document.refuse((*path, "without", index), f"the preset has no line {name}{close}")
    _check_given(document, path, used)
    lines = [line for line in used.preset.lines if line.name not in used.entry.without]
    rules: dict[str, Rule] = {}
    incomplete: list[PresetLine] = []
    for line in lines:
        if line.rule not in classes:
            continue
        if missing_in(line, used.entry):
            incomplete.append(line)
            continue
        rule_id = line_id(used.preset, line)
        try:
            rules[rule_id] = made(line, rule_id, classes, used.entry)
        except ValidationError as error:
            for inner, sentence in explain(error, dict(line.set), classes[str(line.rule)]):
                key = ".".join(map(str, inner))
                document.refuse(path, f"{used.preset.preset}: {line.name}: {key}: {sentence}")
    unenforced = tuple(x for x in lines if x.rule is not None and x.rule not in classes)
    return UsedPreset(used.preset, used.text, used.entry, rules, unenforced, tuple(incomplete))


def _check_given(document: Document, path: Path_, used: UsedPreset) -> None:
    for name, values in used.entry.given.items():
        line = used.preset.line(name)
        known = [*line.needs, *line.takes] if line is not None else []
        if not known:
            able = [x.name for x in used.preset.lines if x.needs or x.takes]
            document.refuse(
                (*path, "given", name),
                f"this line takes no values; lines that do: {', '.join(able)}",
            )
        for key in values:
            if known and key not in known:
                document.refuse(
                    (*path, "given", name, key),
                    f"is not a value that you state; you may state {', '.join(known)}",
                )


def missing_in(line: PresetLine, entry: PresetEntry) -> tuple[str, ...]:
    """Return the values that a line needs and an entry does not give."""
    given = entry.given.get(line.name, {})
    return tuple(key for key in line.needs if key not in given)


def made(
    line: PresetLine, rule_id: str, classes: Mapping[str, type[Rule]], entry: PresetEntry
) -> Rule:
    """Return the rule of a line. Raises KeyError or ValidationError."""
    data: dict[str, Any] = {**line.set, **entry.given.get(line.name, {})}
    data |= {"rule": line.rule, "id": rule_id}
    data |= {"enabled": entry.enabled, "shadow": entry.shadow, "accounts": entry.accounts}
    return classes[str(line.rule)].model_validate(data)
