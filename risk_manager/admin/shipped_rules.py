"""The rules as shipped: their values, and the comments that say what each means."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from risk_manager.settings import rule_edits
from risk_manager.settings.documents import Document, parse
from risk_manager.settings.explain import suggestion
from risk_manager.settings.yaml_edits import EditRefused

_KEPT = ("rule", "id", "accounts")
_ENTRY = re.compile(r"  - rule: (\w+)")
_ABOVE = re.compile(r"  # (.*)")
_KEY = re.compile(r"    (\w+):[^#]*(?:# (.*))?")
_MORE = re.compile(r"\s{12,}# (.*)")
_OF_EVERY_RULE = {
    "id": "how overrides and logs name it",
    "enabled": "false: switched off",
    "shadow": "true: told, not enforced",
    "accounts": "the accounts it is for",
    "pnl_basis": "net (after fees) or gross; none: what the defaults say",
}


@dataclass(frozen=True, slots=True)
class Notes:
    """The comments of the shipped file on one rule: on all of it, and on each key."""

    about: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: str) -> str:
        return self.keys.get(key) or _OF_EVERY_RULE.get(key, "")


def notes_on(rule: str) -> Notes:
    """Return the comments on the rule of this name."""
    return _all_notes().get(rule, Notes())


def as_shipped(data: Any, word: str | None) -> None:
    """Give one rule of risk_config.yaml, or all, the values as shipped. Raises EditRefused.

    The id, the accounts it is for and the overrides of accounts stay as they are.
    """
    entries = list(rule_edits.entries(data)) if word is None else [rule_edits.entry_of(data, word)]
    for entry in entries:
        shipped = _values().get(str(entry.get("rule")))
        if shipped is None:
            close = suggestion(str(entry.get("rule")), _values())
            raise EditRefused(f"no rule {entry.get('rule')} is shipped{close}")
        for key in [key for key in entry if key not in _KEPT and key not in shipped]:
            del entry[key]
        for key, value in reversed(shipped.items()):  # each new one goes above the last
            if key not in _KEPT and entry.get(key, ...) != value:
                rule_edits.put(entry, key, value)


@cache
def _text() -> str:
    return (files("risk_manager.settings") / "shipped" / "risk_config.yaml").read_text("utf-8")


@cache
def _values() -> dict[str, Any]:
    document = Document("risk_config.yaml")
    parse(document, _text().encode())
    return {str(entry["rule"]): entry for entry in rule_edits.entries(document.data)}


@cache
def _all_notes() -> dict[str, Notes]:
    found: dict[str, Notes] = {}
    above: list[str] = []
    keys: dict[str, str] = {}
    last = ""
    for line in _text().splitlines():
        if entry := _ENTRY.fullmatch(line):
            keys, last = {}, ""
            found[entry[1]] = Notes(" ".join(above), keys)
            above = []
        elif comment := _ABOVE.fullmatch(line):
            above.append(comment[1])
        elif key := _KEY.fullmatch(line):
            last = key[1]
            keys[last] = key[2] or ""
        elif (more := _MORE.fullmatch(line)) and last:
            keys[last] = f"{keys[last]} {more[1]}".strip()
        elif not line.strip():
            above = []
    return found
