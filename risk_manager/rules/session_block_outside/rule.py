"""RULE-009 itself: it finds which places are shut or about to close, and what follows there."""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar, Self

from risk_manager.domain.decisions import Severity, Verdict
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.market_calendar import EVERY
from risk_manager.domain.rule import Meter
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.session_hours import (
    Interval,
    open_intervals,
    plain_minutes,
    shared_schedule,
)
from risk_manager.domain.symbols import plain_roots
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside.hours import WHOLE_ACCOUNT, Hours, Place
from risk_manager.rules.session_block_outside.meter import read_meter
from risk_manager.rules.session_block_outside.outside import outside_verdicts
from risk_manager.rules.session_block_outside.session_locks import (
    has_session_lock,
    lock_verdicts,
    release_verdicts,
)
from risk_manager.rules.session_block_outside.sessions import Sessions


class SessionBlockOutside(Sessions):
    """Positions are closed at the end of the session; those opened outside it are closed at once.

    If all products share the hours, the lock covers the account. Otherwise each product has a lock
    of its own, or each contract of a product of which one contract is named by its id.
    """

    spec_id: ClassVar[str] = "RULE-009"
    title: ClassVar[str] = "Trading hours"

    def in_words(self) -> str:
        words = [f"Trading is allowed {_hours_in_words(self.global_hours)}."]
        words += [
            f"{symbol}: {_hours_in_words(hours)}." for symbol, hours in self.per_symbol.items()
        ]
        words.append(
            {
                "close_and_cancel": "At the end positions are closed and orders cancelled.",
                "cancel_only": "At the end entry orders are cancelled; positions stay.",
                "none": "At the end nothing is closed.",
            }[self.at_end]
        )
        if self.fills_outside == "close":
            words.append("What is opened outside is closed at once.")
        if self.respect_holidays:
            sooner = plain_duration(self.early_close_margin)
            words.append(
                f"Holidays of the exchange count, and its early closes, {sooner} before them."
                if self.early_close_margin
                else "Holidays and early closes of the exchange count."
            )
        return " ".join(words)

    @property
    def products(self) -> frozenset[str]:
        return plain_roots(self.per_symbol)

    def open_hours(self, rulebook: Rulebook, root: str, around: date) -> tuple[Interval, ...]:
        calendar = self.calendar_in(rulebook)
        if calendar is not None and not calendar.knows(root):
            return ()
        hours = self.hours(root)
        zone = hours.timezone or rulebook.day.timezone
        return open_intervals(hours.weekly, zone, calendar, root, around)

    @property
    def rank(self) -> int:
        return 30

    def is_stricter_than(self, other: Self) -> bool:
        """True where sessions begin together, end no later, and all is shut outside of them."""
        return (
            self.same_but(other, "sessions", "early_close_margin")
            and self.early_close_margin >= other.early_close_margin
            and self.lockout != "none"
            and len(self.sessions) == len(other.sessions)
            and all(
                (mine.days, mine.start) == (theirs.days, theirs.start)
                and mine.minutes <= theirs.minutes
                for mine, theirs in zip(self.sessions, other.sessions, strict=True)
            )
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        if self._all_is_open(view):
            return None
        verdicts: list[Verdict] = []
        account_shut = False
        if not self.per_symbol:
            whole = self.standing(view, *WHOLE_ACCOUNT)
            account_shut = whole.current is None
            if account_shut:
                verdicts += lock_verdicts(self, view, WHOLE_ACCOUNT, whole)
        by_place: dict[Place, list[str]] = {}
        for contract_id in view.account.contract_ids():
            by_place.setdefault(self.place(view, contract_id), []).append(contract_id)
        for place, contract_ids in by_place.items():
            verdicts += self._place_verdicts(view, place, contract_ids, account_shut)
        if view.account.locks:
            verdicts += release_verdicts(self, view, account_shut=account_shut)
        book = view.state.rulebook
        if self.respect_holidays and book.calendar.ends_soon(view.now):
            verdicts.append(
                Verdict(
                    reason=f"the market calendar ends on {book.calendar.through}; holidays after "
                    "that are not known; update the program or calendar.yaml",
                    subject=f"calendar:{book.calendar.through}",
                    severity=Severity.WARNING,
                )
            )
        return tuple(verdicts) or None

    def meter(self, view: View) -> Meter:
        return read_meter(self, view)

    def _all_is_open(self, view: View) -> bool:
        """Whether every product in play is open and not about to close: the usual case."""
        if has_session_lock(self, view):
            return False
        state, now = view.state, view.now
        calendar = self.calendar_in(state.rulebook)
        if calendar is not None and calendar.ends_soon(now):
            return False
        if self.per_symbol:
            return self._each_is_open(view)
        zone = self.timezone or state.rulebook.day.timezone
        hours, roots = self.global_hours.weekly, (EVERY, *view.in_play().values())
        shared = shared_schedule(hours, zone, calendar, roots, now.date()).at(now).current
        if shared is None or shared.ends_at - now <= self.pre_close_warning:
            return False
        if not state.lead:
            return True
        latest = state.latest
        there = shared_schedule(hours, zone, calendar, roots, latest.date()).at(latest)
        return there.current is not None

    def _each_is_open(self, view: View) -> bool:
        """The same where products have hours of their own."""
        for contract_id in view.in_play():
            current = self.standing(view, *self.place(view, contract_id)).current
            if current is None or current.ends_at - view.now <= self.pre_close_warning:
                return False
        return True

    def _place_verdicts(
        self, view: View, place: Place, contract_ids: list[str], account_shut: bool
    ) -> Iterator[Verdict]:
        where = self.standing(view, *place)
        if where.current is None:
            if not account_shut:
                yield from lock_verdicts(self, view, place, where)
            for contract_id in contract_ids:
                yield from outside_verdicts(self, view, place, contract_id, where.ended_at)
            return
        ends_at = where.current.ends_at
        if ends_at - view.now <= self.pre_close_warning and self.at_end != "none":
            yield Verdict(
                reason=f"{place.label(view)}: the session ends at "
                f"{self.local_time(view, place, ends_at)}; "
                + (
                    "positions are closed and orders cancelled then"
                    if self.at_end == "close_and_cancel"
                    else "entry orders are cancelled then"
                ),
                subject=f"closing:{place.contract_id or place.root}:{ends_at.isoformat()}",
                severity=Severity.WARNING,
            )


def _hours_in_words(hours: Hours) -> str:
    sessions = ", ".join(
        f"{plain_minutes(s.start)} to {plain_minutes(s.end)} ({' '.join(s.days)})"
        for s in hours.sessions
    )
    return f"from {sessions}" + (f", {hours.timezone} time" if hours.timezone else "")
