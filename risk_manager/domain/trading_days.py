"""The results of the trading days that have ended, and the balance with which today began."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from risk_manager.domain.memo import Memo
from risk_manager.domain.money import ZERO

DAYS = "days"
"""The rule id of the marks that keep an account's trading days; they belong to no rule."""
OPENING = "opening"
"""The subject of the mark with the balance of the morning. The other subjects are dates."""
_UNKNOWN = "?"
_SATURDAY = 5


class EndedDay(NamedTuple):
    """One trading day that has ended. Money in account currency; None is unknown.

    `pnl` is before fees. `balance` is that at the end of the day, without open positions.
    """

    pnl: Decimal | None = None
    fees: Decimal | None = None
    balance: Decimal | None = None

    @property
    def net(self) -> Decimal | None:
        return None if self.pnl is None or self.fees is None else self.pnl - self.fees

    def made(self, *, after_fees: bool) -> Decimal | None:
        """Return the realised result on one of the two bases."""
        return self.net if after_fees else self.pnl

    def __str__(self) -> str:
        return " ".join(_UNKNOWN if part is None else str(part) for part in self)


class Opening(NamedTuple):
    """The balance with which a trading day began.

    `implied` is another balance that the newest report of the broker led to. It is believed once
    a second report leads to it as well.
    """

    day: date
    balance: Decimal
    implied: Decimal | None = None

    def __str__(self) -> str:
        second = "" if self.implied is None else f" {self.implied}"
        return f"{self.day.isoformat()} {self.balance}{second}"


class Made(NamedTuple):
    """What the known days of a period made together, and the best of them (None: no day)."""

    total: Decimal
    best: Decimal | None


NOT_KNOWN = EndedDay()


@dataclass(frozen=True)
class TradingDays:
    """What an account remembers of its trading days. A day without an entry is unknown."""

    ended: Mapping[date, EndedDay] = field(default_factory=lambda: MappingProxyType({}))
    opening: Opening | None = None

    @classmethod
    def of(cls, marks: Iterable[tuple[str, str]]) -> "TradingDays":
        """Read the days back from their marks: subjects and values."""
        return _days_of(tuple(marks))

    @cached_property
    def memo(self) -> Memo[tuple[Any, ...]]:
        """Results by rule id, for rules that follow from the days before."""
        return Memo()

    @cached_property
    def _answers(self) -> dict[tuple[object, ...], Any]:
        """Answers given before, by question; some are asked for with every event."""
        return {}

    def opened_with(self, today: date) -> Decimal | None:
        """Return the balance at the beginning of today; None if unknown."""
        opening = self.opening
        return opening.balance if opening is not None and opening.day == today else None

    def before(self, today: date) -> Decimal | None:
        """Return the balance at the end of the last trading day before today; None if unknown."""
        last = self.ended.get(weekday_before(today))
        if last is not None and last.balance is not None:
            return last.balance
        return self.opened_with(today)

    def highest(self, today: date, since: date | None = None) -> Decimal | None:
        """Return the highest balance at the end of a day before today; None if none is known."""
        known, question = self._answers, ("highest", today, since)
        if question not in known:
            known[question] = max(
                (
                    d.balance
                    for day, d in self.ended.items()
                    if d.balance is not None and day < today and (since is None or day >= since)
                ),
                default=None,
            )
        found: Decimal | None = known[question]
        return found

    def made(self, since: date, today: date, *, after_fees: bool) -> Made:
        """Return what the days since a date made, unknown ones and today left out."""
        known, question = self._answers, ("made", today, since, after_fees)
        if question not in known:
            results = [
                result
                for day, d in self.ended.items()
                if since <= day < today and (result := d.made(after_fees=after_fees)) is not None
            ]
            known[question] = Made(sum(results, ZERO), max(results, default=None))
        found: Made = known[question]
        return found

    def unknown(self, since: date, today: date) -> tuple[date, ...]:
        """Return the trading days since a date, today left out, whose result is unknown."""
        known, question = self._answers, ("unknown", today, since)
        if question not in known:
            ended = self.ended
            known[question] = tuple(
                d for d in weekdays(since, today) if ended.get(d, NOT_KNOWN).pnl is None
            )
        found: tuple[date, ...] = known[question]
        return found


def weekdays(since: date, until: date) -> Iterator[date]:
    """Yield the trading dates since <= date < until."""
    day = since
    while day < until:
        if day.weekday() < _SATURDAY:
            yield day
        day += timedelta(days=1)


def weekday_before(day: date) -> date:
    """Return the trading date before this one."""
    day -= timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day -= timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _days_of(marks: tuple[tuple[str, str], ...]) -> TradingDays:
    ended, opening = {}, None
    for subject, text in marks:
        if subject == OPENING:
            opening = _opening(text)
        else:
            ended[date.fromisoformat(subject)] = _ended_day(text)
    return TradingDays(ended, opening)


@cache
def _ended_day(text: str) -> EndedDay:
    return EndedDay(*(None if part == _UNKNOWN else Decimal(part) for part in text.split(" ")))


@lru_cache(maxsize=64)
def _opening(text: str) -> Opening:
    day, *amounts = text.split(" ")
    return Opening(date.fromisoformat(day), *map(Decimal, amounts))
