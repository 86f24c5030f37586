"""All limits in force, compiled: which rules each account answers to, in the order asked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay

if TYPE_CHECKING:
    from risk_manager.domain.rule import Rule


UNTIL_RESET = " (until the reset)"
"""Ends the id of an older version of a rule, which an edit has loosened: it holds until then."""
_OLDER = re.compile(r" \(until the reset(, \d+)?\)$")


def older_id(rule_id: str, number: int = 1) -> str:
    """The id of an older version of a rule: the first of the day, or a later one."""
    return rule_id + (UNTIL_RESET if number == 1 else f"{UNTIL_RESET[:-1]}, {number})")


def is_older(rule_id: str) -> bool:
    return _OLDER.search(rule_id) is not None


def origin_id(rule_id: str) -> str:
    """The id of the rule of which this is a version."""
    return _OLDER.sub("", rule_id)


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"  # decide and tell, touch nothing


class PriceBasis(StrEnum):
    """Which price a position is valued at."""

    EXECUTABLE = "executable"  # a long at the bid, a short at the ask
    LAST = "last"
    MID = "mid"
    WORST = "worst"  # the least favourable of bid, ask and last


class PnlBasis(StrEnum):
    NET = "net"  # after fees
    GROSS = "gross"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What all rules share unless they say otherwise."""

    mode: Mode = Mode.ENFORCE
    flatten_after: timedelta | None = None  # on missing prices; None holds
    quote_max_age: timedelta = timedelta(seconds=10)
    pnl_price: PriceBasis = PriceBasis.EXECUTABLE
    pnl_basis: PnlBasis = PnlBasis.NET
    reissue_after: timedelta = timedelta(seconds=3)
    max_attempts: int = 6
    max_calls_a_minute: int = 60
    """More enforcement calls for one account put the brake on (see `brake`)."""
    keep_reducing_fills: bool = False
    """A lockout lets a market order that only reduces fill first, instead of closing on top of it
    (foreign_fill_policy: reduce_only_ok)."""


@dataclass(frozen=True, slots=True)
class AccountRules:
    """The rules one account answers to, lowest rank first whatever the file's order."""

    mode: Mode = Mode.ENFORCE
    rules: tuple["Rule", ...] = ()
    price_rules: tuple["Rule", ...] = ()
    waiting: frozenset[str] = frozenset()
    """The ids of those that cannot count before the reset: an older version is as strict."""

    @classmethod
    def of(cls, rules: Iterable["Rule"], mode: Mode = Mode.ENFORCE) -> "AccountRules":
        ordered = tuple(sorted(rules, key=lambda r: (r.rank, r.spec_id, r.id)))
        return cls(mode, ordered, tuple(r for r in ordered if r.uses_prices))


NO_RULES = AccountRules()


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What is in force, with a digest of the configuration it came from."""

    accounts: Mapping[int, AccountRules] = field(default_factory=lambda: MappingProxyType({}))
    day: TradingDay = field(default_factory=TradingDay)
    symbols: Symbols = field(default_factory=Symbols)
    calendar: MarketCalendar = field(default_factory=MarketCalendar)
    defaults: Defaults = field(default_factory=Defaults)
    digest: str = ""

    def for_account(self, account_id: int) -> AccountRules:
        return self.accounts.get(account_id, NO_RULES)

    def acting(self, account_id: int) -> frozenset[str]:
        """The ids of the rules that are enforced: one in shadow can set no lock, nor end one."""
        rules = self.for_account(account_id)
        if rules.mode is Mode.SHADOW:
            return frozenset()
        return frozenset(rule.id for rule in rules.rules if not rule.shadow)
