"""The configuration in force, complete and valid."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Mode, Rulebook
from risk_manager.settings.accounts_file import AccountsFile
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.preset_entries import UsedPreset
from risk_manager.settings.preset_files import Preset, PresetLine
from risk_manager.settings.problems import Problem
from risk_manager.settings.risk_file import RiskFile
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.settings.settings_file import GatewaySettings, Settings


@dataclass(frozen=True, slots=True)
class Credentials:
    """The login of the gateway."""

    username: str
    api_key: SecretStr


@dataclass(frozen=True)
class Configuration:
    """All files of one folder, checked together.

    `rules` are the lines of presets, the entries as written and the rule that `trading_day` adds.
    `overridden` holds each account's own versions of rules, by account id and rule id. `texts` are
    the texts of the files that limit trading, exactly as read, and of the presets they use.
    `warnings` are findings that do not prevent a start.
    """

    folder: Path
    settings: Settings
    accounts: AccountsFile
    risk: RiskFile
    calendar: CalendarFile
    rules: tuple[Rule, ...]
    overridden: Mapping[int, Mapping[str, Rule]]
    texts: Mapping[str, str]
    warnings: tuple[Problem, ...] = ()
    presets: tuple[UsedPreset, ...] = ()

    def rules_of(self, account_id: int) -> tuple[Rule, ...]:
        """Return the enabled rules of an account, with its overrides applied.

        Of a line of a preset and a rule that covers it, or the other way round, only the tighter
        one is there.
        """
        rules, covered = self._enabled(account_id), self.covered_in(account_id)
        return tuple(rule for rule in rules if rule.id not in covered) if covered else rules

    def _enabled(self, account_id: int) -> tuple[Rule, ...]:
        own = self.overridden.get(account_id, {})
        merged = (own.get(rule.id, rule) for rule in self.rules)
        return tuple(rule for rule in merged if rule.applies_to(account_id))

    def covered_in(self, account_id: int) -> dict[str, str]:
        """Return the rules without effect in an account, each with the id of the tighter one.

        Only lines of presets cover, and are covered by, other rules here.
        """
        of_presets = {rule_id for used in self.presets for rule_id in used.rules}
        if not of_presets:
            return {}
        rules = self._enabled(account_id)
        found: dict[str, str] = {}
        for rule in rules:
            for other in rules:
                if (
                    rule.id != other.id
                    and other.id not in found
                    and (rule.id in of_presets or other.id in of_presets)
                    and not other.shadow
                    and _alike(other).covers(_alike(rule))
                ):
                    found[rule.id] = other.id
                    break
        return found

    def line_of(self, rule_id: str) -> tuple[Preset, PresetLine] | None:
        """Return the preset and its line that a rule comes from; None for a rule written out."""
        for used in self.presets:
            if (line := used.line_of(rule_id)) is not None:
                return used.preset, line
        return None

    def mode_of(self, account_id: int) -> Mode:
        section = self.risk.accounts.get(account_id)
        if section is None or section.mode is None:
            return self.risk.defaults.mode
        return section.mode

    def enforces_on_live(self, account_id: int) -> bool:
        """Whether the operator has allowed enforcement on this account even if it is live."""
        section = self.risk.accounts.get(account_id)
        return section is not None and section.enforce_on_live

    def _compiled(self, account_id: int) -> AccountRules:
        rules = self.rules_of(account_id)
        allowed = self.enforces_on_live(account_id)
        on_live = frozenset(rule.id for rule in rules if allowed)
        return AccountRules.of(rules, self.mode_of(account_id), on_live=on_live)

    def label_of(self, account_id: int) -> str:
        """Return the name of an account for people: its nickname, else its label, else its id."""
        listed = self.accounts.find(account_id)
        section = self.risk.accounts.get(account_id)
        return (
            (listed.nickname if listed else None)
            or (section.label if section else None)
            or str(account_id)
        )

    def rulebook(self, unlisted: Iterable[int] = ()) -> Rulebook:
        """Return the limits compiled for the enabled accounts.

        `unlisted` are further accounts of the login; they get the same rules where accounts.yaml
        says `unlisted: enforce`, and none otherwise.
        """
        ids = [account.id for account in self.accounts.enabled]
        if self.accounts.unlisted == "enforce":
            ids += [i for i in unlisted if self.accounts.find(i) is None]
        return Rulebook(
            accounts=MappingProxyType({i: self._compiled(i) for i in ids}),
            day=self.risk.trading_day.compiled(),
            symbols=self.risk.symbols.compiled(),
            calendar=market_calendar(
                self.calendar, self.risk.calendar, self.risk.trading_day.timezone
            ),
            defaults=self.risk.defaults.compiled(),
            digest=self.digest,
        )

    def credentials(self, env: Mapping[str, str]) -> Credentials:
        """Return the gateway login, read now. SecretUnavailable names everything missing."""
        return credentials_of(self.settings.gateway, self.folder, env)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that limits trading, whatever the spelling and order in a file."""
        return hashlib.sha256(json.dumps(self.limits(), sort_keys=True).encode()).hexdigest()

    def limits(self) -> dict[str, Any]:
        """Return the effective limits as plain data, with defaults and overrides applied."""
        listed = {account.id for account in self.accounts.accounts}
        return {
            "version": self.risk.version,
            "defaults": plain(self.risk.defaults),
            "trading_day": plain(self.risk.trading_day),
            "calendar": plain(self.risk.calendar),
            "exchange_days": plain(self.calendar),
            "symbols": plain(self.risk.symbols),
            "unlisted": self.accounts.unlisted,
            "rules": {rule.id: plain(rule) for rule in self.rules},
            "accounts": {
                str(account_id): {
                    "enabled": self._is_enabled(account_id),
                    "mode": str(self.mode_of(account_id)),
                    "enforce_on_live": self.enforces_on_live(account_id),
                    "rules": {rule.id: plain(rule) for rule in self._enabled(account_id)},
                }
                for account_id in sorted(listed | set(self.risk.accounts))
            },
        }

    def _is_enabled(self, account_id: int) -> bool:
        listed = self.accounts.find(account_id)
        return listed is not None and listed.enabled


