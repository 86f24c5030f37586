"""All limits in force, compiled: which rules each account answers to, in the order asked."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay

if TYPE_CHECKING:
    from risk_manager.domain.rule import Rule


UNTIL_RESET = " (until the reset)"
"""Suffix of the id of an older, stricter version of a rule that an edit has loosened. The older
version holds until the reset."""
_OLDER = re.compile(r" \(until the reset(?:, (\d+))?\)$")


def older_id(rule_id: str, number: int = 1) -> str:
    """Return the id of an older version of a rule; `number` counts those of the day."""
    return rule_id + (UNTIL_RESET if number == 1 else f"{UNTIL_RESET[:-1]}, {number})")


def is_older(rule_id: str) -> bool:
    return _OLDER.search(rule_id) is not None


def older_number(rule_id: str) -> int:
    """Return which of the day's older versions this is; 0 for a rule that is none."""
    found = _OLDER.search(rule_id)
    return 0 if found is None else int(found[1] or 1)


def origin_id(rule_id: str) -> str:
    """Return the id of the rule that this is a version of."""
    return _OLDER.sub("", rule_id)


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"  # decide and report, send nothing to the broker


class PriceBasis(StrEnum):
    """The price at which a position is valued."""

    EXECUTABLE = "executable"  # a long at the bid, a short at the ask
    LAST = "last"
    MID = "mid"
    WORST = "worst"  # the least favourable of bid, ask and last


class PnlBasis(StrEnum):
    NET = "net"  # after fees
    GROSS = "gross"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Settings that all rules share unless they say otherwise."""

    mode: Mode = Mode.ENFORCE
    flatten_after: timedelta | None = None  # on missing prices; None holds
    quote_max_age: timedelta = timedelta(seconds=10)
    pnl_price: PriceBasis = PriceBasis.EXECUTABLE
    pnl_basis: PnlBasis = PnlBasis.NET
    reissue_after: timedelta = timedelta(seconds=3)
    max_attempts: int = 6
    max_calls_a_minute: int = 60
    """More enforcement calls than this for one account put the brake on (see `call_brake`)."""
    keep_reducing_fills: bool = False
    """A lockout lets a market order that only reduces the position fill first, and does not close
    beside it (foreign_fill_policy: reduce_only_ok)."""


class Expiry(NamedTuple):
    """Dated data that a rule goes by, such as a calendar file, and from when on it says nothing."""

    rule_id: str
    data: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class AccountRules:
    """The rules of one account, lowest rank first whatever their order in the file."""

    mode: Mode = Mode.ENFORCE
    rules: tuple["Rule", ...] = ()
    price_rules: tuple["Rule", ...] = ()
    waiting: frozenset[str] = frozenset()
    """The ids of rules without effect before the reset, as an older version is at least as
    strict."""
    on_live: frozenset[str] = frozenset()
    """The ids of rules that are enforced on a live funded account too (enforce_on_live)."""
    judged_with: frozenset[int] = frozenset()
    """The accounts to be judged when this one changes, as a rule looks at all of them together."""
    expiries: tuple[Expiry, ...] = ()

    @classmethod
    def of(
        cls,
        rules: Iterable["Rule"],
        mode: Mode = Mode.ENFORCE,
        *,
        on_live: frozenset[str] = frozenset(),
    ) -> "AccountRules":
        ordered = tuple(sorted(rules, key=lambda r: (r.rank, r.spec_id, r.id)))
        return cls(
            mode,
            ordered,
            tuple(r for r in ordered if r.uses_prices),
            on_live=on_live,
            judged_with=frozenset[int]().union(*(r.group for r in ordered)),
            expiries=tuple(
                Expiry(r.id, r.data_name, r.data_ends_at)
                for r in ordered
                if r.data_ends_at is not None
            ),
        )

    def enforces(self, rule: "Rule", *, simulated: bool | None) -> bool:
        """Whether a rule acts, and does not only tell, on an account that is `simulated`.

        None: the platform has not stated it. Such an account is guarded as configured.
        """
        if rule.shadow or self.mode is Mode.SHADOW:
            return False
        return simulated is not False or rule.id in self.on_live

    def leaves_alone(self, *, simulated: bool | None) -> bool:
        """Whether the account is live and nothing may be automated there."""
        return simulated is False and not self.on_live

    def mode_of(self, *, simulated: bool | None) -> Mode:
        """Return the mode in effect."""
        return Mode.SHADOW if self.leaves_alone(simulated=simulated) else self.mode


NO_RULES = AccountRules()


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules and settings in force, with a digest of the configuration they came from."""

    accounts: Mapping[int, AccountRules] = field(default_factory=lambda: MappingProxyType({}))
    day: TradingDay = field(default_factory=TradingDay)
    symbols: Symbols = field(default_factory=Symbols)
    calendar: MarketCalendar = field(default_factory=MarketCalendar)
    defaults: Defaults = field(default_factory=Defaults)
    digest: str = ""

    def for_account(self, account_id: int) -> AccountRules:
        return self.accounts.get(account_id, NO_RULES)

    def acting(self, account_id: int) -> frozenset[str]:
        """Return the ids of the rules that are enforced. A shadow rule sets and ends no lock."""
        rules = self.for_account(account_id)
        if rules.mode is Mode.SHADOW:
            return frozenset()
        return frozenset(rule.id for rule in rules.rules if not rule.shadow)
