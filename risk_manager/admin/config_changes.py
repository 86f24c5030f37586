"""The difference between the limits in force and the files, what waits, and how to drop it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import is_older, older_number, origin_id
from risk_manager.settings import rule_edits
from risk_manager.settings.changes import Change, When, changes, differences
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration, plain
from risk_manager.settings.documents import Document, parse
from risk_manager.settings.effects import Effect, of_rule, of_shared, rule_of
from risk_manager.settings.loading import ACCOUNTS, CALENDAR, RISK_CONFIG, load_texts
from risk_manager.settings.preset_entries import OWN, PRESET
from risk_manager.settings.rule_entries import merge
from risk_manager.settings.yaml_edits import Edit

LIMITS_FILE = "limits.json"
_SHARED_SECTIONS = ("defaults", "trading_day", "calendar", "symbols")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The changed fields, and the reset from which those that wait count."""

    changes: tuple[Change, ...]
    reset: datetime | None

    def plain(self) -> dict[str, Any]:
        reset = None if self.reset is None else self.reset.isoformat()
        return {"changes": [change.plain() for change in self.changes], "next_reset": reset}


@dataclass(frozen=True, slots=True)
class Committed:
    """The limits the daemon last had in force, on the trading date of `now`."""

    commitment: Commitment
    today: date
    now: datetime

    @classmethod
    def read(cls, data: Path, now: datetime) -> "Committed | None":
        """Read them from a data folder; None if no daemon has run, or they cannot be read."""
        try:
            found = Commitment.read((data / LIMITS_FILE).read_text("utf-8"))
            today = found.trading_date(now)
        except (OSError, ValueError):
            return None
        standing = cls.of(found, today, now)
        return standing if standing.commitment.newest_read() is not None else None

    @classmethod
    def of(cls, commitment: Commitment, today: date, now: datetime) -> "Committed":
        """Return the limits of a commitment as of this trading date."""
        return cls(commitment.as_of(today), today, now)

    def newest(self, like: Configuration) -> Configuration:
        """Return the configuration last read, with the settings of another one."""
        newest = self.commitment.newest_read()
        return like if newest is None else replace(newest, settings=like.settings)

    def compared_with(self, files: Configuration) -> Comparison:
        """Return each field of the files that differs, and when it would count."""
        before = self.newest(files)
        after = self.commitment.after_reading(files, self.today)
        found = changes(before, before, files, after.rulebook(files))
        return Comparison(tuple(found), self.commitment.next_reset(self.now))

    def waiting(self) -> Comparison:
        """Return the fields that have been read and wait for the reset."""
        began, newest = self.commitment.began_with(), self.commitment.newest_read()
        if began is None or newest is None or self.commitment.waiting is None:
            return Comparison((), None)
        found = changes(began, began, newest, self.commitment.rulebook(newest))
        waits = (c for c in found if c.when in (When.RESET, When.BOTH))
        return Comparison(tuple(waits), self.commitment.next_reset(self.now))

    def kept(self, files: Configuration | None = None) -> tuple[str, ...]:
        """Return the rules of which an older version holds until the reset.

        With `files`, those of which one would hold if these files were read now.
        """
        found = files or self.commitment.newest_read()
        if found is None:
            return ()
        commitment = self.commitment.after_reading(found, self.today) if files else self.commitment
        return commitment.kept_today(found)

    def without_what_waits(self, files: Configuration) -> dict[str, Edit]:
        """Return the edits that drop from the files what would wait for the reset.

        A field that tightens a limit stays as it is. For each rule the version is taken back that
        still holds today.
        """
        commitment = self.commitment.after_reading(files, self.today)
        began = commitment.began_with()
        if commitment.waiting is None or began is None:
            return {}
        return _Restoring(commitment, began, files).edits()


