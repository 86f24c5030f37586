"""EXTRA-002: stop for the day at a loss measured from the best of the day."""

from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.day_peak import DayPeakRule

WARN_FROM = Decimal("0.8")


class TrailingDailyLoss(DayPeakRule):
    """The day begins at zero, which is its first peak. A fall of exactly the limit breaches."""

    spec_id: ClassVar[str] = "EXTRA-002"
    title: ClassVar[str] = "Loss from the day's best"

    rule: Literal["trailing_daily_loss"] = "trailing_daily_loss"
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The fall below the best of the day at which the rule acts."""
    trail: Literal["unrealized", "realized"] = "unrealized"

    def in_words(self) -> str:
        best = {
            "unrealized": "its best result of the trading day, open positions included",
            "realized": "its best result of closed trades in the trading day",
        }[self.trail]
        return (
            f"When the account, open positions included, falls {dollars(self.limit)} below {best} "
            f"(at least zero), {self.what_follows()}"
        )

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit")
            and self.limit < other.limit
            and self.ends_the_day_for_good
        )

    @property
    def first_peak(self) -> Decimal:
        return ZERO

    @property
    def counts_open(self) -> bool:
        return True

    @property
    def peak_counts_open(self) -> bool:
        return self.trail == "unrealized"

    def peak(self, view: View) -> Decimal:
        return super().peak(view) or ZERO

    def floor_below(self, peak: Decimal) -> Decimal:
        return peak - self.limit

    def why(self, result: Decimal, peak: Decimal, floor: Decimal, doubts: str) -> str:
        return (
            f"{dollars(peak - result)} below the day's best of {dollars(peak)}{doubts}, "
            f"limit {dollars(self.limit)}"
        )

    def meter(self, view: View) -> Meter:
        peak, result = self.peak(view), self.result(view).known
        floor = self.floor_below(peak)
        if result is None:
            state, sentence, fallen = (
                MeterState.UNKNOWN,
                "no trusted price for an open position",
                None,
            )
        else:
            fallen = max(peak - result, ZERO)
            left = result - floor
            state = MeterState.WARN if fallen >= WARN_FROM * self.limit else MeterState.OK
            sentence = (
                f"{dollars(left)} left above {dollars(floor)}; the day's best is {dollars(peak)}"
            )
            if left <= 0:
                state = MeterState.BREACH
                sentence = (
                    f"limit reached: {dollars(fallen)} below the day's best of {dollars(peak)}"
                )
        meter = self.reading(
            current=fallen, limit=self.limit, unit="USD", sentence=sentence, state=state
        )
        return self.on_the_day(view, meter, floor)
