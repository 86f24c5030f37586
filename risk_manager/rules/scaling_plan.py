"""EXTRA-006: the number of contracts follows the balance of the evening before."""

from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Verdict
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.view import View
from risk_manager.rules.max_contracts import MaxContracts


class Tier(BaseModel):
    """So many contracts from a balance on, or from a profit on. The first tier has neither."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_balance: Decimal | None = Field(default=None, decimal_places=2)
    """The tier counts from this balance on."""
    min_profit: Decimal | None = Field(default=None, decimal_places=2)
    """The tier counts from this profit above `start_balance` on."""
    max: PositiveInt
    """The most contracts in this tier."""


class ScalingPlan(Rule):
    """The tier is that of the balance at the end of the day before, and stays for the whole day."""

    spec_id: ClassVar[str] = "EXTRA-006"
    title: ClassVar[str] = "Scaling plan"

    rule: Literal["scaling_plan"] = "scaling_plan"
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)]
    """The most contracts, by the balance at the end of the day before."""
    start_balance: Decimal = Field(default=ZERO, decimal_places=2)
    count: Literal["minis", "micro_equivalents", "contracts"] = "minis"
    action: Literal["reduce_to_limit", "close_newest", "close_all"] = "reduce_to_limit"
    reduce_order: Literal["newest_first", "largest_first", "worst_pnl_first"] = "newest_first"
    cancel_entry_orders: bool = True
    """Entry orders are cancelled when the limit is exceeded."""

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        first, *others = self.tiers
        if first.min_balance is not None or first.min_profit is not None:
            raise ValueError("the first tier counts from the bottom: write only its max")
        for tier in others:
            if (tier.min_balance is None) == (tier.min_profit is None):
                raise ValueError("each further tier needs either min_balance or min_profit")
        starts = [self._starts_at(tier) for tier in others]
        if starts != sorted(set(starts)):
            raise ValueError("the tiers must be written in rising order")
        return self

    def _starts_at(self, tier: Tier) -> Decimal:
        if tier.min_balance is not None:
            return tier.min_balance
        return self.start_balance + (tier.min_profit or ZERO)

    def in_words(self) -> str:
        first, *others = self.tiers
        steps = [f"at most {first.max}"]
        steps += [f"{t.max} from {dollars(self._starts_at(t))}" for t in others]
        unit = self.count.replace("_", "-")
        return (
            f"By the balance at the end of the day before: {', '.join(steps)} ({unit}), for the "
            f"whole day. {self.limit_of(first.max).in_words().partition('. ')[2]}"
        )

    @property
    def rank(self) -> int:
        return 75

    def is_stricter_than(self, other: Self) -> bool:
        if not self.same_but(other, "tiers", "start_balance"):
            return False
        steps = [None, *(r._starts_at(t) for r in (self, other) for t in r.tiers[1:])]
        return all(self.allowed(step).max <= other.allowed(step).max for step in steps)

    def allowed(self, balance: Decimal | None) -> Tier:
        """Return the tier of a balance; None is below all steps."""
        found = self.tiers[0]
        for tier in self.tiers[1:]:
            if balance is not None and balance >= self._starts_at(tier):
                found = tier
        return found

    def lacks(self, account: Account) -> str:
        unknown = account.days.before(account.trading_date) is None
        return "the balance at the end of the day before is not known" if unknown else ""

    def lots(self, most: int, symbols: Symbols) -> int:
        """Return the number of a tier in micros where it counts minis."""
        return most * int(symbols.default_mini) if self.count == "minis" else most

    def limit_of(self, lots: int) -> MaxContracts:
        """Return the rule on contracts that so many lots come to, in micros unless contracts."""
        known = self._limits.get(lots)
        if known is None:
            known = self._limits[lots] = MaxContracts(
                id=self.id,
                limit=lots,
                count="gross" if self.count == "contracts" else "micro_equivalents",
                action=self.action,
                reduce_order=self.reduce_order,
                cancel_entry_orders=self.cancel_entry_orders,
            )
        return known

    @cached_property
    def _highest_tier(self) -> int:
        return max(t.max for t in self.tiers)

    @cached_property
    def _limits(self) -> dict[int, MaxContracts]:
        return {}

    def _always_allowed(self, view: View) -> Decimal:
        """Return how many contracts are within the limit of today, whichever products they are."""
        account, rulebook = view.account, view.state.rulebook
        memo, today = account.days.memo, account.trading_date
        known = memo.get(self.id)
        if known is None or known[0] is not self or known[1] is not rulebook or known[2] != today:
            limit = self._in_force(view)[0].limit
            known = memo[self.id] = (self, rulebook, today, limit // self._heaviest(rulebook))
        most: Decimal = known[3]
        return most

    def _heaviest(self, rulebook: Rulebook) -> Decimal:
        """Return the most that one contract of any product counts as."""
        if self.count == "contracts":
            return Decimal(1)
        symbols = rulebook.symbols
        return max(symbols.default_mini, symbols.default_micro, *symbols.weights.values())

    def _in_force(self, view: View) -> tuple[MaxContracts, Decimal | None]:
        """Return the limit of today and the balance it follows from.

        While the balance is unknown, only what exceeds every tier is certain to be too much.
        """
        balance = view.account.days.before(view.account.trading_date)
        most = self._highest_tier if balance is None else self.allowed(balance).max
        return self.limit_of(self.lots(most, view.state.rulebook.symbols)), balance

    def judge(self, view: View) -> Verdict | None:
        positions = view.account.positions
        if not positions:
            return None
        if sum([abs(p.net) for p in positions.values()]) <= self._always_allowed(view):
            return None  # the usual case
        limit, balance = self._in_force(view)
        verdict = limit.judge(view)
        if verdict is None:
            return None
        by = "by its highest tier" if balance is None else f"at a balance of {dollars(balance)}"
        return replace(verdict, reason=f"scaling plan {by}: {verdict.reason}")

    def meter(self, view: View) -> Meter:
        limit, balance = self._in_force(view)
        meter = limit.meter(view)
        if balance is None:
            state = MeterState.BREACH if meter.state is MeterState.BREACH else MeterState.UNKNOWN
            sentence = f"{meter.sentence}; {self.lacks(view.account)}, the highest tier counts"
        else:
            state, sentence = (
                meter.state,
                f"{meter.sentence}; today's tier is of {dollars(balance)}",
            )
        return self.reading(
            current=meter.current,
            limit=meter.limit,
            unit=meter.unit,
            sentence=sentence,
            state=state,
        )
