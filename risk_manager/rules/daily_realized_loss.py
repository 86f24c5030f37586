"""RULE-003: stop for the day at a realised loss."""

from decimal import Decimal
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.decisions import Severity, Verdict
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.closed_now import is_reached_if_closed, left_if_closed, ticks_from_here
from risk_manager.rules.day_result import DayResultRule

Fraction = Annotated[Decimal, Field(gt=0, lt=1)]


class DailyRealizedLoss(DayResultRule):
    """A loss of exactly the limit breaches. Profits of the day raise the room."""

    spec_id: ClassVar[str] = "RULE-003"
    title: ClassVar[str] = "Loss today"
    reached: ClassVar[str] = "breach"

    rule: Literal["daily_realized_loss"] = "daily_realized_loss"
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The loss of the day at which the rule acts."""
    warn_at: tuple[Fraction, ...] = (Decimal("0.5"), Decimal("0.8"))
    """Warn when these fractions of the limit are reached."""

    def in_words(self) -> str:
        lost = self._of_the_day(f"At a loss of {dollars(self.limit)}")
        told = f"{lost} {self._what_follows()}"
        if self.warn_at:
            told += f" It warns at {' and '.join(f'{w * 100:.0f} %' for w in self.warn_at)} of it."
        return told

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit", "warn_at")
            and self.limit <= other.limit
            and self._answers_for_the_whole_day
        )

    def judge(self, view: View) -> Verdict | tuple[Verdict, ...] | None:
        kept: tuple[Verdict, ...] = ()
        if self.include_unrealized and view.realised_today(self.pnl_basis) > self._floor:
            waits, kept = self.settling(view)
            if waits:
                return kept or None
        result, doubts = self._result(view)
        if result is None:
            return kept or None
        if result <= self._floor:
            lost = f"lost {dollars(-result)} today{doubts}"
            ended = self.end_the_day(view, result, f"{lost}, limit {dollars(self.limit)}")
            return (*kept, ended) if kept and ended is not None else ended
        return (*kept, *self.armed_anew(view), *self._warning(view, result)) or None

    def _warning(self, view: View, result: Decimal) -> tuple[Verdict, ...]:
        if result >= 0:
            return ()
        used = -result / self.limit
        passed = [w for w in self.warn_at if used >= w]
        if not passed:
            return ()
        warning = Verdict(
            reason=f"{dollars(-result)} of the daily loss limit {dollars(self.limit)} is used",
            subject=f"warning:{view.account.trading_date.isoformat()}:{max(passed)}",
            severity=Severity.WARNING,
        )
        return (warning,)

    def _result(self, view: View) -> tuple[Decimal | None, str]:
        """Return the certain result, and a text on the part that is in doubt."""
        result = self.day_result(view)
        if result is not None:
            return result, ""
        # Unknown prices cannot excuse a loss that is realised already.
        realised = view.realised_today(self.pnl_basis)
        if realised <= -self.limit:
            return realised, ""
        between = self.day_between(view)
        if between.most is None or between.most > -self.limit:
            return between.most, ""
        return between.likely, f" ({between.doubts})"

    @cached_property
    def _floor(self) -> Decimal:
        return -self.limit

    def meter(self, view: View) -> Meter:
        return self.on_the_day(view, self._reading(view), self._floor)

    def _reading(self, view: View) -> Meter:
        result, doubts = self._result(view)
        if self.day_result(view) is None and result is not None and result > -self.limit:
            result = None
        if result is None:
            return self.reading(
                current=None,
                limit=self.limit,
                unit="USD",
                sentence="no trusted price for an open position",
                state=MeterState.UNKNOWN,
            )
        lost = max(-result, ZERO)
        left = self.limit + result
        state = MeterState.OK
        if left <= 0:
            state = MeterState.BREACH
        elif any(lost >= w * self.limit for w in self.warn_at) or (
            not self.include_unrealized and is_reached_if_closed(view, left)
        ):
            state = MeterState.WARN
        return self.reading(
            current=lost,
            limit=self.limit,
            unit="USD",
            sentence=self._sentence(view, result, doubts),
            state=state,
        )

    def _sentence(self, view: View, result: Decimal, doubts: str) -> str:
        left = self.limit + result
        if left <= 0:
            return f"limit reached: {dollars(-result)} lost today{doubts}"
        if result > 0:
            away = f"{dollars(left)} from the limit of {dollars(self.limit)}"
            told = f"in profit by {dollars(result)} today, {away}"
            return told + self._from_here(view, left, of=" from it")
        return f"{dollars(left)} left today" + self._from_here(view, left)

    def _from_here(self, view: View, left: Decimal, of: str = "") -> str:
        """Say how far the limit is from the present price."""
        if self.include_unrealized:
            return ticks_from_here(view, left)
        return left_if_closed(view, left, of)
