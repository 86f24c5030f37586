"""EXTRA-007: do not give back the profit of the day."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.closed_now import open_result, to_go_if_closed
from risk_manager.rules.day_peak import DayPeakRule

Fraction = Annotated[Decimal, Field(gt=0, le=1)]
WARN_FROM = Decimal("0.8")


class Giveback(DayPeakRule):
    """Armed once the day has made `arm_at`. Then a fraction or an amount may be given back."""

    spec_id: ClassVar[str] = "EXTRA-007"
    title: ClassVar[str] = "Profit given back"

    rule: Literal["giveback"] = "giveback"
    arm_at: Decimal = Field(gt=0, decimal_places=2)
    """The profit of the day that arms the rule."""
    fraction: Fraction | None = None
    amount: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    """The fall below the best of the day at which an armed rule acts; instead of `fraction`."""
    include_unrealized: bool = True
    """true: the P&L of open positions counts as well."""

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.fraction is None) == (self.amount is None):
            raise ValueError("write either fraction, as 0.4, or amount, as 300")
        return self

    def in_words(self) -> str:
        counted = "open positions included" if self.include_unrealized else "closed trades only"
        if self.fraction is not None:
            part = f"{(self.fraction * 100).normalize():f} % of its best result"
        else:
            part = f"{dollars(self.amount or ZERO)} of its best result"
        return (
            f"Once the trading day has made {dollars(self.arm_at)} ({counted}), giving back "
            f"{part} ends it: {self.what_follows()}"
        )

    def is_stricter_than(self, other: Self) -> bool:
        if not self.same_but(other, "arm_at", "fraction", "amount"):
            return False
        if not self.ends_the_day_for_good or self.arm_at > other.arm_at:
            return False
        if self.fraction is not None and other.fraction is not None:
            return self.fraction <= other.fraction
        if self.amount is not None and other.amount is not None:
            return self.amount <= other.amount
        return False

    @property
    def first_peak(self) -> Decimal:
        return self.arm_at

    @property
    def counts_open(self) -> bool:
        return self.include_unrealized

    @property
    def peak_counts_open(self) -> bool:
        return self.include_unrealized

    def floor_below(self, peak: Decimal) -> Decimal:
        return peak - self._may_give_back(peak)

    def _may_give_back(self, peak: Decimal) -> Decimal:
        return peak * self.fraction if self.fraction is not None else self.amount or ZERO

    def why(self, result: Decimal, peak: Decimal, floor: Decimal, doubts: str) -> str:
        return (
            f"the day had made {dollars(peak)} and is back at {dollars(result)}{doubts}, "
            f"floor {dollars(floor)}"
        )

    def meter(self, view: View) -> Meter:
        peak, result = self.peak(view), self.result(view).known
        if peak is None:
            return self._unarmed(view, result)
        floor, may_give = self.floor_below(peak), self._may_give_back(peak)
        if result is None:
            state, sentence, given = (
                MeterState.UNKNOWN,
                "no trusted price for an open position",
                None,
            )
        else:
            given = max(peak - result, ZERO)
            state = MeterState.WARN if given >= WARN_FROM * may_give else MeterState.OK
            sentence = (
                f"armed: {dollars(given)} of {dollars(peak)} given back, "
                f"ends the day at {dollars(floor)}"
            )
            if not self.include_unrealized:
                sentence += self._if_closed(view, result, peak)
            if result <= floor:
                state = MeterState.BREACH
                sentence = f"floor reached: {dollars(given)} of {dollars(peak)} given back"
        meter = self.reading(
            current=given, limit=may_give, unit="USD", sentence=sentence, state=state
        )
        return self.on_the_day(view, meter, floor)

    def _if_closed(self, view: View, result: Decimal, peak: Decimal) -> str:
        open_pnl = open_result(view)
        if open_pnl is None:
            return ""
        result += open_pnl
        if result <= self.floor_below(peak):
            return "; closed now, floor reached"
        return f"; closed now, {dollars(max(peak - result, ZERO))} given back"

    def _unarmed(self, view: View, result: Decimal | None) -> Meter:
        """Until it is armed nothing can be given back."""
        limit = self._may_give_back(self.arm_at)
        if result is None:
            return self.reading(
                current=None,
                limit=limit,
                unit="USD",
                sentence="no trusted price for an open position",
                state=MeterState.UNKNOWN,
            )
        to_go = self.arm_at - result
        sentence = f"armed at {dollars(self.arm_at)}, {dollars(to_go)} to go"
        if not self.include_unrealized:
            sentence += to_go_if_closed(view, to_go, "armed")
        return self.reading(current=ZERO, limit=limit, unit="USD", sentence=sentence)
