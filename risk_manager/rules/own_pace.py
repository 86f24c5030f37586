"""EXTRA-022: a day that is busier or larger than the trader's own days."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from risk_manager.domain.decisions import Ask, Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    RulebookReplaced,
    TradeExecuted,
)
from risk_manager.domain.executions import Execution
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import LockKind, LockPolicy
from risk_manager.domain.money import ZERO
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View
from risk_manager.rules.pauses import in_whole_seconds

HOUR = timedelta(hours=1)
# Long after the last fill, only events that may report missed fills can bring anything new.
NEWS_LASTS = timedelta(minutes=1)
_TELLS_OF_FILLS = frozenset({TradeExecuted, AccountReported, AccountOpened, RulebookReplaced})
_DAY, _PAUSE = "day:", "pause"


@dataclass(frozen=True, slots=True)
class Entry:
    """An order that opened or added. `lots` are micro-equivalents, `last` is its newest fill."""

    order_id: int
    at: datetime
    lots: Decimal
    last: Execution


@dataclass(frozen=True, slots=True)
class Pace:
    """The most entries in any hour of a day or on average, and the largest entry in micros."""

    entries: Decimal
    lots: Decimal

    @classmethod
    def read(cls, text: str) -> "Pace":
        entries, lots = text.split()
        return cls(Decimal(entries), Decimal(lots))

    def text(self) -> str:
        return f"{self.entries} {self.lots.normalize():f}"

    def times(self, factor: Decimal) -> "Pace":
        return Pace(self.entries * factor, self.lots * factor)


@dataclass(frozen=True, slots=True)
class Excess:
    """An entry above the trader's pace, and the sentence that says so."""

    entry: Entry
    reason: str