def _alike(rule: Rule) -> Rule:
    """Return the rule without what names it, to compare what it does in one account."""
    return rule.model_copy(update={"id": "", "accounts": None})


def credentials_of(gateway: GatewaySettings, folder: Path, env: Mapping[str, str]) -> Credentials:
    """Return the login that a gateway section refers to, read now.

    `folder` is the configuration folder. SecretUnavailable names everything missing.
    """
    found: dict[str, SecretStr] = {}
    missing: list[str] = []
    for key, value in (("username", gateway.username), ("api_key", gateway.api_key)):
        if isinstance(value, str):  # a user name may stand in the file itself
            found[key] = SecretStr(value)
            continue
        try:
            found[key] = value.resolve(env, folder)
        except SecretUnavailable as error:
            missing.append(f"settings.yaml: gateway.{key}: {error}")
    if missing:
        raise SecretUnavailable(*missing)
    return Credentials(found["username"].get_secret_value(), found["api_key"])


def plain(part: Any) -> Any:
    """Return JSON-ready data for models and values; equal values give equal data."""
    if hasattr(part, "model_dump"):
        part = part.model_dump(mode="python", by_alias=True)
    match part:
        case Mapping():
            return {str(key): plain(value) for key, value in part.items()}
        case frozenset() | set():
            return sorted((plain(item) for item in part), key=str)
        case tuple() | list():
            return [plain(item) for item in part]
        case Decimal():
            return f"{part.normalize():f}"
        case timedelta():
            return plain_duration(part)
        case time():
            return part.strftime("%H:%M")
        case date():
            return part.isoformat()
        case bool() | int() | float() | None:
            return part
    return str(part)
