"""The changed fields of an edit: the effect of each, and when it counts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from risk_manager.domain.rulebook import AccountRules, Mode, Rulebook, is_older, origin_id
from risk_manager.settings import effects
from risk_manager.settings.configuration import Configuration, plain
from risk_manager.settings.effects import Effect, rule_of


class When(StrEnum):
    NOW = "now"
    RESET = "reset"
    BOTH = "both"  # now, and the older version holds as well until the reset
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Change:
    """One field as it was and as it is written now. None: the field is absent.

    `name` is the field's path in its rule or account, empty for all of it. `account_id` None: of
    every account. `rule_id` is empty where it is not of a rule.
    """

    key: str
    old: Any
    new: Any
    when: When
    effect: Effect = Effect.NONE
    account_id: int | None = None
    rule_id: str = ""
    name: str = ""

    def plain(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "old": self.old,
            "new": self.new,
            "effect": self.effect.value,
            "when": self.when.value,
        }


def changes(
    started_with: Configuration, before: Configuration, found: Configuration, in_force: Rulebook
) -> list[Change]:
    """Return the changes in `found`: since the last reading, and since the start for settings that
    only a start reads.

    `in_force` are the limits enforced now that `found` has been read.
    """
    return [
        *(
            Change(key, old, new, When.RESTART)
            for key, old, new in differences(plain(started_with.settings), plain(found.settings))
        ),
        *_accounts(started_with, before, found),
        *_rules(before, found, in_force),
        *_shared(before, found, in_force),
    ]


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that differs, by its path."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            inner = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name), new.get(name), inner)
    elif old != new:
        yield key, old, new


def _accounts(
    started_with: Configuration, before: Configuration, found: Configuration
) -> Iterator[Change]:
    first, last, fresh = (
        {a.id: {"enabled": a.enabled, "nickname": a.nickname} for a in c.accounts.accounts}
        for c in (started_with, before, found)
    )
    for account_id in sorted(first.keys() | last.keys() | fresh.keys()):
        guarded = bool(first.get(account_id, {}).get("enabled"))
        wanted = bool(fresh.get(account_id, {}).get("enabled"))
        was = last if guarded and not wanted else first
        key = f"accounts.{account_id}"
        for name, old, new in differences(was.get(account_id), fresh.get(account_id), key):
            when = When.RESET if guarded and not wanted else When.RESTART
            field = name.removeprefix(key).removeprefix(".")
            effect = effects.of_account(field, old, new)
            yield Change(name, old, new, when, effect, account_id, name=field)
    old_word, new_word = started_with.accounts.unlisted, found.accounts.unlisted
    if old_word != new_word:
        when = When.NOW
        if "enforce" in (old_word, new_word):
            when = When.RESET if old_word == "enforce" else When.RESTART
        yield Change("unlisted", old_word, new_word, when, effects.of_unlisted(old_word, new_word))


def _rules(before: Configuration, found: Configuration, in_force: Rulebook) -> Iterator[Change]:
    """Yield changes of the rules as written, and of the rules that accounts override."""
    old, new = before.limits(), found.limits()
    every = [in_force.for_account(i) for i in in_force.accounts]
    reported = set()
    for key, was, now in differences(old["rules"], new["rules"], "rules"):
        reported.add((key, str(was), str(now)))
        rule_id, path = _place(key, old["rules"], new["rules"])
        effect = effects.of_rule(
            rule_of(before, rule_id, None), rule_of(found, rule_id, None), path
        )
        when = _when(rule_id, every)
        yield Change(key, was, now, when, effect, rule_id=rule_id, name=".".join(path))
    for account_id in sorted(old["accounts"].keys() & new["accounts"].keys(), key=int):
        was, now = old["accounts"][account_id], new["accounts"][account_id]
        own = in_force.for_account(int(account_id))
        if was["mode"] != now["mode"]:
            waits = own.mode is Mode.ENFORCE and now["mode"] == Mode.SHADOW
            when = When.RESET if waits else When.NOW
            yield _of_account(account_id, "mode", was["mode"], now["mode"], when)
        if was["enforce_on_live"] != now["enforce_on_live"]:
            allowed, allows = was["enforce_on_live"], now["enforce_on_live"]
            when = When.RESET if own.on_live and not allows else When.NOW
            yield _of_account(account_id, "enforce_on_live", allowed, allows, when)
        for key, one, other in differences(was["rules"], now["rules"], "rules"):
            if (key, str(one), str(other)) not in reported:
                rule_id, path = _place(key, was["rules"], now["rules"])
                effect = effects.of_rule(
                    rule_of(before, rule_id, int(account_id)),
                    rule_of(found, rule_id, int(account_id)),
                    path,
                )
                when = _when(rule_id, [own])
                yield Change(
                    f"accounts.{account_id}.{key}",
                    *(one, other, when, effect),
                    account_id=int(account_id),
                    rule_id=rule_id,
                    name=".".join(path),
                )


def _of_account(account_id: str, name: str, old: Any, new: Any, when: When) -> Change:
    effect = effects.of_account(name, old, new)
    return Change(
        f"accounts.{account_id}.{name}", old, new, when, effect, int(account_id), name=name
    )


def _place(key: str, *rules: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Split "rules.ID.field.inner" into the rule's id, which may contain points, and the rest."""
    words = key.split(".")[1:]
    for length in range(len(words), 0, -1):
        rule_id = ".".join(words[:length])
        if any(rule_id in known for known in rules):
            return rule_id, tuple(words[length:])
    return words[0], tuple(words[1:])


def _when(rule_id: str, accounts: list[AccountRules]) -> When:
    """Return when an edited rule counts; of several accounts the latest decides."""
    waits = any(rule_id in own.waiting for own in accounts)
    older = any(
        is_older(r.id) and origin_id(r.id) == rule_id for own in accounts for r in own.rules
    )
    is_there = any(r.id == rule_id and not r.shadow for own in accounts for r in own.rules)
    if waits or (older and not is_there):
        return When.RESET
    return When.BOTH if older else When.NOW


def _shared(before: Configuration, found: Configuration, in_force: Rulebook) -> Iterator[Change]:
    """Yield changes of shared settings, which keep their old value while an older version holds."""
    when = When.NOW if in_force.digest == found.digest else When.RESET
    old, new = before.limits(), found.limits()
    for part in ("defaults", "trading_day", "calendar", "exchange_days", "symbols"):
        for key, was, now in differences(old[part], new[part], part):
            if key != "defaults.mode":  # reported for each account
                yield Change(key, was, now, when, effects.of_shared(key, was, now))
