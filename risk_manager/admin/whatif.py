"""Judges recorded days again under the limits of a configuration folder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from risk_manager.admin.records import database_in
from risk_manager.domain.rulebook import Mode, Rulebook
from risk_manager.settings import Configuration
from risk_manager.store import journal
from risk_manager.store.recorded_days import Recorded
from risk_manager.store.schema import StoreError
from risk_manager.whatif.csv_files import UnreadableFile, read_fills
from risk_manager.whatif.fills import Fill, by_day, judgeable, recording_of
from risk_manager.whatif.grid import Grid, Trial, on_trial, variants
from risk_manager.whatif.judging import JudgedDay, Recording, judge_day
from risk_manager.whatif.outcomes import Slippage
from risk_manager.whatif.result import Result, result_of

_SATURDAY = 5
_TURNS_BETWEEN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The day that is being judged, and its place among all judgements."""

    day: date
    number: int
    of: int


type Watch = Callable[[Progress], None]
"""Is told often what is being judged. What it raises ends the judging."""


def unwatched(_: Progress) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which days to judge: from the journal in `data`, or from a file of executions."""

    data: Path
    csv_file: Path | None = None
    first: date | None = None
    last: date | None = None
    account_id: int | None = None
    slippage: Slippage = field(default_factory=Slippage)

    def wants(self, day: date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


@dataclass(slots=True, kw_only=True)
class Answer:
    """The result, the results by value of a grid, and notes on what limits their meaning."""

    result: Result
    grid: list[tuple[str, Result]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Source:
    """The recorded days, read anew each time they are judged. Raises `StoreError`,
    `UnreadableFile`."""

    def __init__(self, asked: Asked, rulebook: Rulebook, watch: Watch, rounds: int) -> None:
        """`rounds` is how often the days are to be judged."""
        self._asked = asked
        self._watch = watch
        self._rounds = rounds
        self._begun = 0
        self._fills: dict[date, list[Fill]] = {}
        self.has_quotes = asked.csv_file is None
        if asked.csv_file is not None:
            fills = read_fills(_text_of(asked.csv_file), account_id=asked.account_id)
            grouped = by_day(fills, rulebook.day)
            self._fills = {day: found for day, found in grouped.items() if asked.wants(day)}
            self.days: Sequence[date] = list(self._fills)
            self.accounts = {fill.account_id for fill in fills}
        else:
            self._database = database_in(asked.data)
            known = journal.days(self._database.parent / "journal")
            self.days = [day for day in known if asked.wants(day)]
            self.accounts = set()
        self.incomplete: dict[date, str] = {}

    def judged(self, rulebook: Rulebook) -> Iterator[JudgedDay]:
        for day in self.days:
            self._begun += 1
            if not self.has_quotes:
                recording: Recording = recording_of(self._fills[day], rulebook)
                yield judge_day(day, self._watched(day, recording), rulebook)
                continue
            recorded = Recorded(day=day)
            try:
                recording = recorded.turns(self._database)
                judged = judge_day(day, self._watched(day, recording), rulebook)
            except StoreError as error:
                if len(self.days) == 1:
                    raise
                self.incomplete[day] = f"{day} is left out: {error}"
                continue
            yield judged
            if recorded.missing or recorded.dropped:
                self.incomplete[day] = (
                    f"{day}: {recorded.missing} events are missing and {recorded.dropped} were "
                    "dropped; what follows them may differ from what happened"
                )

    def _watched(self, day: date, recording: Recording) -> Recording:
        progress = Progress(day=day, number=self._begun, of=len(self.days) * self._rounds)
        for n, item in enumerate(recording):
            if n % _TURNS_BETWEEN == 0:
                self._watch(progress)
            yield item


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UnreadableFile(f"{path} cannot be read: {reason}") from None


def judge(
    asked: Asked,
    configuration: Configuration,
    grid: Grid | None,
    *,
    trials: Sequence[Trial] = (),
    watch: Watch = unwatched,
) -> Answer:
    """Judge the days asked for. Raises `StoreError`, `UnreadableFile` and `GridRefused`.

    `trials` are values that differ from those of the configuration.
    """
    rulebook = configuration.rulebook()
    for trial in trials:
        rulebook = on_trial(trial, rulebook)
    if asked.csv_file is not None and asked.account_id is None:
        only = list(rulebook.accounts)
        if len(only) == 1 and not _names_accounts(asked.csv_file):
            asked = replace(asked, account_id=only[0])
    source = Source(asked, rulebook, watch, rounds=1 + (0 if grid is None else len(grid.values)))
    answer = Answer(result=Result())
    if not source.has_quotes:
        rulebook, told = judgeable(rulebook)
        answer.notes += told
        answer.notes.append(
            "the file holds no quotes: a close before the trader's own exit is estimated at the "
            "prices of the trade itself"
        )
    tried = [] if grid is None else list(variants(grid, rulebook))
    answer.result = _result(asked, source, rulebook)
    answer.notes += source.incomplete.values()
    answer.notes += _notes(answer.result, rulebook, source, asked)
    answer.grid = [(f"{value:f}", _result(asked, source, book)) for value, book in tried]
    return answer


def recorded_days(data: Path) -> list[date]:
    """Return the days of the journal, oldest first. Raises `StoreError`."""
    return journal.days(database_in(data).parent / "journal")


def _names_accounts(path: Path) -> bool:
    return "account_id" in _text_of(path).partition("\n")[0]


def _result(asked: Asked, source: Source, rulebook: Rulebook) -> Result:
    return result_of(
        source.judged(rulebook),
        asked.slippage,
        has_quotes=source.has_quotes,
        account_id=asked.account_id,
    )


def _notes(result: Result, rulebook: Rulebook, source: Source, asked: Asked) -> Iterator[str]:
    for account_id in sorted({d.account_id for d in result.days}):
        rules = rulebook.accounts.get(account_id)
        if rules is None:
            yield f"account {account_id} is not enabled in this configuration: it has no limits"
        elif rules.mode is Mode.SHADOW:
            yield f"account {account_id} is in shadow in this configuration: nothing is enforced"
    locked = sorted({d.day for d in result.days if d.locked_in_record_at is not None})
    if locked:
        yield (
            f"on {', '.join(str(day) for day in locked)} the limits of that day had locked what "
            "these would have left open; what would have been traded then is not on record"
        )
    if result.has_other_trading_day:
        yield "trading_day differs from that of the record, which is used for the reset"
    if source.has_quotes and asked.first and asked.last:
        lacking = [d for d in _weekdays(asked.first, asked.last) if d not in source.days]
        if lacking:
            yield f"no journal exists of {', '.join(str(d) for d in lacking)}"


def _weekdays(first: date, last: date) -> Iterator[date]:
    for n in range((last - first).days + 1):
        day = first + timedelta(days=n)
        if day.weekday() < _SATURDAY:
            yield day
