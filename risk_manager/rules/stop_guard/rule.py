"""The stop guard itself: it looks at each position and keeps the marks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Self

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.holdings import Position
from risk_manager.domain.rule import Meter
from risk_manager.domain.view import View
from risk_manager.rules.stop_guard.configuration import Configuration
from risk_manager.rules.stop_guard.levels import (
    Stop,
    after_reduction,
    compared,
    levels_of,
    raised,
    stand_as_before,
    stops_of,
)
from risk_manager.rules.stop_guard.memory import Memory, recalled
from risk_manager.rules.stop_guard.meter import read_meter
from risk_manager.rules.stop_guard.restoring import Restoring


class StopGuard(Configuration):
    """A stop that is widened or removed while its position loses is put back after a grace.

    A stop moved toward profit is the one that is guarded from then on. So is a looser one if the
    position was not losing when it was changed. While the result of the position is unknown,
    nothing is decided.
    """

    spec_id: ClassVar[str] = "EXTRA-023"
    title: ClassVar[str] = "Guard of stops"

    def in_words(self) -> str:
        grace = plain_duration(self.grace)
        if self.action == "close_position":
            return (
                "If a stop is moved away or removed while its position loses, the position is "
                f"closed after {grace}."
            )
        told = (
            "A stop that is moved away or removed while its position loses is put back after "
            f"{grace}."
        )
        if self.if_impossible == "close_position":
            told += " If that is impossible, the position is closed."
        return told

    @property
    def rank(self) -> int:
        return 55

    def is_stricter_than(self, other: Self) -> bool:
        return self.same_but(other, "grace") and self.grace <= other.grace

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        account = view.account
        if not account.positions and not account.marks:
            return None
        verdicts: list[Verdict] = []
        known = 0
        for position in account.positions.values():
            mark = account.marks.get((self.id, position.subject))
            if mark is not None:
                known += 1
            if not self._is_known(view, position, mark):
                verdicts += self._judge_position(view, position, mark)
        marks = view.marks(self.id)
        if len(marks) > known:
            alive = {p.subject for p in account.positions.values()}
            verdicts.append(
                bookkeeping(*(Forget(m.subject) for m in marks if m.subject not in alive))
            )
        return tuple(verdicts) or None

    def meter(self, view: View) -> Meter:
        return read_meter(self, view)

    def _is_known(self, view: View, position: Position, mark: Mark | None) -> bool:
        """Whether this same position was judged with these stops, and none was missed."""
        known = position.memo.get(self.id)
        return (
            known is not None
            and known[0] is self
            and known[1] is mark
            and known[2] == view.account.orders_in(position.contract_id)
        )

    def _judge_position(
        self, view: View, position: Position, mark: Mark | None
    ) -> Iterator[Verdict]:
        contract = view.state.contracts.get(position.contract_id)
        if contract is None or not position.sided:
            return
        orders = view.account.orders_in(position.contract_id)
        stops = stops_of(position, orders, contract)
        memory = Memory(position.size) if mark is None else recalled(mark.value)
        lots_gone = memory.size - position.size
        if lots_gone:
            memory = replace(
                memory,
                size=position.size,
                reference=after_reduction(memory.reference, lots_gone),
                seen=None if memory.seen is None else after_reduction(memory.seen, lots_gone),
            )
        found, due_at = None, None
        if memory.seen is not None or not stand_as_before(memory.reference, stops, position.size):
            found = compared(memory.reference, stops)
            if found.unmet:
                due_at = None if mark is None else mark.due_at
                memory, due_at = self._missed(view, position, memory, due_at, stops)
            else:
                memory = memory.settled(raised(memory.reference, found, stops, position.size))
        if mark is None or (mark.value, mark.due_at) != (str(memory), due_at):
            yield bookkeeping(Remember(position.subject, due_at=due_at, value=str(memory)))
        elif memory.seen is None:
            position.memo[self.id] = (self, mark, orders)
        if found is not None and due_at is not None and view.now >= due_at:
            yield from Restoring(
                self, view, position, contract, memory, due_at, stops, found
            ).verdicts()

    def _missed(
        self,
        view: View,
        position: Position,
        memory: Memory,
        due_at: datetime | None,
        stops: tuple[Stop, ...],
    ) -> tuple[Memory, datetime | None]:
        """Return the memory and the end of the grace, where a level of the reference is unmet."""
        levels = levels_of(stops, position.size)
        is_new = memory.seen is None or bool(compared(memory.seen, stops).unmet)
        result = view.unrealised(position)
        if is_new or due_at is None:
            if result is not None and result >= 0:
                return memory.settled(levels), None
            if result is not None and due_at is None:
                due_at = view.now + self.grace
        return replace(memory, seen=levels), due_at