class OwnPace(Rule):
    """Compares entries an hour and size with the trader's own last days that were traded.

    Each day is kept as a mark with two figures. Without `armed` the rule is in shadow: it shows and
    tells, and pauses nothing.
    """

    spec_id: ClassVar[str] = "EXTRA-022"
    title: ClassVar[str] = "Own pace"

    rule: Literal["own_pace"] = "own_pace"
    armed: bool = False
    factor: Decimal = Field(default=Decimal("1.5"), gt=1, le=10)
    days: PositiveInt = Field(default=20, le=60)
    min_days: PositiveInt = 5
    cooldown: Duration = timedelta(minutes=15)
    """How long entries pause, where it is armed."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.min_days > self.days:
            raise ValueError(f"min_days {self.min_days} is above days {self.days}")
        if self.cooldown <= timedelta(0):
            raise ValueError('cooldown must be longer than zero, as "15m"')
        if not self.armed:
            object.__setattr__(self, "shadow", True)
        return self

    def in_words(self) -> str:
        done = (
            f"new entries are paused for {plain_duration(self.cooldown)}"
            if self.armed
            else "this is told, and nothing is paused until the rule is armed"
        )
        return (
            f"Entries in an hour and the size of an entry are compared with the average of your "
            f"last {self.days} traded days, of which at least {self.min_days} must be known. Above "
            f"{self.factor.normalize():f} times that, {done}."
        )

    @property
    def rank(self) -> int:
        return 80

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        verdicts: list[Verdict] = []
        kept = tuple(self._kept(view))
        if kept:
            verdicts.append(bookkeeping(*kept))
        if not self._has_no_news(view):
            usual = self._usual(view)
            excess = None if usual is None else self._excess(view, usual)
            if excess is not None:
                verdicts.append(self._paused(view, excess))
        return tuple(verdicts) or None

    def _has_no_news(self, view: View) -> bool:
        if type(view.event) in _TELLS_OF_FILLS:
            return False
        newest = view.account.ledger.newest
        return newest is None or view.now - newest.received_at > NEWS_LASTS

    # --- the days before ---

    def _kept(self, view: View) -> Iterator[Ask]:
        """Yield marks for days that are over, and drop those of days too long ago."""
        ledger, today = view.account.ledger, view.account.trading_date
        for day in ledger.totals:
            if day >= today:
                continue
            mark = view.mark(self.id, f"{_DAY}{day}")
            if mark is not None and type(view.event) not in _TELLS_OF_FILLS:
                continue
            pace = _pace_of(self._entries(view, day))
            if pace is not None and (mark is None or mark.value != pace.text()):
                yield Remember(f"{_DAY}{day}", value=pace.text())
        days = [m.subject for m in view.marks(self.id) if m.subject.startswith(_DAY)]
        if len(days) > self.days:
            yield from map(Forget, sorted(days)[: -self.days])

    def _known(self, view: View) -> Mapping[date, Pace]:
        return {
            date.fromisoformat(mark.subject.removeprefix(_DAY)): Pace.read(mark.value)
            for mark in view.marks(self.id)
            if mark.subject.startswith(_DAY)
        }

    def _last_days(self, view: View) -> list[Pace]:
        today = view.account.trading_date
        known = sorted((day, pace) for day, pace in self._known(view).items() if day < today)
        return [pace for _, pace in known[-self.days :]]

    def _usual(self, view: View) -> Pace | None:
        """Return the average of the last days; None while too few of them are known."""
        paces = self._last_days(view)
        if len(paces) < self.min_days:
            return None
        return Pace(
            sum((p.entries for p in paces), ZERO) / len(paces),
            sum((p.lots for p in paces), ZERO) / len(paces),
        )

    # --- today ---

    def _entries(self, view: View, day: date | None = None) -> Sequence[Entry]:
        """Return the entries of a trading date, or all that the ledger holds, oldest first."""
        ledger, symbols = view.account.ledger, view.state.rulebook.symbols
        lots: dict[int, Decimal] = {}
        last: dict[int, Execution] = {}
        for e in ledger.standing():
            if e.pnl is None:
                weight = symbols.weight(view.root(e.contract_id))
                lots[e.order_id] = lots.get(e.order_id, ZERO) + e.size * weight
                last[e.order_id] = e
        return [
            Entry(order_id, e.executed_at, lots[order_id], last[order_id])
            for order_id, e in ledger.increasing_orders().items()
            if day is None or e.trading_date == day
        ]

    def _excess(self, view: View, usual: Pace) -> Excess | None:
        """Return the newest entry above the pace, if it starts a pause now."""
        entries, most = self._entries(view), usual.times(self.factor)
        pause = view.mark(self.id, _PAUSE)
        for number in range(len(entries) - 1, -1, -1):
            entry = entries[number]
            if entry.last.counts_from + self.cooldown <= view.now:
                return None
            if pause is not None and (
                pause.value == str(entry.order_id)
                or (pause.due_at is not None and entry.at < pause.due_at)
            ):
                return None
            count = sum(entry.at - e.at < HOUR for e in entries[: number + 1])
            reason = self._above(Pace(Decimal(count), entry.lots), usual, most)
            if reason:
                return Excess(entry, reason) if view.landed(entry.last) else None
        return None

    def _above(self, now: Pace, usual: Pace, most: Pace) -> str:
        times = f"more than {self.factor.normalize():f} times your usual"
        told = []
        if now.entries > most.entries:
            told.append(f"{now.entries} entries in an hour, {times} {_plain(usual.entries)}")
        if now.lots > most.lots:
            told.append(
                f"an entry of {_plain(now.lots)} micro-equivalents, {times} {_plain(usual.lots)}"
            )
        return "; ".join(told)

    def _paused(self, view: View, excess: Excess) -> Verdict:
        ends_at = excess.entry.last.counts_from + self.cooldown
        reason = f"{excess.reason}; no new entries for {in_whole_seconds(ends_at - view.now)}"
        order_id = str(excess.entry.order_id)
        lock = new_lock(
            view,
            self.id,
            reason,
            until=ends_at,
            policy=LockPolicy.NO_ENTRIES,
            kind=LockKind.COOLDOWN,
            trigger=order_id,
        )
        mark = Remember(_PAUSE, due_at=ends_at, value=order_id)
        return Verdict(reason=reason, subject=f"entry:{order_id}", asks=(lock, mark))

    # --- for people ---

    def meter(self, view: View) -> Meter:
        usual = self._usual(view)
        known = len(self._last_days(view))
        recent = [e for e in self._entries(view) if view.now - e.at < HOUR]
        count, largest = Decimal(len(recent)), max((e.lots for e in recent), default=ZERO)
        if usual is None:
            return self.reading(
                current=None,
                limit=None,
                unit="entries",
                sentence=f"your usual pace is not known yet: {known} of {self.min_days} traded "
                f"days; {count} entries in the last hour",
                state=MeterState.UNKNOWN,
            )
        most = usual.times(self.factor)
        sentence = (
            f"{count} entries in the last hour (usually up to {_plain(usual.entries)}), the "
            f"largest {_plain(largest)} micros (usually {_plain(usual.lots)}), by {known} days"
        )
        by_size = most.lots > 0 and largest / most.lots > count / most.entries
        current, limit, own = (
            (largest, most.lots, usual.lots) if by_size else (count, most.entries, usual.entries)
        )
        state = MeterState.OK
        if current > limit or view.lock(self.id) is not None:
            state = MeterState.BREACH
        elif current > own:
            state = MeterState.WARN
        return self.reading(
            current=current,
            limit=limit,
            unit="micro-equivalents" if by_size else "entries",
            sentence=sentence,
            state=state,
        )


def _pace_of(entries: Sequence[Entry]) -> Pace | None:
    """Return the figures of a day; None where nothing was entered."""
    if not entries:
        return None
    most, first = 0, 0
    for number, entry in enumerate(entries):
        while entry.at - entries[first].at >= HOUR:
            first += 1
        most = max(most, number - first + 1)
    return Pace(Decimal(most), max(e.lots for e in entries))


def _plain(number: Decimal) -> str:
    return f"{round(number, 1).normalize():f}"
