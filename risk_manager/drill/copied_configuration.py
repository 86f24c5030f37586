"""The limits of the operator's own files, copied for the accounts of a drill."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from risk_manager.settings.configuration import Configuration
from risk_manager.settings.documents import Document, parse
from risk_manager.settings.loading import ACCOUNTS, CALENDAR, RISK_CONFIG, SETTINGS, load
from risk_manager.settings.preset_entries import as_list

_OWN_SETTINGS = "gateway: {kind: practice}\nfeed: {port: 0}\nlogging: {level: WARNING}\n"


def copied(configuration: Configuration, twins: Mapping[int, int], folder: Path) -> Configuration:
    """Write the configuration into `folder` for other accounts, and load it.

    `twins` maps each account of the drill to the account whose limits it gets. The words that
    concern rules are those of the operator's file. Raises ValueError if a copy has other rules
    than its original.
    """
    document = Document(RISK_CONFIG)
    parse(document, configuration.texts[RISK_CONFIG].encode())
    risk: dict[str, Any] = dict(document.data)
    sections: Mapping[str, Any] = risk.get("accounts") or {}
    risk["accounts"] = {
        str(twin): sections[str(original)]
        for twin, original in twins.items()
        if sections.get(str(original))
    }
    risk["rules"] = [_for_twins(entry, twins) for entry in as_list(risk.get("rules")) or ()]
    accounts = {"accounts": [{"id": twin} for twin in twins], "unlisted": "ignore"}
    folder.mkdir(parents=True, exist_ok=True)
    texts = {SETTINGS: _OWN_SETTINGS, ACCOUNTS: json.dumps(accounts), RISK_CONFIG: json.dumps(risk)}
    if CALENDAR in configuration.texts:
        texts[CALENDAR] = configuration.texts[CALENDAR]
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    found = load(folder, env={})
    for twin, original in twins.items():
        if _limits(found, twin) != _limits(configuration, original):
            raise ValueError(f"the rules of account {original} could not be copied")
    return found


def _for_twins(entry: Any, twins: Mapping[int, int]) -> Any:
    if not isinstance(entry, dict) or not entry.get("accounts"):
        return entry
    originals = {int(account) for account in entry["accounts"]}
    chosen = [twin for twin, original in twins.items() if original in originals]
    # A rule for none of these accounts stays out; the file may not name an empty list.
    return {**entry, "accounts": chosen} if chosen else {**entry, "accounts": [1]}


def _limits(configuration: Configuration, account_id: int) -> list[Any]:
    rules = configuration.rules_of(account_id)
    return [rule.model_copy(update={"accounts": None}) for rule in rules]
