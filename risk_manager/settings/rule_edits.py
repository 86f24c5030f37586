"""Edits of the rules in risk_config.yaml, on the plain data of the file."""

from collections.abc import Iterator, Mapping
from typing import Any

from risk_manager.settings.explain import suggestion
from risk_manager.settings.preset_entries import OWN, PRESET
from risk_manager.settings.yaml_edits import EditRefused, section

Path = tuple[str, ...]
"""The keys that lead to a value of a rule, as ("limits", "MNQ")."""

_FIXED = ("rule", "id", "accounts")


def id_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id") or entry.get("rule"))


def entries(data: Any) -> Iterator[Any]:
    """Yield each rule that is written out, not the presets."""
    rules = data.get("rules")
    for item in (rules.get(OWN) if isinstance(rules, Mapping) else rules) or ():
        if isinstance(item, Mapping) and PRESET not in item:
            yield item


def own_rules(data: Any) -> Any:
    """Return the list of rules in the file, in either form of `rules:`, made if it is missing."""
    part, key = (data["rules"], OWN) if isinstance(data.get("rules"), dict) else (data, "rules")
    if not isinstance(part.get(key), list):
        part[key] = []
    return part[key]


def preset_entries(data: Any) -> list[Any]:
    """Return each entry that names a preset."""
    rules = data.get("rules")
    if isinstance(rules, Mapping):
        return [rules] if PRESET in rules else []
    return [item for item in rules or () if isinstance(item, Mapping) and PRESET in item]


def entry_of(data: Any, word: str) -> Any:
    """Return the rule with this id, or the only one with this name. Raises EditRefused."""
    every = list(entries(data))
    named = [e for e in every if id_of(e) == word] or [e for e in every if e.get("rule") == word]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(map(id_of, named))
        raise EditRefused(f"several rules are {word}; name one by its id: {ids}")
    for preset in preset_entries(data):
        if word.startswith(f"{preset[PRESET]}."):
            line = word.partition(".")[2]
            raise EditRefused(
                f"{word} is a line of a preset and is not edited; write a rule of your own (the "
                f"tighter of the two counts), or leave it out in the file with: without: [{line}]"
            )
    known = [id_of(e) for e in every]
    close = suggestion(word, known) or f"; there are {', '.join(known) or 'none'}"
    raise EditRefused(f"no rule has the id {word}{close}")


def set_value(data: Any, rule: str, path: Path, value: Any, account_id: int | None = None) -> None:
    """Set a value of a rule; for one account, in its overrides. Raises EditRefused."""
    entry = entry_of(data, rule)
    if path[0] in _FIXED and account_id is not None:
        raise EditRefused(f"{path[0]} cannot be changed for one account")
    if path[0] in ("rule", "id"):
        raise EditRefused(f"{path[0]} names the rule and is not changed here; edit the file")
    part = entry if account_id is None else _override(data, entry, account_id)
    for name in path[:-1]:
        part = section(part, name)
    if part is entry:
        put(entry, path[-1], value)
    else:
        part[path[-1]] = value


def put(entry: dict[str, Any], key: str, value: Any) -> None:
    """Set a key of a rule. A new one goes behind the rule's name and id."""
    is_new = key not in entry
    entry[key] = value
    if is_new:
        for other in [k for k in entry if k not in ("rule", "id", key)]:
            entry[other] = entry.pop(other)


def unset_value(data: Any, rule: str, path: Path, account_id: int | None = None) -> None:
    """Remove a value, so that the rule's default counts; for one account, the rule's own value.

    Raises EditRefused if it is not written.
    """
    entry = entry_of(data, rule)
    if path[0] in ("rule", "id"):
        raise EditRefused(f"{path[0]} names the rule and is not changed here; edit the file")
    where = f"account {account_id} of " if account_id is not None else ""
    part = entry if account_id is None else override_of(data, entry, account_id)
    for name in path[:-1]:
        part = part.get(name) if isinstance(part, Mapping) else None
    if not isinstance(part, dict) or path[-1] not in part:
        raise EditRefused(f"{'.'.join(path)} is not written in {where}{id_of(entry)}")
    del part[path[-1]]
    if account_id is not None:
        remove_empty_overrides(data, account_id)


def override_of(data: Any, entry: Mapping[str, Any], account_id: int) -> Any:
    """Return what an account sets for a rule; None where it sets nothing."""
    for item in _overrides(data, account_id):
        if item.get("target") in _names(data, entry) and isinstance(item.get("set"), Mapping):
            return item["set"]
    return None


def replace_override(
    data: Any, entry: Mapping[str, Any], account_id: int, values: Mapping[str, Any] | None
) -> None:
    """Let an account set these values for a rule, and nothing else; None: nothing at all."""
    part = override_of(data, entry, account_id)
    if values is None:
        if part is not None:
            part.clear()
            remove_empty_overrides(data, account_id)
        return
    if part is None:
        part = _override(data, entry, account_id)
    part.clear()
    part.update(values)


def remove_empty_overrides(data: Any, account_id: int) -> None:
    """Remove overrides that set nothing any more, and with the last one their list."""
    own = _section(data, account_id)
    if own is None or "overrides" not in own:
        return
    own["overrides"] = [item for item in own["overrides"] if item.get("set")]
    if not own["overrides"]:
        del own["overrides"]
    if not own:
        del data["accounts"][str(account_id)]


def account_section(data: Any, account_id: int) -> Any:
    """Return the section of an account in risk_config.yaml, made if it is missing."""
    return section(section(data, "accounts"), str(account_id))


def _override(data: Any, entry: Mapping[str, Any], account_id: int) -> Any:
    """Return what an account sets for a rule, as an empty mapping if it sets nothing yet."""
    found = override_of(data, entry, account_id)
    if found is not None:
        return found
    own = account_section(data, account_id)
    if not isinstance(own.get("overrides"), list):
        own["overrides"] = []
    made: dict[str, Any] = {}
    own["overrides"].append({"target": id_of(entry), "set": made})
    return made


def _names(data: Any, entry: Mapping[str, Any]) -> set[Any]:
    """Return the words that mean this rule as the target of an override."""
    alone = sum(e.get("rule") == entry.get("rule") for e in entries(data)) == 1
    return {id_of(entry), entry.get("rule")} if alone else {id_of(entry)}


def _section(data: Any, account_id: int) -> Any:
    accounts = data.get("accounts")
    if not isinstance(accounts, Mapping):
        return None
    found = accounts.get(str(account_id))
    return found if isinstance(found, Mapping) else None


def _overrides(data: Any, account_id: int) -> list[Any]:
    own = _section(data, account_id)
    items = None if own is None else own.get("overrides")
    return [i for i in items or () if isinstance(i, Mapping)]