class _Restoring:
    """The edits that put older limits back into the files."""

    def __init__(self, commitment: Commitment, began: Configuration, files: Configuration) -> None:
        self._versions = {1: commitment.in_force, **commitment.between}
        self._book = commitment.rulebook(files)
        self._began, self._files = began, files

    def edits(self) -> dict[str, Edit]:
        found: dict[str, Edit] = {RISK_CONFIG: self._edit_limits, ACCOUNTS: self._edit_accounts}
        old, new = (c.limits()["exchange_days"] for c in (self._began, self._files))
        if old != new and CALENDAR in self._files.texts:
            found[CALENDAR] = self._edit_calendar
        return found

    def _edit_calendar(self, data: Any) -> None:
        _restore(data, _raw(self._began.texts, CALENDAR))

    def _edit_limits(self, data: Any) -> None:
        began = _raw(self._began.texts, RISK_CONFIG)
        old, new = self._began.limits(), self._files.limits()
        for section in _SHARED_SECTIONS:
            for key, was, now in differences(old[section], new[section], section):
                if of_shared(key, was, now) is not Effect.TIGHTER:
                    _restore_at(data, began, tuple(key.split(".")))
        self._edit_modes(data, began)
        for rule_id, number in self._older_versions().items():
            texts = self._versions[number]
            version, raw = load_texts(Path(), texts), _raw(texts, RISK_CONFIG)
            if (found := version.line_of(rule_id)) is not None:
                _restore_preset(data, raw, found[0].preset)
                continue
            _restore_rule(data, raw, rule_id, version, self._files)
            self._edit_overrides(data, rule_id, number)

    def _edit_modes(self, data: Any, began: Any) -> None:
        for account in self._began.accounts.enabled:
            was, now = (c.mode_of(account.id) for c in (self._began, self._files))
            if was != now and was == "enforce":
                section = rule_edits.account_section(data, account.id)
                raw = began.get("accounts") or {}
                own = (raw.get(str(account.id)) or {}).get("mode")
                if own is not None:
                    section["mode"] = own
                else:
                    section.pop("mode", None)
                if not section:
                    del data["accounts"][str(account.id)]

    def _edit_overrides(self, data: Any, rule_id: str, number: int) -> None:
        """Put back what an account set for a rule, where the rule alone is not as strict."""
        texts = self._versions[number]
        version, raw = load_texts(Path(), texts), _raw(texts, RISK_CONFIG)
        old_entry = _entry(raw, rule_id)
        entry = _entry(data, rule_id)
        if entry is None or old_entry is None:
            return
        for account_id in {*version.overridden, *self._files.overridden}:
            was = rule_edits.override_of(raw, old_entry, account_id)
            now = rule_edits.override_of(data, entry, account_id)
            if was == now:
                continue
            old = rule_of(version, rule_id, account_id)
            if old is None or _covers(entry, now, old):
                continue
            rule_edits.replace_override(data, entry, account_id, was)

    def _older_versions(self) -> dict[str, int]:
        """Return each rule of which an older version holds, and the newest such version."""
        found: dict[str, int] = {}
        for own in self._book.accounts.values():
            for rule in own.rules:
                if is_older(rule.id):
                    rule_id = origin_id(rule.id)
                    found[rule_id] = max(found.get(rule_id, 0), older_number(rule.id))
        return found

    def _edit_accounts(self, data: Any) -> None:
        began = _raw(self._began.texts, ACCOUNTS)
        if self._began.accounts.unlisted == "enforce":
            data["unlisted"] = "enforce"
        for account in self._began.accounts.enabled:
            listed = next((a for a in data["accounts"] if a["id"] == account.id), None)
            if listed is None:
                raw = next(a for a in began["accounts"] if a["id"] == account.id)
                data["accounts"].append(raw)
            elif listed.get("enabled") is False:
                listed["enabled"] = True


def _restore_rule(
    data: Any, old_data: Any, rule_id: str, version: Configuration, files: Configuration
) -> None:
    """Put a rule back as in a version, except fields that tighten it."""
    raw = _entry(old_data, rule_id)
    if raw is None:
        return  # trading_day.flat_by, which is put back with its section
    entry = _entry(data, rule_id)
    if entry is None:
        rule_edits.own_rules(data).append(raw)
        return
    was, now = rule_of(version, rule_id, None), rule_of(files, rule_id, None)
    for path in _loosened(was, now):
        _restore_at(entry, raw, path)
    if was is not None and not _covers(entry, None, was):
        _restore(entry, raw)


def _restore_preset(data: Any, old_data: Any, name: str) -> None:
    """Put the entry of a preset back as it was."""
    old, now = (
        next((e for e in rule_edits.preset_entries(d) if e[PRESET] == name), None)
        for d in (old_data, data)
    )
    if old is None:
        return
    written = {key: value for key, value in old.items() if key != OWN}
    if now is None:
        if isinstance(data["rules"], Mapping):
            _as_list_of_rules(data)
        data["rules"].append(written)
        return
    for key in [key for key in now if key not in (*written, OWN)]:
        del now[key]
    now.update(written)


def _as_list_of_rules(data: Any) -> None:
    """Write a preset with its own rules as a list, which has room for another preset."""
    preset = {key: value for key, value in data["rules"].items() if key != OWN}
    data["rules"] = [preset, *rule_edits.own_rules(data)]


def _loosened(was: Rule | None, now: Rule | None) -> Iterator[tuple[str, ...]]:
    for key, _, _ in differences(plain(was), plain(now)):
        path = tuple(key.split("."))
        if of_rule(was, now, path) is not Effect.TIGHTER:
            yield path


def _covers(entry: Any, override: Any, old: Rule) -> bool:
    """Whether the rule as it would be written is at least as strict as the old one."""
    try:
        made = type(old).model_validate(merge(_plain_data(entry), _plain_data(override or {})))
    except ValueError:
        return False
    return made.covers(old)


def _restore(data: Any, old: Mapping[str, Any]) -> None:
    for key in [key for key in data if key not in old]:
        del data[key]
    data.update(old)


def _restore_at(data: Any, old: Any, path: tuple[str, ...]) -> None:
    """Set the value at a path as in the old data, or remove it where that has none."""
    for length in range(1, len(path) + 1):
        name = path[length - 1]
        if not isinstance(old, Mapping) or name not in old:
            data.pop(name, None)
            return
        below, before = data.get(name), old[name]
        if length == len(path) or not (isinstance(below, Mapping) and isinstance(before, Mapping)):
            data[name] = before
            return
        data, old = below, before


def _entry(data: Any, rule_id: str) -> Any:
    return next((e for e in rule_edits.entries(data) if rule_edits.id_of(e) == rule_id), None)


def _plain_data(data: Any) -> dict[str, Any]:
    return {str(key): value for key, value in data.items()}


def _raw(texts: Mapping[str, str], name: str) -> Any:
    document = Document(name)
    parse(document, texts.get(name, "").encode())
    return document.data or {}
