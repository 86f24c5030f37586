"""RULE-008: every position has a stop, within a grace period."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import (
    Ask,
    Close,
    Forget,
    LookAgain,
    Outcome,
    PlaceExit,
    Protect,
    Remember,
    Severity,
    Verdict,
    bookkeeping,
)
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.exit_orders import (
    Terms,
    covered,
    is_exit_stop,
    is_through,
    leftover_entries,
    stop_ticks,
)
from risk_manager.domain.holdings import Position
from risk_manager.domain.records import OrderType
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View

StopType = Literal["stop", "stop_limit", "trailing_stop"]
_TYPES: dict[StopType, OrderType] = {
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
    "trailing_stop": OrderType.TRAILING_STOP,
}
# The mark of when this rule began to watch the account. All other marks are of an episode.
WATCHING = "watching"
# The mark of an episode says that its stops cover it, or that `due_at` counts down.
COVERED = "covered"
COUNTING = "counting"

AT_LEAST = timedelta(seconds=1)
"""The least grace after a position was first reported to us, however late that was."""
REPORT_PATIENCE = timedelta(seconds=5)
"""After a start nothing is closed for this long, unless the account has been read."""
READ_PATIENCE = timedelta(seconds=3)
"""Before a position without a stop is closed, the orders are read over REST, as a stop's event may
have been lost. If they cannot be read for this long, the known orders decide."""
REFUSALS = 3
"""After this many refusals of a stop the position is closed instead."""


class NoStopLossGrace(Rule):
    """A position whose stops do not cover it when its grace ends is closed.

    The deadline belongs to the episode and is absolute. Adding to the position does not restart
    it; a stop that disappears later, or is outgrown, starts the shorter `rearm_grace`.
    """

    spec_id: ClassVar[str] = "RULE-008"
    title: ClassVar[str] = "Stop on every position"

    rule: Literal["no_stop_loss_grace"] = "no_stop_loss_grace"
    grace: Duration = timedelta(seconds=30)
    rearm_grace: Duration = timedelta(seconds=10)
    require: Literal["full_size", "any"] = "full_size"
    accept_order_types: Annotated[tuple[StopType, ...], Field(min_length=1)] = (
        "stop",
        "stop_limit",
        "trailing_stop",
    )
    accept_beyond_entry: bool = True
    max_stop_distance_ticks: PositiveInt | None = None
    action: Literal["close_position", "place_stop"] = "close_position"
    place_stop_ticks: PositiveInt | None = None
    adopt_existing_at_startup: bool = True

    @model_validator(mode="after")
    def _the_words_fit_together(self) -> "NoStopLossGrace":
        for name in ("grace", "rearm_grace"):
            if not AT_LEAST <= getattr(self, name) <= timedelta(hours=1):
                raise ValueError(
                    f"{name}: {plain_duration(getattr(self, name))} is not between 1s and 1h"
                )
        if (self.action == "place_stop") != (self.place_stop_ticks is not None):
            raise ValueError(
                "action place_stop and place_stop_ticks belong together; write both or neither"
            )
        if self.place_stop_ticks is not None:
            if "stop" not in self.accept_order_types:
                raise ValueError(
                    "the stop that place_stop places would not count; add stop to "
                    "accept_order_types"
                )
            if (self.max_stop_distance_ticks or self.place_stop_ticks) < self.place_stop_ticks:
                raise ValueError(
                    f"place_stop_ticks {self.place_stop_ticks} is farther away than "
                    f"max_stop_distance_ticks {self.max_stop_distance_ticks} allows"
                )
        return self

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
        for position in account.positions.values():
            mark = account.marks.get((self.id, position.subject))
            if mark is not None:
                known += 1
                if self._counts_down(view, position, mark):
                    continue
            short, ask = self._cover(view, position, mark, since)
            if ask is not None:
                memory.append(ask)
            verdicts += self._left_over(view, position)
            if short:
                counting = ask or mark
                due_at = counting.due_at if counting is not None else None
                verdicts += self._short(view, position, short, due_at, since)
        marks = view.marks(self.id)
        if len(marks) > known:
            alive = {WATCHING, *(p.subject for p in account.positions.values())}
            memory += [Forget(m.subject) for m in marks if m.subject not in alive]
        if memory:
            verdicts.append(bookkeeping(*memory))
        return tuple(verdicts) or None

    def _counts_down(self, view: View, position: Position, mark: Mark) -> bool:
        """Whether no order works in the contract, this is already noted, and time is left."""
        return (
            mark.value == COUNTING
            and mark.due_at is not None
            and view.now < mark.due_at
            and not view.account.orders_in(position.contract_id)
        )

    # --- cover ---

    @cached_property
    def _terms(self) -> Terms:
        types = frozenset(_TYPES[t] for t in self.accept_order_types)
        return Terms(types, self.accept_beyond_entry)

    def _missing(self, view: View, position: Position) -> int:
        """How many contracts lack a stop."""
        orders = view.account.orders_in(position.contract_id)
        terms = self._terms
        contract = view.state.contracts.get(position.contract_id)
        if self.max_stop_distance_ticks is not None and contract is not None:
            terms = replace(terms, reach=self.max_stop_distance_ticks * contract.tick_size)
        have = covered(position, orders, terms, view.quote(position.contract_id))
        return max((position.size if self.require == "full_size" else 1) - have, 0)

    def _cover(
        self, view: View, position: Position, mark: Mark | None, since: datetime
    ) -> tuple[int, Remember | None]:
        """Return how many contracts lack a stop, and the mark to keep about it."""
        subject = position.subject
        short = self._missing(view, position)
        if not short:
            if mark is not None and mark.value == COVERED:
                return 0, None
            return 0, Remember(subject, value=COVERED)
        if mark is not None and mark.value == COUNTING:
            return short, None
        due_at = self._first_deadline(position, since)
        if mark is not None:  # it was covered before
            due_at = max(due_at or view.now, view.now + self.rearm_grace)
        return short, Remember(subject, due_at=due_at, value=COUNTING)

    def _first_deadline(self, position: Position, since: datetime) -> datetime | None:
        """When the first grace ends; None for a position found at the start and not adopted."""
        heard = position.opened_at
        opened = min(position.created_at or heard, heard)
        if opened < since:  # it was there before we watched
            return max(since, heard) + self.grace if self.adopt_existing_at_startup else None
        return max(opened + self.grace, heard + AT_LEAST)

    # --- acting ---

    def _short(
        self, view: View, position: Position, short: int, due_at: datetime | None, since: datetime
    ) -> Iterator[Verdict]:
        name = view.name(position.contract_id)
        lack = (
            f"{position.size} {name} without a stop"
            if short == position.size or self.require == "any"
            else f"stops cover {position.size - short} of {position.size} {name}"
        )
        subject = position.subject
        if due_at is None:
            yield Verdict(
                reason=f"{lack}; it was open before the start and is left alone",
                subject=f"{subject}:not adopted",
                severity=Severity.WARNING,
            )
            return
        if view.now < due_at or not view.projected()[position.contract_id]:
            return  # the grace is not over, or the position is being closed already
        as_of = view.account.reported_as_of
        # Where stream and list differ about an order, the list of a moment later decides.
        decided_from = max(due_at, view.account.disputed(position.contract_id) or due_at)
        read = as_of is not None and as_of >= max(since, decided_from)
        if not read and view.now < max(since + REPORT_PATIENCE, decided_from + READ_PATIENCE):
            if view.now >= decided_from:
                yield bookkeeping(LookAgain())
            return
        ask = self._stop(view, position, short)
        if ask is None:
            yield Verdict(
                reason=f"{lack}; closing", subject=subject, asks=(Close(position.contract_id),)
            )
        else:
            yield Verdict(
                reason=f"{lack}; placing a stop at {ask.stop_price}",
                subject=f"{subject}:stop",
                asks=(ask,),
            )

    def _stop(self, view: View, position: Position, short: int) -> Protect | None:
        """Return the stop to place; None where only closing is left."""
        contract = view.state.contracts.get(position.contract_id)
        average = position.average_price
        if self.place_stop_ticks is None or contract is None or average is None:
            return None
        side, contract_id = position.side, position.contract_id
        away = side * self.place_stop_ticks * contract.tick_size
        price = stop_ticks(average - away, side, contract.tick_size) * contract.tick_size
        size = short if self.require == "full_size" else position.size
        working = sum(
            o.remaining for o in view.account.orders_in(contract_id) if is_exit_stop(o, position)
        )
        refused = any(
            isinstance(a.action, PlaceExit)
            and a.action.contract_id == contract_id
            and a.action.stop_price is not None
            and a.outcome is Outcome.REFUSED
            and a.tries >= REFUSALS
            for a in view.account.attempts.values()
        )
        # A stop that does not count may leave no room for one that does.
        if refused or working + size > position.size:
            return None
        if is_through(view.state.fresh_quote(contract_id), side, price):
            return None
        return Protect(contract_id, stop_price=price, size=size)

    def _left_over(self, view: View, position: Position) -> Iterator[Verdict]:
        orders = view.account.orders_in(position.contract_id)
        stale = leftover_entries(position, orders) if orders else []
        if stale:
            yield Verdict(
                reason=f"the position in {view.name(position.contract_id)} turned round: order "
                f"{', '.join(str(o.id) for o in stale)}, its old stop, would now add to it",
                subject=f"{position.subject}:turned",
                severity=Severity.WARNING,
            )

    # --- the meter ---

    def meter(self, view: View) -> Meter:
        """The position whose time runs out first; in seconds of its grace."""
        first: tuple[datetime, int, Position] | None = None
        unguarded = ""
        for position in view.account.positions.values():
            mark = view.mark(self.id, position.subject)
            short = self._missing(view, position)
            if not short:
                continue
            if mark is None or mark.due_at is None:
                unguarded = view.name(position.contract_id)
            elif view.account.closings.get(position.contract_id) is None and (
                first is None or mark.due_at < first[0]
            ):
                first = (mark.due_at, short, position)
        limit = Decimal(str(self.grace.total_seconds()))
        current: Decimal | None = Decimal(0)
        state = MeterState.OK
        sentence = "every position has its stop"
        if not view.account.positions:
            sentence = f"flat; a new position has {plain_duration(self.grace)} to get its stop"
        elif first is not None:
            due_at, short, position = first
            left = max((due_at - view.now).total_seconds(), 0.0)
            current = max(limit - Decimal(str(left)), Decimal(0))
            name, size = view.name(position.contract_id), position.size
            part = f"{short} of {size} {name}" if short < size else f"{short} {name}"
            done = "a stop is placed"
            if self.action == "close_position":
                done = f"all {size} closed" if short < size else "closed"
            state = MeterState.WARN if left else MeterState.BREACH
            sentence = f"{part} without a stop: {done} in {round(left)} s"
        elif unguarded:
            state, current = MeterState.WARN, None
            sentence = f"{unguarded} has no stop"
        return self.reading(
            current=current,
            limit=limit,
            unit="s",
            sentence=sentence,
            state=state,
        )
