"""Shared by the rules over the day's result: its sum, and how the day is ended."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from risk_manager.domain.decisions import Flatten, Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.lockout import Lockout, LockoutSpec
from risk_manager.domain.locks import Release
from risk_manager.domain.money import cents
from risk_manager.domain.open_pnl_bounds import OpenBetween, open_between
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.day_course import settling

CLOSING = timedelta(seconds=5)
"""A close has filled within this time, or something is wrong."""


class DayResultRule(Rule):
    """A limit on what the day has made or lost."""

    reached: ClassVar[str]
    """The name of the mark that remembers at which result a timed lock was set."""

    include_unrealized: bool = False
    """true: the P&L of open positions counts as well, as in the firm's own limit."""
    pnl_basis: PnlBasis | None = None
    action: Literal["close_all_and_lockout", "close_all"] = "close_all_and_lockout"
    """Close everything and lock the account, or close everything."""
    lockout: LockoutSpec = Lockout(Release.RESET)
    """How long the account is locked."""
    unlock: Literal["timer_only", "admin"] = "timer_only"
    """Who may lift the lock early: nobody, or an administrator."""

    @model_validator(mode="after")
    def _lockout_fits_the_action(self) -> Self:
        if self.action == "close_all_and_lockout" and self.lockout is None:
            raise ValueError("action close_all_and_lockout needs a lockout, such as until_reset")
        return self

    def _of_the_day(self, amount: str) -> str:
        """Say which result counts, to complete a sentence on a loss or a profit."""
        counted = "open positions included" if self.include_unrealized else "closed trades only"
        basis = {
            None: "",
            PnlBasis.NET: ", after fees",
            PnlBasis.GROSS: ", before fees",
        }[self.pnl_basis]
        return f"{amount} in the trading day ({counted}{basis})"

    def _what_follows(self) -> str:
        if self.action == "close_all" or self.lockout is None:
            return "everything is closed."
        if self.lockout.until is Release.MANUAL:
            return f"everything is closed and the account is locked {self.lockout.in_words()}."
        lifts = "an administrator may lift it" if self.unlock == "admin" else "nobody can lift it"
        return f"everything is closed and the account is locked {self.lockout.in_words()}; {lifts}."

    @property
    def _answers_for_the_whole_day(self) -> bool:
        """Whether nothing more can be asked for today once the limit has been reached.

        False where the lock may end or be lifted earlier: the limit can then be reached again.
        """
        if self.action == "close_all":
            return True
        until = self.lockout.until if self.lockout is not None else None
        return until is Release.RESET and self.unlock == "timer_only"

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.include_unrealized

    @property
    def rank(self) -> int:
        return 20

    def day_result(self, view: View) -> Decimal | None:
        """Return the day's result in dollars; None while an open position in it has no price."""
        realised = view.realised_today(self.pnl_basis)
        if not self.include_unrealized or not view.account.positions:
            return realised
        open_pnl = view.unrealised_total()
        return None if open_pnl is None else realised + open_pnl

    def settling(self, view: View) -> tuple[bool, tuple[Verdict, ...]]:
        """Return whether to wait, as a close has been told only half, and the verdicts to give."""
        if not self.include_unrealized or view.stands(
            self.id, view.account.trading_date.isoformat()
        ):
            return False, ()
        return settling(view, self.id)

    def on_the_day(self, view: View, meter: Meter, reached_at: Decimal) -> Meter:
        """Add the net result of the day at which a limit on this rule's own basis is reached."""
        net = (self.pnl_basis or view.state.rulebook.defaults.pnl_basis) is PnlBasis.NET
        return replace(
            meter,
            day_result=reached_at if net else reached_at - view.today.fees,
            counts_open=self.include_unrealized,
        )

    def day_between(self, view: View) -> OpenBetween:
        """Return the bounds of the day's result, for when `day_result` is None."""
        realised = view.realised_today(self.pnl_basis)
        open_pnl = open_between(view)
        return OpenBetween(
            likely=realised + open_pnl.likely,
            least=None if open_pnl.least is None else realised + open_pnl.least,
            most=None if open_pnl.most is None else realised + open_pnl.most,
            doubts=open_pnl.doubts,
        )

    def end_the_day(self, view: View, result: Decimal, reason: str) -> Verdict | None:
        """Return the verdict that flattens, and locks if configured; None if already given."""
        day = view.account.trading_date.isoformat()
        if self.action == "close_all" or self.lockout is None:
            return Verdict(reason=f"{reason}; closing everything", subject=day, asks=(Flatten(),))
        may_clear = self.unlock == "admin"
        lock = self.lockout.lock(view, self.id, reason, trigger=day, admin_may_clear=may_clear)
        reason = f"{reason}; locked flat"
        if isinstance(self.lockout.until, Release):
            return Verdict(reason=reason, subject=day, asks=(lock,))
        # After a timed lock the rule acts again only if the result has gone further or crosses the
        # limit anew. Otherwise the lock would never end.
        shadow = self._is_shadow(view)
        name = self._mark_name(view, shadow=shadow)
        mark = view.mark(self.id, name)
        if mark is not None and (
            abs(result) <= abs(Decimal(mark.value))
            or view.now < mark.set_at + self._holds(view, self.lockout.until, shadow=shadow)
        ):
            return None
        subject = day if mark is None else f"{day}:{cents(result)}"
        return Verdict(
            reason=reason, subject=subject, asks=(lock, Remember(name, value=str(result)))
        )

    def armed_anew(self, view: View) -> tuple[Verdict, ...]:
        """Forget the result reached before, if it is inside the limit again and the lock is over.

        A new crossing of the limit then leads to a new verdict.
        """
        lockout = self.lockout
        if not view.account.marks or lockout is None or isinstance(lockout.until, Release):
            return ()
        shadow = self._is_shadow(view)
        name = self._mark_name(view, shadow=shadow)
        mark = view.mark(self.id, name)
        if mark is None:
            return ()
        stands = view.now < mark.set_at + lockout.until if shadow else view.lock(self.id)
        return () if stands else (bookkeeping(Forget(name)),)

    def _mark_name(self, view: View, *, shadow: bool) -> str:
        day = view.account.trading_date.isoformat()
        return f"{'shadow ' if shadow else ''}{self.reached}:{day}"

    def _holds(self, view: View, lasts: timedelta, *, shadow: bool) -> timedelta:
        """Return for how long no new verdict is given, as otherwise every tick would give one.

        In shadow mode the result keeps moving for as long as the lock would last. Under a real lock
        it moves until the close has filled.
        """
        if shadow:
            return lasts
        return min(CLOSING, lasts) if view.lock(self.id) is not None else timedelta(0)

    def _is_shadow(self, view: View) -> bool:
        rules = view.state.rulebook.for_account(view.account.id)
        return not rules.enforces(self, simulated=view.account.simulated)
