"""EXTRA-005: stop for the day at a profit."""

from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.decisions import Verdict
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.closed_now import to_go_if_closed
from risk_manager.rules.day_result import DayResultRule


class DailyProfitTarget(DayResultRule):
    """A profit of exactly the target ends the day. A profit that cannot be known does not count.

    Only the certain part counts: for a contract without a fresh price, a move against the position
    by its range of the day is subtracted.
    """

    spec_id: ClassVar[str] = "EXTRA-005"
    title: ClassVar[str] = "Profit today"
    reached: ClassVar[str] = "reached"

    rule: Literal["daily_profit_target"] = "daily_profit_target"
    target: Decimal = Field(gt=0, decimal_places=2)
    """The profit of the day at which the rule acts."""

    def in_words(self) -> str:
        made = self._of_the_day(f"At a profit of {dollars(self.target)}")
        return f"{made} {self._what_follows()}"

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "target")
            and self.target < other.target
            and self._answers_for_the_whole_day
        )

    def judge(self, view: View) -> Verdict | tuple[Verdict, ...] | None:
        waits, kept = self.settling(view)
        if waits:
            return kept or None
        result, doubts = self.day_result(view), ""
        if result is None:
            between = self.day_between(view)
            if between.least is None or between.least < self.target:
                return kept or None
            result, doubts = between.likely, f" ({between.doubts})"
        if result < self.target:
            return (*kept, *self.armed_anew(view)) or None
        reason = f"made {dollars(result)} today{doubts}, target {dollars(self.target)}"
        ended = self.end_the_day(view, result, reason)
        return (*kept, ended) if kept and ended is not None else ended

    def meter(self, view: View) -> Meter:
        result = self.day_result(view)
        state = MeterState.OK
        if result is None:
            current, state = None, MeterState.UNKNOWN
            sentence = "no trusted price for an open position"
        elif result >= self.target:
            current, state = result, MeterState.BREACH
            sentence = f"target reached: {dollars(result)} made today"
        else:
            current = max(result, ZERO)
            made = "lost" if result < 0 else "made"
            to_go = self.target - result
            sentence = f"{dollars(abs(result))} {made} today, {dollars(to_go)} to go"
            if not self.include_unrealized:
                sentence += to_go_if_closed(view, to_go, "target reached")
        meter = self.reading(
            current=current,
            limit=self.target,
            unit="USD",
            sentence=sentence,
            state=state,
        )
        return self.on_the_day(view, meter, self.target)
