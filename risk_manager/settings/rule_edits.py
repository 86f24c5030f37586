"""Edits of the rules in risk_config.yaml, on the data of the file."""

from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from risk_manager.settings.explain import suggestion
from risk_manager.settings.preset_entries import OWN, PRESET
from risk_manager.settings.yaml_edits import EditRefused, drop, in_one_line, key_in, put

Path = tuple[str, ...]
"""The keys that lead to a value of a rule, as ("limits", "MNQ")."""

_FIXED = ("rule", "id", "accounts")


def id_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id") or entry.get("rule"))


def entries(data: Any) -> Iterator[Any]:
    """Yield each rule that is written out, not the presets."""
    for item in own_rules(data):
        if isinstance(item, Mapping) and PRESET not in item:
            yield item


def own_rules(data: Any) -> Any:
    """Return the list of rules in the file, in either form of `rules:`; with presets in a list."""
    rules = data.get("rules")
    if isinstance(rules, Mapping):
        if not isinstance(rules.get(OWN), list):
            put(rules, OWN, CommentedSeq())
        return rules[OWN]
    return rules or []


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
        below = part.get(key_in(part, name))
        if not isinstance(below, Mapping):
            below = in_one_line({})
            put(part, name, below)
            below = part[key_in(part, name)]
        part = below
    put(part, path[-1], value, after=("rule", "id") if part is entry else ())


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
        part = None if part is None else part.get(key_in(part, name))
    if not isinstance(part, Mapping) or key_in(part, path[-1]) not in part:
        raise EditRefused(f"{'.'.join(path)} is not written in {where}{id_of(entry)}")
    drop(part, path[-1])
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
    part.update(in_one_line(values))


def remove_empty_overrides(data: Any, account_id: int) -> None:
    """Remove overrides that set nothing any more, and with the last one their list."""
    section = _section(data, account_id)
    if section is None or "overrides" not in section:
        return
    items = section["overrides"]
    for index in reversed(range(len(items))):
        if not items[index].get("set"):
            del items[index]
    if not items:
        drop(section, "overrides")
    if not section:
        drop(data["accounts"], account_id)


def account_section(data: Any, account_id: int) -> Any:
    """Return the section of an account in risk_config.yaml, made if it is missing."""
    accounts = data.get("accounts")
    if not isinstance(accounts, Mapping):
        put(data, "accounts", CommentedMap())
        accounts = data["accounts"]
    if isinstance(accounts, CommentedMap):
        accounts.fa.set_block_style()
    if _section(data, account_id) is None:
        put(accounts, account_id, CommentedMap())
    return _section(data, account_id)


def _override(data: Any, entry: Mapping[str, Any], account_id: int) -> Any:
    """Return what an account sets for a rule, as an empty mapping if it sets nothing yet."""
    found = override_of(data, entry, account_id)
    if found is not None:
        return found
    section = account_section(data, account_id)
    if not isinstance(section.get("overrides"), list):
        put(section, "overrides", CommentedSeq())
    section["overrides"].append(in_one_line({"target": id_of(entry), "set": {}}))
    return section["overrides"][-1]["set"]


def _names(data: Any, entry: Mapping[str, Any]) -> set[Any]:
    """Return the words that mean this rule as the target of an override."""
    alone = sum(e.get("rule") == entry.get("rule") for e in entries(data)) == 1
    return {id_of(entry), entry.get("rule")} if alone else {id_of(entry)}


def _section(data: Any, account_id: int) -> Any:
    accounts = data.get("accounts")
    if not isinstance(accounts, Mapping):
        return None
    found = accounts.get(key_in(accounts, account_id))
    return found if isinstance(found, Mapping) else None


def _overrides(data: Any, account_id: int) -> list[Any]:
    section = _section(data, account_id)
    items = None if section is None else section.get("overrides")
    return [i for i in items or () if isinstance(i, Mapping)]
