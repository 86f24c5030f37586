"""The `rules` list: each entry validated by its rule class, presets, and the overrides of
accounts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from risk_manager.domain.rule import Rule
from risk_manager.rules import RULES
from risk_manager.settings.documents import Document, Path_
from risk_manager.settings.explain import explain, suggestion
from risk_manager.settings.preset_entries import (
    PRESET,
    UsedPreset,
    as_list,
    places,
    used_preset,
)
from risk_manager.settings.release_files import ReleaseFiles

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Reserved: locks and marks that belong to no rule have these ids.
_TAKEN = re.compile(r"manual(-\d+)?|lost_database|clock_ahead|enforcer")
_FIXED = ("rule", "id", "accounts")


def rule_classes() -> dict[str, type[Rule]]:
    """Return the rule classes by the name that is written after `rule:`."""
    return {str(cls.model_fields["rule"].default): cls for cls in RULES}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the list as written. `rule` is None where the entry is not valid."""

    path: Path_
    name: str
    id: str
    data: Mapping[str, Any]
    rule: Rule | None


@dataclass(slots=True)
class RuleEntries:
    """All entries of the list, the presets in it, and the lookup of the targets of overrides."""

    entries: list[Entry] = field(default_factory=list)
    presets: list[UsedPreset] = field(default_factory=list)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the presets, then those written out."""
        of_presets = [rule for used in self.presets for rule in used.rules.values()]
        own = [entry.rule for entry in self.entries if entry.rule is not None]
        return (*of_presets, *own)

    def target(self, word: str) -> Entry | str:
        """Return the entry with this id, or the only one with this rule name; else an error."""
        if any(word in used.rules for used in self.presets):
            return (
                "a line of a preset is not changed; write a rule of your own, the tighter of the "
                "two counts, or leave the line out with `without`"
            )
        for entry in self.entries:
            if entry.id == word:
                return entry
        named = [entry for entry in self.entries if entry.name == word]
        if len(named) == 1:
            return named[0]
        ids = [entry.id for entry in self.entries if entry.id]
        if named:
            return f"several rules are {word}; name one by its id: {', '.join(e.id for e in named)}"
        close = suggestion(word, ids)
        return f"no rule has this id{close or '; ids here: ' + (', '.join(ids) or 'none')}"


def read_entries(
    document: Document, raw: Any, files: ReleaseFiles, presets: Mapping[str, str] | None = None
) -> RuleEntries:
    """Return every readable entry of the list. Errors are added to the document.

    `presets` are texts of presets to use in place of those of this version, by file name.
    """
    result = RuleEntries()
    classes = rule_classes()
    if isinstance(raw, dict) and PRESET not in raw:
        document.refuse(("rules",), "is a list now; write each rule as: - rule: max_contracts")
        return result
    if isinstance(raw, dict) and not isinstance(raw.get("own", []), list):
        document.refuse(("rules", "own"), "must be a list, as: - rule: max_contracts")
    listed = as_list(raw)
    if not isinstance(listed, list):
        return result  # missing or of another type: the model of the file reports it
    for path, item in zip(places(raw), listed, strict=True):
        if not isinstance(item, dict):
            document.refuse(path, "must be a rule, as: - rule: max_contracts")
        elif PRESET in item:
            used = used_preset(document, path, item, classes, presets)
            if used is None:
                continue
            if any(used.preset.preset == known.preset.preset for known in result.presets):
                document.refuse(
                    path, "this preset is there already; name all accounts in one entry"
                )
            result.presets.append(used)
        else:
            _add_entry(document, path, item, classes, files, result)
    return result


def _add_entry(
    document: Document,
    path: Path_,
    item: dict[str, Any],
    classes: Mapping[str, type[Rule]],
    files: ReleaseFiles,
    result: RuleEntries,
) -> None:
    entry = _read_entry(document, path, item, classes, files)
    if entry is None:
        return
    taken = next((e for e in result.entries if e.id == entry.id), None)
    if taken is not None:
        document.refuse(
            path,
            f"the id {entry.id} is taken by the rule on line "
            f"{document.line(taken.path)}; give each its own id",
        )
    elif any(entry.id in used.rules for used in result.presets):
        document.refuse(path, f"the id {entry.id} is that of a line of a preset; choose another")
    result.entries.append(entry)


def _read_entry(
    document: Document,
    path: Path_,
    item: dict[str, Any],
    classes: Mapping[str, type[Rule]],
    files: ReleaseFiles,
) -> Entry | None:
    name = item.get("rule")
    if "rule" not in item:
        document.refuse(path, "names no rule; add for example: rule: max_contracts")
        return None
    if not isinstance(name, str):
        document.refuse((*path, "rule"), "must be the name of a rule")
        return None
    written = item.get("id")
    rule_id = written if isinstance(written, str) and written else name
    document.labels[path] = rule_id
    if written is not None and not (isinstance(written, str) and _ID.fullmatch(written)):
        document.refuse((*path, "id"), "must be a short word of letters, digits, - _ and .")
        item = {key: value for key, value in item.items() if key != "id"}
    elif written is not None and _TAKEN.fullmatch(written):
        document.refuse((*path, "id"), f"{written} is reserved by the program; choose another id")
    cls = classes.get(name)
    if cls is None:
        document.refuse((*path, "rule"), _no_such_rule(name, classes))
        return Entry(path, name, rule_id, item, None)
    try:
        rule: Rule | None = cls.model_validate(files.expanded(document, path, item))
    except ValidationError as error:
        rule = None
        for inner, sentence in explain(error, item, cls):
            document.refuse((*path, *inner), sentence)
    return Entry(path, name, rule_id, item, rule)


def _no_such_rule(name: str, classes: Mapping[str, type[Rule]]) -> str:
    close = suggestion(name, classes)
    return f"no such rule{close or '; rules here: ' + ', '.join(classes)}"


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with the change applied. Mappings merge; other values are replaced."""
    result = dict(base)
    for key, value in change.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merge(below, value)
        else:
            result[key] = value
    return result


