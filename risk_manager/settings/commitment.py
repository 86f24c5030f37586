"""Limits in force stay in force until the next reset, whatever an edit changes.

Nobody has to judge whether an edit loosens: until the reset the old limits and the new ones hold
together, so that the tighter one decides. A tightening works at once, a loosening after the reset.
With several edits in a day all their versions hold together, except those that another implies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import TypeAdapter

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import (
    NO_RULES,
    AccountRules,
    Mode,
    Rulebook,
    is_older,
    older_id,
    origin_id,
)
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load_texts
from risk_manager.settings.problems import ConfigurationErrors

Texts = Mapping[str, str]


def combined(*versions: Rulebook) -> Rulebook:
    """Put all versions in force at once, oldest first. Shared settings stay as in the oldest."""
    numbered = dict(enumerate(versions[:-1], start=1))
    return _combined(numbered, versions[-1])


def _combined(older: Mapping[int, Rulebook], newest: Rulebook) -> Rulebook:
    """Combine versions. `older` is keyed by number; the lowest was in force the longest."""
    books = [book for _, book in sorted(older.items())]
    oldest = books[0]
    account_ids = {i for book in (*books, newest) for i in book.accounts}
    groups = {n: g for book in (newest, *reversed(books)) for n, g in book.symbols.groups.items()}
    return replace(
        oldest,
        accounts=MappingProxyType(
            {
                i: _together({n: b.for_account(i) for n, b in older.items()}, newest.for_account(i))
                for i in account_ids
            }
        ),
        symbols=replace(oldest.symbols, groups=groups),
        digest="+".join(book.digest for book in (*books, newest)),
    )


def _together(older: Mapping[int, AccountRules], newest: AccountRules) -> AccountRules:
    """Return the newest rules, and every older version that could be the stricter one."""
    kept = _kept(older, newest)
    was_enforced = any(map(_is_enforced, older.values()))
    if not kept and (newest.mode is Mode.ENFORCE or not was_enforced):
        return newest
    beside = [
        (old.rule.model_copy(update={"id": older_id(old.rule.id, n)}), old) for n, old in kept
    ]
    rules = newest.rules
    if newest.mode is Mode.SHADOW:
        # No new rule may act before the reset, and no old rule may stop before it.
        rules = tuple(rule.model_copy(update={"shadow": True}) for rule in rules)
    waiting = {
        rule.id
        for rule in rules
        if any(
            old.rule.id == rule.id and old.covers(_Acting(rule, rule.id in newest.on_live))
            for _, old in kept
        )
    }
    still_on_live = {version.id for version, old in beside if old.on_live}
    every = AccountRules.of(
        [*rules, *(version for version, _ in beside)],
        Mode.ENFORCE,
        on_live=newest.on_live | still_on_live,
    )
    return replace(every, waiting=frozenset(waiting))


class _Acting(NamedTuple):
    """A rule that is enforced, and whether on a live account too."""

    rule: Rule
    on_live: bool

    def covers(self, other: "_Acting") -> bool:
        return (self.on_live or not other.on_live) and self.rule.covers(other.rule)


def _kept(older: Mapping[int, AccountRules], newest: AccountRules) -> list[tuple[int, _Acting]]:
    """Return each older rule that no other rule covers, with the number of its version."""
    chosen = list(_acting(newest))
    kept: list[tuple[int, _Acting]] = []
    for number, version in sorted(older.items()):
        for rule in _acting(version):
            if any(other.covers(rule) for other in chosen):
                continue
            kept = [(n, r) for n, r in kept if not rule.covers(r)]
            kept.append((number, rule))
            chosen = [*_acting(newest), *(r for _, r in kept)]
    return kept


def _is_enforced(rules: AccountRules) -> bool:
    """Whether the account is guarded at all, be it by a lock that a person has set."""
    return rules is not NO_RULES and rules.mode is Mode.ENFORCE


def _acting(rules: AccountRules) -> tuple[_Acting, ...]:
    if rules.mode is Mode.SHADOW:
        return ()
    return tuple(_Acting(rule, rule.id in rules.on_live) for rule in rules.rules if not rule.shadow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """Which limits are in force, and which wait for a trading date after `since`.

    `in_force` are the limits with which the day began. `waiting` are those read last; they hold as
    well, and alone from the next trading date on. `between` are those read during the day and
    edited again since, by number: limits in force at any time of the day hold until its end.
    Versions that the others imply are dropped.
    """

    in_force: Texts
    waiting: Texts | None = None
    since: date | None = None
    between: Mapping[int, Texts] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "Commitment":
        """From the text kept in the database. Raises ValueError for anything else."""
        return _COMMITMENT.validate_json(text)

    def text(self) -> str:
        return _COMMITMENT.dump_json(self).decode()

    @property
    def is_readable(self) -> bool:
        """Whether this version understands the limits that were in force."""
        every = (*self._older().values(), self.newest())
        return all(_meant(texts) is not None for texts in every)

    def trading_date(self, now: datetime) -> date:
        """The date by the trading day in force; an edited one is not, before the reset."""
        return self._day().date_of(now)

    def next_reset(self, now: datetime) -> datetime:
        """Return when the waiting limits come into force."""
        return self._day().window(now).ends_at

    def _day(self) -> TradingDay:
        in_force = _meant(self.in_force)
        if in_force is None:
            raise ValueError("the limits in force cannot be read")
        return in_force.rulebook().day

    def _older(self) -> dict[int, Texts]:
        return {1: self.in_force, **self.between}

    def has_ended(self, today: date) -> bool:
        """Whether the waiting limits are in force by now, and nothing older is."""
        return self.waiting is not None and self.since is not None and today > self.since

    def began_with(self) -> Configuration | None:
        """The configuration the day began with; None when it cannot be read."""
        return _meant(self.in_force)

    def newest_read(self) -> Configuration | None:
        """The configuration last read, under settings as they ship."""
        return _meant(self.newest())

    def newest(self) -> Texts:
        return self.in_force if self.waiting is None else self.waiting

    def beside(self, other: "Commitment", today: date) -> "Commitment":
        """Add limits that were in force by another source. They never loosen anything."""
        base, theirs = self.as_of(today), other.as_of(today)
        older = base._older()
        for texts in (*theirs._older().values(), theirs.newest()):
            if texts not in (*older.values(), base.newest()):
                older[max(older) + 1] = texts
        del older[1]
        if not older:
            return base
        since = max(c.since or today for c in (base, theirs))
        return Commitment(
            in_force=base.in_force, waiting=base.newest(), since=max(since, today), between=older
        )

    def as_of(self, today: date) -> "Commitment":
        """Drop the limits that have ended by this trading date."""
        return Commitment(in_force=self.newest()) if self.has_ended(today) else self

    def day_began(self, day: date) -> datetime:
        """When a trading date began, by the trading day in force."""
        in_force = _meant(self.in_force)
        if in_force is None:
            raise ValueError("the limits in force cannot be read")
        return in_force.rulebook().day.began(day)

    def after_reading(self, found: Configuration, today: date) -> "Commitment":
        """Return the commitment after `found` was read from the files on this trading date."""
        fresh = Commitment(in_force=found.texts)
        if _meant(self.in_force) is None:
            return fresh
        if self.has_ended(today):
            # The files may have been edited once more since.
            return self.as_of(today).after_reading(found, today)
        if self.waiting is None and _is_same(self.in_force, found):
            return self
        older = self._older()
        if self.waiting is not None and not _is_same(self.waiting, found):
            older[max(older) + 1] = self.waiting
        return self._without_what_is_implied(older, found, today)

    def _without_what_is_implied(
        self, older: dict[int, Texts], found: Configuration, today: date
    ) -> "Commitment":
        books = {n: c.rulebook() for n, t in older.items() if (c := _meant(t)) is not None}
        newest = found.rulebook()
        for number in sorted(books.keys() - {1}):
            others = {n: b for n, b in books.items() if n != number}
            if _adds_nothing(books[number], others, newest):
                del books[number]
        kept = {number: older[number] for number in books}
        first = _meant(kept.pop(1))
        alone = first is not None and not kept and _shared(first) == _shared(found)
        if alone and _adds_nothing(books[1], {}, newest):
            return Commitment(in_force=found.texts)
        since = today if self.since is None else max(self.since, today)
        return Commitment(in_force=older[1], waiting=found.texts, since=since, between=kept)

    def rulebook(self, found: Configuration, unlisted: frozenset[int] = frozenset()) -> Rulebook:
        """The rules to enforce now."""
        new = found.rulebook(unlisted)
        if self.waiting is None:
            return new
        older = {n: c.rulebook(unlisted) for n, t in self._older().items() if (c := _meant(t))}
        return _combined(older, new) if 1 in older else new

    def kept_today(self, found: Configuration) -> tuple[str, ...]:
        """The rules of which an older version still holds, for telling people."""
        if self.waiting is None:
            return ()
        accounts = self.rulebook(found).accounts
        ids = [r.id for i in sorted(accounts) for r in accounts[i].rules if is_older(r.id)]
        return tuple(dict.fromkeys(map(origin_id, ids)))


def _is_same(texts: Texts, found: Configuration) -> bool:
    known = _meant(texts)
    return known is not None and known.digest == found.digest


def _adds_nothing(book: Rulebook, others: Mapping[int, Rulebook], newest: Rulebook) -> bool:
    """Whether this version is not stricter than the others in any account.

    Neither a rule of it nor the fact that it guards an account may add anything.
    """
    for account_id, rules in book.accounts.items():
        same = [other.for_account(account_id) for other in (*others.values(), newest)]
        if all(other is NO_RULES for other in same):
            return False
        if rules.mode is Mode.ENFORCE and not any(map(_is_enforced, same)):
            return False
        chosen = [rule for other in same for rule in _acting(other)]
        if not all(any(c.covers(rule) for c in chosen) for rule in _acting(rules)):
            return False
    return True


def _shared(configuration: Configuration) -> dict[str, object]:
    """Return the settings that the rules of all accounts share."""
    limits = configuration.limits()
    return {key: part for key, part in limits.items() if key not in ("rules", "accounts")}


_COMMITMENT = TypeAdapter(Commitment)


def _meant(texts: Texts) -> Configuration | None:
    """Load the configuration in these texts; None when this version cannot read them."""
    return _read_once(tuple(sorted(texts.items())))


@lru_cache(maxsize=32)
def _read_once(texts: tuple[tuple[str, str], ...]) -> Configuration | None:
    try:
        return load_texts(Path(), dict(texts))
    except ConfigurationErrors:
        return None
