"""The question of a what-if: which days, under which limits, and what is on trial."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from risk_manager.admin.records import RecordsUnreadable
from risk_manager.admin.whatif import Asked, recorded_days
from risk_manager.admin.whatif_question import Question, parse_trial
from risk_manager.console.keys import bindings_of
from risk_manager.console.menu import EntriesPage
from risk_manager.console.whatif.result import ResultPage
from risk_manager.domain.rulebook import Rulebook
from risk_manager.settings.loading import load
from risk_manager.whatif.grid import GridRefused, on_trial, parse_grid
from risk_manager.whatif.outcomes import Slippage

MOST_TICKS = 100
LIMITS_LISTED = 16


class QuestionPage(EntriesPage):
    """`question` None: all recorded days, under the limits of the console's folder."""

    page = "whatif"
    BINDINGS = bindings_of("whatif")

    def __init__(self, question: Question | None = None, *, judges_at_once: bool = False) -> None:
        super().__init__()
        self._asked_before = question
        self._judges_at_once = judges_at_once
        self._recorded: list[date] = []
        self._trouble = ""

    def on_mount(self) -> None:
        super().on_mount()
        console = self.console
        self.question = self._asked_before or Question(
            config=console.config, asked=Asked(data=console.data)
        )
        self._tell()
        self.read("looking for recorded days", self._look)
        if self._judges_at_once:
            self.action_judge()

    async def _look(self) -> None:
        try:
            self._recorded = await asyncio.to_thread(recorded_days, self.console.data)
        except RecordsUnreadable as error:
            self._trouble = str(error)
        self._tell()

    def _tell(self) -> None:
        asked, found = self.question.asked, self._recorded
        if asked.csv_file is not None:
            source = f"the file {asked.csv_file}"
        elif found:
            count = f"{len(found)} day{'' if len(found) == 1 else 's'}"
            source = f"the journal: {count}, {found[0]} to {found[-1]}"
        else:
            source = self._trouble or "the journal: no day is recorded yet"
        first, last = asked.first or "the first day", asked.last or "the last day"
        slippage = asked.slippage
        self.put_facts(
            [
                "Judges past days again under other limits. Nothing is sent or written.",
                f"record    {source}",
                f"days      {first} to {last}",
                f"account   {asked.account_id or 'every account'}",
                f"limits    {self.question.config}",
                f"on trial  {', '.join(self.question.trials) or 'nothing'}",
                f"grid      {self.question.grid or 'none'}",
                f"slippage  {slippage.low} to {slippage.high} ticks",
            ]
        )

    def _ask_for(self, question: Question) -> None:
        self.question = question
        self._tell()
        self.report.tell([])

    def action_judge(self) -> None:
        self.app.push_screen(ResultPage(self.question))

    # --- parts of the question ---

    def action_choose_days(self) -> None:
        self.begin("choosing the days", self._choose_days)

    async def _choose_days(self) -> None:
        asked, found = self.question.asked, self._recorded
        lines = ["As 2026-11-23. Empty: from the first day of the record."]
        lines += [f"Recorded: {found[0]} to {found[-1]}"] if found else []
        text = await self.ask(
            "From which trading date",
            lines=lines,
            now=str(asked.first or (found[0] if found else "")),
            check=_problem_with_date,
        )
        first = _date(text)

        def problem(given: str) -> str | None:
            wrong = _problem_with_date(given)
            last = _date(given) if wrong is None else None
            is_early = first is not None and last is not None and last < first
            return f"that is before {first}" if is_early else wrong

        text = await self.ask(
            "Up to which trading date",
            lines=["Empty: up to the last day of the record."],
            now=str(asked.last or (found[-1] if found else "")),
            check=problem,
        )
        self._ask_for(replace(self.question, asked=replace(asked, first=first, last=_date(text))))

    def action_choose_limits(self) -> None:
        self.begin("choosing the limits", self._choose_limits)

    async def _choose_limits(self) -> None:
        text = await self.ask(
            "Configuration folder whose limits are tried",
            lines=["A copy of yours, for example. It is only read."],
            now=str(self.question.config),
            check=lambda given: None if Path(given).is_dir() else f"there is no folder {given!r}",
        )
        with self.doing("checking its files"):
            await asyncio.to_thread(load, Path(text))
        self._ask_for(replace(self.question, config=Path(text)))

    def action_try_value(self) -> None:
        self.begin("choosing a value", self._try_value)

    async def _try_value(self) -> None:
        with self.doing("reading the limits"):
            rulebook = await asyncio.to_thread(_rulebook, self.question)
        text = await self.ask(
            "Value on trial: RULE.FIELD=VALUE",
            lines=["Written as in the file. Empty: as in the files again.", *_limits(rulebook)],
            now=self.question.trials[-1] if self.question.trials else "",
            check=lambda given: _problem_with_trial(given, rulebook),
        )
        name = text.partition("=")[0].strip()
        others = [t for t in self.question.trials if t.partition("=")[0].strip() != name]
        self._ask_for(replace(self.question, trials=(*others, text) if text else ()))

    def action_choose_grid(self) -> None:
        self.begin("choosing the grid", self._choose_grid)

    async def _choose_grid(self) -> None:
        with self.doing("reading the limits"):
            rulebook = await asyncio.to_thread(_rulebook, self.question)
        text = await self.ask(
            "One limit at several values: RULE.FIELD=LOW:HIGH:STEP",
            lines=[
                "As daily_realized_loss.limit=300:1000:100. Empty: no grid.",
                *_limits(rulebook),
            ],
            now=self.question.grid,
            check=_problem_with_grid,
        )
        self._ask_for(replace(self.question, grid=text))

    def action_choose_account(self) -> None:
        self.begin("choosing the account", self._choose_account)

    async def _choose_account(self) -> None:
        asked = self.question.asked
        text = await self.ask(
            "Number of the account",
            lines=["Empty: every account of the record."],
            now=str(asked.account_id or ""),
            check=lambda given: (
                None if not given or _is_number(given) else "an account's number has only digits"
            ),
        )
        account_id = int(text) if text else None
        self._ask_for(replace(self.question, asked=replace(asked, account_id=account_id)))

    def action_choose_file(self) -> None:
        self.begin("choosing the record", self._choose_file)

    async def _choose_file(self) -> None:
        asked = self.question.asked
        text = await self.ask(
            "CSV file of executions",
            lines=[
                "An export of trades from TopstepX, or of `admin history trades --csv`.",
                "Empty: the journal.",
            ],
            now=str(asked.csv_file or ""),
            check=lambda given: (
                None if not given or Path(given).is_file() else f"there is no file {given!r}"
            ),
        )
        file = Path(text) if text else None
        self._ask_for(replace(self.question, asked=replace(asked, csv_file=file)))

    def action_choose_slippage(self) -> None:
        self.begin("choosing the slippage", self._choose_slippage)

    async def _choose_slippage(self) -> None:
        asked = self.question.asked
        text = await self.ask(
            "Slippage in ticks: LOW:HIGH",
            lines=["How many ticks worse than the quote a close fills."],
            now=f"{asked.slippage.low}:{asked.slippage.high}",
            check=lambda given: None if _slippage(given) else f"as 0:2, {MOST_TICKS} at most",
        )
        chosen = _slippage(text)
        if chosen is not None:
            self._ask_for(replace(self.question, asked=replace(asked, slippage=chosen)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _problem_with_date(text: str) -> str | None:
    try:
        _date(text)
    except ValueError:
        return f"{text!r} is no date; write it as 2026-11-23"
    return None


def _slippage(text: str) -> Slippage | None:
    low, _, high = text.partition(":")
    if not all(part.isascii() and part.isdigit() for part in (low, high)):
        return None
    return Slippage(low=int(low), high=int(high)) if int(low) <= int(high) <= MOST_TICKS else None


def _rulebook(question: Question) -> Rulebook:
    return load(question.config).rulebook()


def _limits(rulebook: Rulebook) -> Sequence[str]:
    """Return a number of each enabled rule as it would be written, with its value now."""
    found: dict[str, str] = {}
    for account in rulebook.accounts.values():
        for rule in account.rules:
            for field, value in rule:
                is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
                if is_number and rule.id not in found:
                    found[rule.id] = f"  {rule.id}.{field}={value}"
    return list(found.values())[:LIMITS_LISTED]


def _problem_with_trial(text: str, rulebook: Rulebook) -> str | None:
    if not text:
        return None
    try:
        on_trial(parse_trial(text), rulebook)
    except GridRefused as error:
        return str(error)
    return None


def _problem_with_grid(text: str) -> str | None:
    if not text:
        return None
    try:
        parse_grid(text)
    except GridRefused as error:
        return str(error)
    return None
