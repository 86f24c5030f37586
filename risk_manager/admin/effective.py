"""The configuration in force, for a person or a script to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook, is_older, origin_id
from risk_manager.settings.changes import differences
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration, plain
from risk_manager.settings.effects import Effect
from risk_manager.settings.loading import RISK_CONFIG

_NOT_LIMITS = frozenset({"rule", "id", "enabled", "shadow", "accounts"})
_WHEN = {
    "now": "now",
    "reset": "at the reset ({})",
    "both": "now; until the reset ({}) the older version holds too",
    "restart": "needs a restart",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The limits enforced, by what the daemon has read, and those that wait until `reset`.

    `unread`: the files have changed since; a reload or a start reads them.
    """

    configuration: Configuration
    book: Rulebook
    began_with: Configuration | None = None
    reset: datetime | None = None
    unread: bool = False

    def account(self, account_id: int) -> AccountRules:
        return self.book.for_account(account_id)


def standing(files: Configuration, limits_file: Path, now: datetime) -> Standing:
    """Read the limits in force from the data folder, or from the files if no daemon has run."""
    try:
        commitment = Commitment.read(limits_file.read_text("utf-8"))
        commitment = commitment.as_of(commitment.trading_date(now))
        newest = commitment.newest_read()
    except (OSError, ValueError):
        newest = None
    if newest is None:
        return Standing(configuration=files, book=files.rulebook())
    waits = commitment.waiting is not None
    return Standing(
        configuration=newest,
        book=commitment.rulebook(newest),
        began_with=commitment.began_with() if waits else None,
        reset=commitment.next_reset(now) if waits else None,
        unread=newest.digest != files.digest,
    )


def shown(files: Configuration, now_in_force: Standing) -> dict[str, Any]:
    """Return the files with defaults filled in and secrets as references.

    For each account, add what is in force now, what waits, and until when.
    """
    return {
        "settings": plain(files.settings),
        "accounts": plain(files.accounts),
        **{k: v for k, v in files.limits().items() if k not in ("accounts", "unlisted")},
        "in_force": _in_force(now_in_force),
        "waits": _waiting(now_in_force),
        "edited_since": now_in_force.unread,
        "digest": files.digest,
    }


def _in_force(now: Standing) -> dict[str, Any]:
    accounts = dict(now.configuration.limits()["accounts"])
    for account_id, own in now.book.accounts.items():
        accounts[str(account_id)] = {
            "enabled": True,
            "mode": str(own.mode),
            "rules": {r.id: plain(r) for r in own.rules if r.id not in own.waiting},
        }
    return accounts


def _waiting(now: Standing) -> dict[str, Any] | None:
    """Return the limits that wait for the reset; None where there are none."""
    if now.reset is None:
        return None
    accounts = {
        str(account_id): {r.id: plain(r) for r in own.rules if r.id in own.waiting}
        for account_id, own in now.book.accounts.items()
    }
    return {
        "until": now.reset.isoformat(),
        "accounts": {account_id: rules for account_id, rules in accounts.items() if rules},
        "shared": _shared(now),
    }


def _shared(now: Standing) -> list[dict[str, Any]]:
    """Return edited settings shared by all rules, which keep their old value until the reset."""
    if now.began_with is None:
        return []
    old, new = now.began_with.limits(), now.configuration.limits()
    parts = ("defaults", "trading_day", "calendar", "exchange_days", "symbols", "unlisted")
    return [
        {"key": key, "in_force": was, "waits": other}
        for part in parts
        for key, was, other in differences(old[part], new[part], part)
    ]


def told_change(change: Mapping[str, Any], reset: str) -> str:
    """Format one changed field on one line."""
    old, new = told_values(change["old"], change["new"])
    told = change.get("effect", Effect.NONE)  # absent from a daemon of an earlier version
    effect = f"{told}, " if told != Effect.NONE else ""
    return f"{change['key']}: {old} -> {new}, {effect}{_WHEN[change['when']].format(reset)}"


