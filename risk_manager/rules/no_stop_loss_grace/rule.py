"""RULE-008 itself: it looks at each position and keeps the marks."""

from typing import ClassVar, Self

from risk_manager.domain.decisions import Ask, Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rule import Meter
from risk_manager.domain.view import View
from risk_manager.rules.no_stop_loss_grace.configuration import Configuration
from risk_manager.rules.no_stop_loss_grace.cover import is_covered_as_before, keep_cover
from risk_manager.rules.no_stop_loss_grace.deadlines import COVERED, is_counting_down, mark_to_keep
from risk_manager.rules.no_stop_loss_grace.enforcement import leftover_verdicts, uncovered_verdicts
from risk_manager.rules.no_stop_loss_grace.meter import read_meter

WATCHING = "watching"
"""The mark of when this rule began to watch the account. All other marks are of an episode."""


class NoStopLossGrace(Configuration):
    """A position whose stops do not cover it when its grace ends is closed.

    The deadline belongs to the episode and is absolute. Adding to the position does not restart
    it; a stop that disappears later, or is outgrown, starts the shorter `rearm_grace`.
    """

    spec_id: ClassVar[str] = "RULE-008"
    title: ClassVar[str] = "Stop on every position"

    def in_words(self) -> str:
        covers = "stops for all its contracts" if self.require == "full_size" else "a stop"
        done = (
            "it is closed"
            if self.place_stop_ticks is None
            else f"a stop is placed {self.place_stop_ticks} ticks from its average price"
        )
        words = (
            f"Every position needs {covers} within {plain_duration(self.grace)} of its entry, and "
            f"within {plain_duration(self.rearm_grace)} after a stop is gone or too small. "
            f"Otherwise {done}."
        )
        if self.max_stop_distance_ticks is not None:
            words += f" A stop more than {self.max_stop_distance_ticks} ticks away does not count."
        if not self.accept_beyond_entry:
            words += " A stop in profit does not count."
        return words

    @property
    def rank(self) -> int:
        return 60

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "grace", "rearm_grace")
            and self.grace <= other.grace
            and self.rearm_grace <= other.rearm_grace
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        account = view.account
        memory: list[Ask] = []
        verdicts: list[Verdict] = []
        watching = view.mark(self.id, WATCHING)
        since = view.now if watching is None else watching.set_at
        if watching is None:
            memory.append(Remember(WATCHING, value=view.now.isoformat()))
        if account.resumed_at is not None:  # while nothing ran, nobody watched
            since = max(since, account.resumed_at)
        known = 0 if watching is None else 1
        rule_id, marks_by_key = self.id, account.marks
        for position in account.positions.values():
            mark = marks_by_key.get((rule_id, position.subject))
            if mark is not None:
                known += 1
                if (
                    is_covered_as_before(self, view, position)
                    if mark.value == COVERED
                    else is_counting_down(view, position, mark)
                ):
                    continue
            uncovered = self.uncovered(view, position)
            ask = mark_to_keep(self, view, position, uncovered, mark, since)
            if ask is not None:
                memory.append(ask)
            leftover = tuple(leftover_verdicts(view, position))
            verdicts += leftover
            if not (uncovered or ask or leftover):
                keep_cover(self, view, position)
            if uncovered:
                counting = ask or mark
                due_at = counting.due_at if counting is not None else None
                verdicts += uncovered_verdicts(self, view, position, uncovered, due_at, since)
        marks = view.marks(self.id)
        if len(marks) > known:
            alive = {WATCHING, *(p.subject for p in account.positions.values())}
            memory += [Forget(m.subject) for m in marks if m.subject not in alive]
        if memory:
            verdicts.append(bookkeeping(*memory))
        return tuple(verdicts) or None

    def meter(self, view: View) -> Meter:
        return read_meter(self, view)
