"""Limits once in force stay in force until the next reset: what an edit may change today.

Nobody has to judge whether an edit loosens: until the reset the old limits and the new ones hold
together, so that whichever is tighter decides. A tightening works at once, a loosening tomorrow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import NO_RULES, UNTIL_RESET, AccountRules, Mode, Rulebook
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load_texts
from risk_manager.settings.problems import ConfigurationErrors

Texts = Mapping[str, str]


def combined(old: Rulebook, new: Rulebook) -> Rulebook:
    """Both in force at once. What is shared by all rules stays as it was until the reset."""
    accounts = {
        account_id: _both(old.for_account(account_id), new.for_account(account_id))
        for account_id in old.accounts.keys() | new.accounts.keys()
    }
    return replace(
        old,
        accounts=MappingProxyType(accounts),
        symbols=replace(old.symbols, groups={**old.symbols.groups, **new.symbols.groups}),
        digest=f"{old.digest}+{new.digest}",
    )


def _both(old: AccountRules, new: AccountRules) -> AccountRules:
    if old is NO_RULES or old.mode is Mode.SHADOW:
        return new  # nothing was in force
    kept = [rule for rule in old.rules if not rule.shadow and rule not in new.rules]
    if new.mode is Mode.SHADOW:
        # Not one new rule may act before tomorrow, and not one old rule may stop today.
        told = [rule.model_copy(update={"shadow": True}) for rule in new.rules]
        return AccountRules.of([*told, *map(_until_reset, old.rules)], Mode.ENFORCE)
    return AccountRules.of([*new.rules, *map(_until_reset, kept)], Mode.ENFORCE)


def _until_reset(rule: Rule) -> Rule:
    return rule.model_copy(update={"id": rule.id + UNTIL_RESET})


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """Which limits are in force, and which wait for a trading date after `since`."""

    in_force: Texts
    waiting: Texts | None = None
    since: date | None = None

    @classmethod
    def read(cls, text: str) -> "Commitment":
        """From the text kept in the database. Raises ValueError for anything else."""
        return _COMMITMENT.validate_json(text)

    def text(self) -> str:
        return _COMMITMENT.dump_json(self).decode()

    @property
    def is_readable(self) -> bool:
        """Whether this version understands the limits that were in force."""
        return _meant(self.in_force) is not None

    def trading_date(self, now: datetime) -> date:
        """The date by the trading day in force; an edited one is not, before the reset."""
        in_force = _meant(self.in_force)
        if in_force is None:
            raise ValueError("the limits in force cannot be read")
        return in_force.rulebook().day.date_of(now)

    def after_reading(self, found: Configuration, today: date) -> "Commitment":
        """What holds once the files say `found` on this trading date."""
        old = _meant(self.in_force)
        if old is None or old.digest == found.digest:
            return Commitment(in_force=found.texts)
        if self.waiting is not None and self.since is not None and today > self.since:
            if self._waits_for(found):
                return Commitment(in_force=found.texts)
            # What waited is in force by now; the files have been edited once more since.
            return Commitment(in_force=self.waiting, waiting=found.texts, since=today)
        since = self.since if self._waits_for(found) else today
        return Commitment(in_force=self.in_force, waiting=found.texts, since=since)

    def _waits_for(self, found: Configuration) -> bool:
        waited = None if self.waiting is None else _meant(self.waiting)
        return waited is not None and waited.digest == found.digest

    def rulebook(self, found: Configuration, unlisted: frozenset[int] = frozenset()) -> Rulebook:
        """The rules to enforce now."""
        new = found.rulebook(unlisted)
        if self.waiting is None:
            return new
        old = _meant(self.in_force)
        return new if old is None else combined(old.rulebook(unlisted), new)

    def kept_today(self, found: Configuration) -> tuple[str, ...]:
        """The rules whose older version still holds, for telling people."""
        old = None if self.waiting is None else _meant(self.in_force)
        if old is None:
            return ()
        new_rules = {r for i in _ids(old, found) for r in map(_named, found.rules_of(i))}
        return tuple(
            dict.fromkeys(
                rule.id
                for account_id in _ids(old, found)
                for rule in old.rules_of(account_id)
                if _named(rule) not in new_rules
            )
        )


_COMMITMENT = TypeAdapter(Commitment)


def _ids(*configurations: Configuration) -> list[int]:
    return sorted({a.id for c in configurations for a in c.accounts.enabled})


def _named(rule: Rule) -> str:
    return rule.model_dump_json()


def _meant(texts: Texts) -> Configuration | None:
    """What these texts meant; None when this version cannot read them any more."""
    return _read_once(tuple(sorted(texts.items())))


@lru_cache(maxsize=8)
def _read_once(texts: tuple[tuple[str, str], ...]) -> Configuration | None:
    try:
        return load_texts(Path(), dict(texts))
    except ConfigurationErrors:
        return None
