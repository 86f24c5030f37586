"""RULE-006: stop overtrading."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    model_validator,
)

from risk_manager.domain.decisions import Remember, Verdict, bookkeeping
from risk_manager.domain.durations import parse_duration, plain_duration
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    RulebookReplaced,
    TradeExecuted,
)
from risk_manager.domain.executions import Execution
from risk_manager.domain.fill_attribution import not_own
from risk_manager.domain.lockout import LockoutSpec, new_lock
from risk_manager.domain.locks import LockKind, LockPolicy, Release
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View
from risk_manager.rules.orders_placed import Counted, orders_counted, to_note
from risk_manager.rules.pauses import in_whole_seconds

DAY = timedelta(days=1)
# Long after the last fill, only events that may report missed fills can bring anything new.
NEWS_LASTS = timedelta(minutes=1)
_TELLS_OF_FILLS = frozenset({TradeExecuted, AccountReported, AccountOpened, RulebookReplaced})
_AT = attrgetter("executed_at")


def _parse_per(value: Any) -> timedelta | None:
    if value is None or value == "trading_day":
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; or trading_day") from None


Per = Annotated[
    timedelta | None,
    BeforeValidator(_parse_per),
    PlainSerializer(lambda v: "trading_day" if v is None else plain_duration(v), return_type=str),
]
"""A rolling duration; None is the trading day, from reset to reset."""


class Window(BaseModel):
    """At most `max` within `per`; more pauses for `cooldown`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    """How messages name it."""
    per: Per
    """How far back it counts: a duration, or `trading_day`."""
    max: PositiveInt
    """So many are allowed."""
    cooldown: LockoutSpec
    """How long entries pause: a duration, or `until_reset`."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Window":
        if self.per is not None and self.per <= timedelta(0):
            raise ValueError('per must be longer than zero, as "1m"')
        until = self.cooldown.until if self.cooldown else None
        if until is Release.MANUAL or until is None:
            raise ValueError('cooldown must be a duration, as "30m", or until_reset')
        if isinstance(until, timedelta) and until <= timedelta(0):
            raise ValueError('cooldown must be longer than zero, as "30m"')
        if not self.name:
            object.__setattr__(self, "name", self.span)
        return self

    @property
    def span(self) -> str:
        return "today" if self.per is None else f"in {plain_duration(self.per)}"

    @property
    def pause(self) -> timedelta | None:
        """How long; None is until the reset."""
        until = self.cooldown.until if self.cooldown else None
        return until if isinstance(until, timedelta) else None


@dataclass(frozen=True, slots=True)
class Excess:
    """The item that took a window over its maximum, and the count at that time."""

    window: Window
    last: Counted
    count: int


class TradeFrequencyLimit(Rule):
    """At most `max` trades per window; more start a pause, in which positions are only managed.

    The count is taken from the ledger by the gateway's timestamps and not kept in a counter. It
    stays right after restarts, late reports and voided trades.
    """

    spec_id: ClassVar[str] = "RULE-006"
    title: ClassVar[str] = "Trade frequency"

    rule: Literal["trade_frequency_limit"] = "trade_frequency_limit"
    count: Literal["entries", "round_turns", "executions", "orders"] = "entries"
    """What is counted: new positions, finished trades, fills, or orders."""
    windows: tuple[Window, ...] = Field(min_length=1)
    """The spans in which trades are counted."""
    trip: Literal["over", "reach"] = "over"
    action: Literal["block_entries", "close_all"] = "block_entries"
    """Pause entries, or close everything as well."""
    on_violation: Literal["keep", "extend"] = "keep"

    @model_validator(mode="after")
    def _windows_rise(self) -> "TradeFrequencyLimit":
        names = [w.name for w in self.windows]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"windows: named twice: {', '.join(twice)}")
        ordered = sorted(self.windows, key=lambda w: w.per or DAY)
        for shorter, longer in pairwise(ordered):
            if longer.max < shorter.max:
                raise ValueError(
                    f"windows: {longer.name} allows {longer.max}, the shorter {shorter.name} "
                    f"allows {shorter.max}; a longer window needs at least the same max"
                )
        return self

    def in_words(self) -> str:
        noun = {"round_turns": "finished trades", "executions": "fills"}.get(self.count, self.count)
        first = "More than " if self.trip == "over" else ""
        parts = [
            f"{first.lower() if n else first}{w.max} {'' if n else f'{noun} '}{w.span}: "
            f"{'' if w.cooldown is None else w.cooldown.in_words()}"
            for n, w in enumerate(self.windows)
        ]
        done = (
            "new entries are paused"
            if self.action == "block_entries"
            else "everything is closed and new entries are paused"
        )
        told = f"When there are too many {noun}, {done}. {'; '.join(parts)}."
        if self.on_violation == "extend":
            told += " An entry during the pause begins it anew."
        return told

    @property
    def rank(self) -> int:
        return 80

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        if self._has_no_news(view) or self._is_far_from_any(view):
            return None
        verdicts: list[Verdict] = []
        if self.count == "orders" and (noted := to_note(view, self.id, self._longest)):
            verdicts.append(bookkeeping(noted))
        counted = self._counted(view)
        if counted:
            excesses = [e for w in self.windows if (e := self._excess(view, w, counted))]
            if excesses:
                verdicts.append(self._breach(view, excesses))
        return tuple(verdicts) or None

    def _has_no_news(self, view: View) -> bool:
        if self.count == "orders" or type(view.event) in _TELLS_OF_FILLS:
            return False
        newest = view.account.ledger.newest
        return newest is None or view.now - newest.received_at > NEWS_LASTS

    def _is_far_from_any(self, view: View) -> bool:
        """Whether fewer things have happened in all than the smallest window allows."""
        ledger = view.account.ledger
        match self.count:
            case "entries":
                most = len(ledger.increasing_orders())
            case "round_turns":
                most = len(ledger.round_turns())
            case "executions":
                most = len(ledger.entries)
            case "orders":  # each has to be noted
                return False
        return most < self._least

    @cached_property
    def _least(self) -> int:
        return min(map(self._threshold, self.windows))

    def _breach(self, view: View, excesses: list[Excess]) -> Verdict:
        counts = ", ".join(
            f"{e.count} {self._words} {e.window.span} (limit {e.window.max})"
            if e.count >= self._threshold(e.window)
            else f"more {self._words} during the pause"
            for e in excesses
        )
        policy = LockPolicy.FLAT if self.action == "close_all" else LockPolicy.NO_ENTRIES
        until: datetime | Release = Release.RESET
        for_long = "until the reset"
        ends = [_pause_end(e) for e in excesses]
        latest = max((end for end in ends if end is not None), default=None)
        if latest is not None and None not in ends:
            until = latest
            for_long = f"for {in_whole_seconds(latest - view.now)}"
        what = "locked flat" if policy is LockPolicy.FLAT else "no new entries"
        reason = f"{counts}; {what} {for_long}"
        kind = LockKind.HARD if until is Release.RESET else LockKind.COOLDOWN
        subject = " ".join(f"{e.window.name}:{e.last.id}" for e in excesses)
        lock = new_lock(
            view,
            self.id,
            reason,
            until=until,
            expires_at=latest,
            policy=policy,
            kind=kind,
            trigger=subject,
        )
        marks = (Remember(_mark(e.window), value=str(e.last.id)) for e in excesses)
        return Verdict(reason=reason, subject=subject, asks=(lock, *marks))

    @property
    def _longest(self) -> timedelta:
        return max(w.per or DAY for w in self.windows)

    @property
    def _words(self) -> str:
        return self.count.replace("_", " ")

    # --- the windows ---

    def _excess(self, view: View, window: Window, counted: Sequence[Counted]) -> Excess | None:
        """Return the excess that must start a pause now; None if there is no new one."""
        mark = view.mark(self.id, _mark(window))
        paused_for = mark.value if mark else ""
        if paused_for == str(counted[-1].id) or not self._could_exceed(view, window, counted):
            return None
        found = self._last_excess_of(view, window, counted)
        if found is None or paused_for == str(found.last.id):
            return None
        end = _pause_end(found)
        last = found.last
        if last.trading_date < view.account.trading_date if end is None else end <= view.now:
            return None
        # Positions from before the pause may stay, so the positions must show this fill first.
        return found if not isinstance(last, Execution) or view.landed(last) else None

    def _could_exceed(self, view: View, window: Window, counted: Sequence[Counted]) -> bool:
        """Whether an excess is possible, by the newest items only: a cheap first check."""
        threshold = self._threshold(window)
        if len(counted) < threshold:
            return False
        newest = counted[-1]
        if window.pause is not None and newest.counts_from + window.pause <= view.now:
            return False
        if window.per is None:
            return counted[-threshold].trading_date == newest.trading_date
        if window.pause is None:
            return True
        horizon = newest.executed_at - window.per - window.pause
        return len(counted) - bisect_right(counted, horizon, key=_AT) >= threshold

    def _threshold(self, window: Window) -> int:
        return window.max + 1 if self.trip == "over" else window.max

    def _last_excess_of(
        self, view: View, window: Window, counted: Sequence[Counted]
    ) -> Excess | None:
        if self.count not in ("entries", "round_turns"):
            return self._last_excess(window, counted)
        # These follow from the ledger alone.
        memo, question = view.account.ledger.memo, f"{self.id} {window.name}"
        known = memo.get(question)
        if known is None or known[0] is not self:
            known = memo[question] = (self, self._last_excess(window, counted))
        excess: Excess | None = known[1]
        return excess

    def _last_excess(self, window: Window, counted: Sequence[Counted]) -> Excess | None:
        """Return the last excess that starts a pause.

        Items during a pause count, but start no pause of their own unless violations extend it.
        """
        found: Excess | None = None
        first = 0
        for i, item in enumerate(counted):
            while not _in_window(window, counted[first], item):
                first += 1
            count = i - first + 1
            if found is not None and _in_pause(window, found.last, item):
                if self.on_violation == "extend":
                    found = Excess(window, item, count)
            elif count >= self._threshold(window):
                found = Excess(window, item, count)
        return found

    # --- what counts ---

    def _counted(self, view: View) -> Sequence[Counted]:
        """Everything that counts, oldest first; our own orders never do."""
        ledger = view.account.ledger
        match self.count:
            case "entries":
                return list(ledger.increasing_orders().values())
            case "round_turns":
                return [turn.last for turn in ledger.round_turns() if turn.is_over]
            case "executions":
                return not_own(view.account, ledger.standing())
        return orders_counted(view, self.id)

    # --- for people ---

    def meter(self, view: View) -> Meter:
        counted = self._counted(view)
        counts = [(_now_in(view, window, counted), window) for window in self.windows]
        # The bar is that of the window of which most is used; the words begin with the window that
        # lets the fewest more through. Either both are at their limit, or neither is.
        count, fullest = max(counts, key=_used)
        counts.sort(key=lambda each: (_left(each), -_used(each)))
        told = ", ".join(f"{n} of {window.max} {window.span}" for n, window in counts)
        sentence = f"{self._words} {told}; {_left(counts[0])} left"
        state = MeterState.WARN if count >= fullest.max else MeterState.OK
        lock = view.lock(self.id)
        if lock is not None:
            state = MeterState.BREACH
            ends = lock.expires_at
            sentence = "locked"
            if ends is not None:
                sentence = f"no new entries for another {in_whole_seconds(ends - view.now)}"
        return self.reading(
            current=Decimal(count),
            limit=Decimal(fullest.max),
            unit=f"{self._words} {fullest.span}",
            sentence=sentence,
            state=state,
        )


def _in_window(window: Window, earlier: Counted, last: Counted) -> bool:
    """Whether both fall in the window that ends with `last`; exactly `per` old is out."""
    if window.per is None:
        return earlier.trading_date == last.trading_date
    return last.executed_at - earlier.executed_at < window.per


def _in_pause(window: Window, started_by: Counted, item: Counted) -> bool:
    if window.pause is None:
        return started_by.trading_date == item.trading_date
    return item.executed_at < started_by.executed_at + window.pause


def _pause_end(excess: Excess) -> datetime | None:
    """When the pause ends; None is at the reset."""
    pause = excess.window.pause
    return None if pause is None else excess.last.counts_from + pause


def _now_in(view: View, window: Window, counted: Sequence[Counted]) -> int:
    if window.per is None:
        return sum(c.trading_date == view.account.trading_date for c in counted)
    return len(counted) - bisect_right(counted, view.now - window.per, key=_AT)


def _used(counted: tuple[int, Window]) -> float:
    count, window = counted
    return count / window.max


def _left(counted: tuple[int, Window]) -> int:
    count, window = counted
    return max(window.max - count, 0)


def _mark(window: Window) -> str:
    return f"window:{window.name}"
