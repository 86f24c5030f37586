"""Shared by the two rules over how far the day's result may fall back from its best."""

from abc import abstractmethod
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import ClassVar, Literal

from risk_manager.domain.decisions import Flatten, Remember, Verdict, bookkeeping
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import Lockout
from risk_manager.domain.locks import Release
from risk_manager.domain.money import Band
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.day_course import (
    Course,
    day_course,
    is_net,
    may_be_quiet,
    quiet_band,
    settling,
)

PEAK = "peak"
_UNTIL_RESET = Lockout(Release.RESET)


class DayPeakRule(Rule):
    """Remembers the day's best result, and ends the day at a floor that follows it."""

    bands_hold_together: ClassVar[bool] = True

    pnl_basis: PnlBasis | None = None
    action: Literal["close_all_and_lockout", "close_all"] = "close_all_and_lockout"
    unlock: Literal["timer_only", "admin"] = "timer_only"

    @property
    def rank(self) -> int:
        return 20

    @property
    @abstractmethod
    def first_peak(self) -> Decimal:
        """The result from which on there is a peak."""

    @property
    @abstractmethod
    def counts_open(self) -> bool:
        """Whether open positions count in the result that is judged."""

    @property
    @abstractmethod
    def peak_counts_open(self) -> bool:
        """Whether open positions count in the peak. Never without `counts_open`."""

    @abstractmethod
    def floor_below(self, peak: Decimal) -> Decimal:
        """Return the result at which the day is ended."""

    @abstractmethod
    def why(self, result: Decimal, peak: Decimal, floor: Decimal, doubts: str) -> str:
        """Return the reason for ending the day."""

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.counts_open

    @property
    def ends_the_day_for_good(self) -> bool:
        """Whether nothing more can be asked for today once the floor has been reached."""
        return self.action == "close_all" or self.unlock == "timer_only"

    def what_follows(self) -> str:
        if self.action == "close_all":
            return "everything is closed."
        lifts = "an administrator may lift it" if self.unlock == "admin" else "nobody can lift it"
        return f"everything is closed and the account is locked until the daily reset; {lifts}."

    def peak(self, view: View) -> Decimal | None:
        """Return the best result of the day so far; None while there is none."""
        mark = view.mark(self.id, PEAK)
        if mark is None:
            return None
        day, peak = _peak(mark.value)
        return peak if day == view.account.trading_date else None

    def result(self, view: View) -> Course:
        return day_course(view, self.pnl_basis, with_open=self.counts_open)

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        day = view.account.trading_date.isoformat()
        kept: tuple[Verdict, ...] = ()
        if self.counts_open and not view.stands(self.id, day):
            waits, kept = settling(view, self.id)
            if waits:
                return kept or None
        result, peak = self.result(view), self.peak(view)
        best = self._for_the_peak(view, result)
        if best is not None and best >= self.first_peak and (peak is None or best > peak):
            kept, peak = (*kept, bookkeeping(Remember(PEAK, value=f"{day} {best}"))), best
        if peak is None or result.most is None:
            return kept or None
        floor = self.floor_below(peak)
        if result.most > floor:
            return kept or None
        reason = self.why(result.likely, peak, floor, result.told_doubts)
        return (*kept, self._end(view, reason, day))

    def _for_the_peak(self, view: View, result: Course) -> Decimal | None:
        if self.peak_counts_open:
            return result.known
        return view.realised_today(self.pnl_basis)

    def _end(self, view: View, reason: str, day: str) -> Verdict:
        if self.action == "close_all":
            return Verdict(reason=f"{reason}; closing everything", subject=day, asks=(Flatten(),))
        lock = _UNTIL_RESET.lock(
            view, self.id, reason, trigger=day, admin_may_clear=self.unlock == "admin"
        )
        return Verdict(reason=f"{reason}; locked flat", subject=day, asks=(lock,))

    def quiet_between(self, view: View, position: Position) -> Band | None:
        if not may_be_quiet(view, self.id):
            return None
        peak = self.peak(view)
        return quiet_band(
            view,
            position,
            view.realised_today(self.pnl_basis),
            above=None if peak is None else self.floor_below(peak),
            below=(self.first_peak if peak is None else peak) if self.peak_counts_open else None,
        )

    def on_the_day(self, view: View, meter: Meter, floor: Decimal) -> Meter:
        """Add the net result of the day at which the floor is reached."""
        at = floor if is_net(view, self.pnl_basis) else floor - view.today.fees
        return replace(meter, day_result=at, counts_open=self.counts_open)


@lru_cache(maxsize=256)
def _peak(text: str) -> tuple[date, Decimal]:
    """Read back the value of the mark."""
    day, _, peak = text.partition(" ")
    return date.fromisoformat(day), Decimal(peak)
