"""One rule on one page: its values, what they mean, and which versions of it are in force."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.config_changes import LIMITS_FILE
from risk_manager.admin.effective import (
    origin_of,
    rows_in_force,
    short,
    standing,
    told_time,
)
from risk_manager.admin.shipped_rules import notes_on
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import origin_id
from risk_manager.settings.configuration import Configuration, plain
from risk_manager.settings.explain import suggestion
from risk_manager.settings.yaml_edits import EditRefused

_SPEC_ID = re.compile(r"^RULE-\d+: ")
_OF_EVERY_RULE = ("enabled", "shadow", "accounts", "pnl_basis")


@dataclass(frozen=True, slots=True)
class ValueRow:
    """One value of a rule, what it means, and where it comes from.

    `origin` is "written", "default", "preset", or "override" for a value of the account alone.
    """

    key: str
    value: str
    origin: str
    meaning: str

    @property
    def told(self) -> str:
        return (
            self.value if self.origin in ("written", "preset") else f"{self.value} ({self.origin})"
        )


@dataclass(frozen=True, slots=True)
class RulePage:
    """A rule as the files have it. `versions` say in which accounts other values hold today.

    `origin` says where it comes from; `note` is the remark of a preset on it.
    """

    rule: Rule
    origin: str
    note: str
    remarks: str
    about: str
    rows: tuple[ValueRow, ...]
    versions: tuple[str, ...]
    in_force: tuple[dict[str, Any], ...]

    def plain(self) -> dict[str, Any]:
        return {
            "id": self.rule.id,
            "rule": self.rule.rule,
            "spec_id": self.rule.spec_id,
            "title": self.rule.title,
            "origin": self.origin,
            "note": self.note,
            "about": self.about,
            "values": plain(self.rule),
            "rows": [asdict(row) for row in self.rows],
            "in_force": list(self.in_force),
        }


def page_of(
    files: Configuration, data: Path, word: str, account_id: int | None, now: datetime
) -> RulePage:
    """Return the page of a rule by its id or name. Raises EditRefused if there is none."""
    base = _found(files, word)
    if account_id is not None and account_id not in _accounts(files):
        known = ", ".join(map(str, _accounts(files)))
        raise EditRefused(f"account {account_id} is not in accounts.yaml; there are {known}")
    own = files.overridden.get(account_id, {}).get(base.id) if account_id is not None else None
    rule, notes = own or base, notes_on(base.rule)
    values, before = plain(rule), plain(base)
    line = files.line_of(base.id)
    written = "written" if line is None else "preset"
    rows = tuple(
        ValueRow(
            key,
            _told(key, values[key]),
            _origin(rule, key, values, before, written),
            notes.of(key),
        )
        for key in sorted(values, key=lambda key: key in _OF_EVERY_RULE)
        if key not in ("rule", "id")
    )
    in_force = tuple(
        row
        for row in rows_in_force(standing(files, data / LIMITS_FILE, now), account_id)
        if origin_id(row["id"]) == base.id
    )
    remarks = "".join(
        f" [{remark}]"
        for remark, is_so in (
            ("disabled", not rule.enabled),
            ("shadow", rule.shadow),
            ("overridden", own is not None),
        )
        if is_so
    )
    about = _SPEC_ID.sub("", notes.about) or " ".join((type(rule).__doc__ or "").split())
    versions = (*_covered(files, base.id, account_id), *_versions(rule, in_force))
    return RulePage(
        rule,
        origin_of(files, base.id),
        "" if line is None else line[1].note,
        remarks,
        about,
        rows,
        versions,
        in_force,
    )


def _covered(files: Configuration, rule_id: str, account_id: int | None) -> Iterator[str]:
    """Yield in which accounts a tighter rule makes this one pointless."""
    for account in files.accounts.enabled:
        tighter = files.covered_in(account.id).get(rule_id)
        if tighter is not None and account_id in (None, account.id):
            yield (
                f"account {account.id} ({files.label_of(account.id)}): without effect, as "
                f"{tighter} is at least as tight"
            )


def _found(files: Configuration, word: str) -> Rule:
    named = [r for r in files.rules if r.id == word] or [r for r in files.rules if r.rule == word]
    if len(named) == 1:
        return named[0]
    ids = [rule.id for rule in named or files.rules]
    if named:
        raise EditRefused(f"several rules are {word}; name one by its id: {', '.join(ids)}")
    close = suggestion(word, ids) or f"; there are {', '.join(ids) or 'none'}"
    raise EditRefused(f"no rule has the id {word}{close}")


def _accounts(files: Configuration) -> list[int]:
    return [account.id for account in files.accounts.accounts]


def _told(key: str, value: Any) -> str:
    return "all" if key == "accounts" and value is None else short(value)


def _origin(
    rule: Rule, key: str, values: dict[str, Any], before: dict[str, Any], written_in: str
) -> str:
    if values[key] != before.get(key):
        return "override"
    written = {field.alias or n: n for n, field in type(rule).model_fields.items()}
    return written_in if written.get(key, key) in rule.model_fields_set else "default"


def _versions(rule: Rule, rows: tuple[dict[str, Any], ...]) -> Iterator[str]:
    """Yield what holds today and from the reset on; nothing where no edit waits."""
    values = plain(rule)
    for row in rows:
        whose = f"account {row['account']} ({row['account_name']})"
        if row["counts_from"]:
            yield f"{whose}: these values count from {told_time(row['counts_from'])}"
        elif row["holds_until"]:
            older = row["values"].items()
            differ = [f"{k} {short(v)}" for k, v in older if k != "id" and v != values.get(k)]
            yield (
                f"{whose}: until {told_time(row['holds_until'])} there holds as well: "
                f"{', '.join(differ) or row['limits']}"
            )