def overridden(
    document: Document, account: str, overrides: Any, entries: RuleEntries, files: ReleaseFiles
) -> dict[str, Rule]:
    """Return the account's own version of each overridden rule, by rule id.

    Each version is validated after the merge. Errors are added to the document.
    """
    path: Path_ = ("accounts", account, "overrides")
    changes: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    targets: dict[str, Entry] = {}
    for index, target, change in _usable(overrides):
        here = (*path, index)
        document.labels[here] = target
        entry = entries.target(target)
        if isinstance(entry, str):
            document.refuse((*here, "target"), entry)
            continue
        fixed = [key for key in _FIXED if key in change]
        for key in fixed:
            document.refuse((*here, "set", key), "cannot be changed for one account")
        targets[entry.id] = entry
        changes.setdefault(entry.id, []).append(
            (index, {key: value for key, value in change.items() if key not in fixed})
        )
    classes = rule_classes()
    result: dict[str, Rule] = {}
    for rule_id, made in changes.items():
        entry = targets[rule_id]
        cls = classes.get(entry.name)
        if cls is None:
            continue
        data: dict[str, Any] = dict(entry.data)
        for _, patch in made:
            data = merge(data, patch)
        whole = files.expanded(document, (*path, made[-1][0], "set"), data)
        try:
            result[rule_id] = cls.model_validate(whole)
        except ValidationError as error:
            for inner, sentence in explain(error, data, cls):
                setter = _who_set(made, inner)
                if setter is None and entry.rule is None:
                    continue  # the entry itself is wrong and has been reported
                last = made[-1][0] if setter is None else setter
                document.refuse((*path, last, "set", *inner), sentence)
    return result


def _usable(overrides: Any) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the overrides of the right shape; the model of the file reports the others."""
    if not isinstance(overrides, list):
        return
    for index, item in enumerate(overrides):
        if isinstance(item, dict):
            target, change = item.get("target"), item.get("set")
            if isinstance(target, str) and isinstance(change, dict):
                yield index, target, change


def _who_set(changes: list[tuple[int, Mapping[str, Any]]], path: Path_) -> int | None:
    if not path:
        return None
    return next((index for index, change in reversed(changes) if path[0] in change), None)