def told_values(old: Any, new: Any) -> tuple[str, str]:
    """Format both values of a changed field; a rule as a whole is on or off."""
    if any(isinstance(value, dict) and "rule" in value for value in (old, new)):
        return "off" if old is None else "on", "off" if new is None else "on"
    return short(old), short(new)


def told_time(at: str | datetime | None) -> str:
    """Format weekday and time of day in the reader's time zone; "none" for None."""
    if at is None:
        return "none"
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    return instant.astimezone().strftime("%a %H:%M")


def rows_in_force(now: Standing, account_id: int | None = None) -> list[dict[str, Any]]:
    """One row per account and rule with when it counts, and one per older version in force."""
    rows = []
    for row in rule_rows(now.configuration, account_id):
        own = now.account(row["account"])
        waits = row["id"] in own.waiting
        rows.append({**row, "counts_from": _iso(now.reset) if waits else None, "holds_until": None})
    for number, own in now.book.accounts.items():
        if account_id not in (None, number):
            continue
        older = [
            {
                "account": number,
                "account_name": now.configuration.label_of(number),
                "mode": str(own.mode),
                "rule": rule.rule,
                "id": rule.id,
                "spec_id": rule.spec_id,
                "limits": _limits(rule),
                "in_words": rule.in_words(),
                "disabled": False,
                "covered_by": None,
                "origin": "in force before the last edit",
                "shadow": rule.shadow,
                "overridden": False,
                "values": plain(rule),
                "counts_from": None,
                "holds_until": _iso(now.reset),
            }
            for rule in own.rules
            if is_older(rule.id)
        ]
        for row in older:
            same = [i for i, r in enumerate(rows) if r["account"] == number]
            after = [i for i in same if origin_id(rows[i]["id"]) == origin_id(row["id"])]
            place = (after or same or [len(rows) - 1])[-1]
            rows.insert(place + 1, row)
    return rows


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def rule_rows(configuration: Configuration, account_id: int | None = None) -> list[dict[str, Any]]:
    """One row per account and rule, disabled rules included."""
    rows = []
    for account in configuration.accounts.accounts:
        if account_id not in (None, account.id):
            continue
        own = configuration.overridden.get(account.id, {})
        in_force = {rule.id for rule in configuration.rules_of(account.id)}
        covered = configuration.covered_in(account.id)
        for base in configuration.rules:
            rule = own.get(base.id, base)
            rows.append(
                {
                    "account": account.id,
                    "account_name": configuration.label_of(account.id),
                    "mode": str(configuration.mode_of(account.id)) if account.enabled else "off",
                    "rule": rule.rule,
                    "id": rule.id,
                    "spec_id": rule.spec_id,
                    "limits": _limits(rule),
                    "in_words": rule.in_words(),
                    "disabled": rule.id not in in_force and rule.id not in covered,
                    "covered_by": covered.get(rule.id),
                    "origin": origin_of(configuration, rule.id),
                    "shadow": rule.shadow,
                    "overridden": base.id in own,
                    "values": plain(rule),
                }
            )
    return rows


def origin_of(configuration: Configuration, rule_id: str) -> str:
    """Return in words where a rule comes from: a preset with its source, or the operator's file."""
    if (found := configuration.line_of(rule_id)) is None:
        return f"your own, {RISK_CONFIG}"
    preset, line = found
    return f"preset {preset.preset}: {line.told_source()}, expires {line.expires}"


def _limits(rule: Rule) -> str:
    """The fields the operator wrote, on one line."""
    values = plain(rule)
    written = [name for name in values if name in rule.model_fields_set - _NOT_LIMITS]
    return ", ".join(f"{name} {short(values[name])}" for name in written)


def short(value: Any) -> str:
    """Format a plain value of the configuration on one line."""
    if isinstance(value, dict):
        return " ".join(f"{key}:{short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "/".join(short(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
