"""The limits of the operator's own files, copied for the accounts of a drill."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from risk_manager.settings.configuration import Configuration
from risk_manager.settings.documents import Document, parse
from risk_manager.settings.loading import ACCOUNTS, RISK_CONFIG, SETTINGS, load
from risk_manager.settings.preset_entries import as_list

GROUP_LIMIT = "group_limit"
_OWN_SETTINGS = "gateway: {kind: practice}\nfeed: {port: 0}\nlogging: {level: WARNING}\n"


NOBODY = 1
"""An account that no drill has, as a rule may not name none."""


def copied(
    configuration: Configuration, twins: Mapping[int, int], folder: Path, group: str | None = None
) -> Configuration:
    """Write the configuration into `folder` for other accounts, and load it.

    `twins` maps each account of the drill to the account whose limits it gets. The words that
    concern rules are those of the operator's file. Limits over groups of accounts are left out, as
    the drills of other rules would add up in them, except the one with the id `group`. Raises
    ValueError if a copy has other rules than its original.
    """
    document = Document(RISK_CONFIG)
    parse(document, configuration.texts[RISK_CONFIG].encode())
    risk: dict[str, Any] = dict(document.data)
    sections: Mapping[str, Any] = risk.get("accounts") or {}
    entries = as_list(risk.get("rules")) or ()
    left_out = {_id(e) for e in entries if _is_of_a_group(e)} - {group}
    risk["accounts"] = {
        str(twin): _without_overrides_of(sections[str(original)], left_out)
        for twin, original in twins.items()
        if sections.get(str(original))
    }
    risk["rules"] = [_for_twins(e, twins) for e in entries if _id(e) not in left_out]
    accounts = {"accounts": [{"id": twin} for twin in twins], "unlisted": "ignore"}
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        SETTINGS: _OWN_SETTINGS,
        ACCOUNTS: json.dumps(accounts),
        RISK_CONFIG: json.dumps(risk, default=str),  # dates as they are written
    }
    texts = {**configuration.texts, **texts}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
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
    if not chosen or _is_of_a_group(entry):
        chosen.append(NOBODY)  # a rule for none of these accounts stays out
    return {**entry, "accounts": chosen}


def _is_of_a_group(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("rule") == GROUP_LIMIT


def _id(entry: Any) -> Any:
    return (entry.get("id") or entry.get("rule")) if isinstance(entry, dict) else None


def _without_overrides_of(section: Any, rule_ids: set[Any]) -> Any:
    overrides = section.get("overrides")
    if not overrides or not rule_ids:
        return section
    targets = {*rule_ids, GROUP_LIMIT}
    return {**section, "overrides": [o for o in overrides if o.get("target") not in targets]}


def _limits(configuration: Configuration, account_id: int) -> list[Any]:
    rules = configuration.rules_of(account_id)
    return [r.model_copy(update={"accounts": None}) for r in rules if r.rule != GROUP_LIMIT]
