"""The answer of a what-if in one glance: the sums, the rules, the days, and their course."""

import asyncio
import threading

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.admin.whatif import Answer, Progress
from risk_manager.admin.whatif_question import Question
from risk_manager.console.choice import Choice
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.console.whatif import words
from risk_manager.console.whatif.charts import COURSE_LEGENDS, course_chart
from risk_manager.console.whatif.day import DayPage
from risk_manager.console.whatif.grid import GridPage
from risk_manager.console.whatif.plot_pane import PlotPane
from risk_manager.console.windows import Reading
from risk_manager.dashboard.widgets.panel import headings

WIDE_FROM = 150  # columns: the days stand beside the plot
TALL_FROM = 30  # rows
TOLD_EVERY_S = 0.2
STOPPED = "stopped; r judges the days again"


class ResultPage(Page):
    """Judges in a thread of its own, which ends when the page is left or the judging stopped."""

    page = "whatif_result"
    BINDINGS = bindings_of("whatif_result")

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question
        self.answer: Answer | None = None
        self._is_judging = False
        self._progress: Progress | None = None
        self._stop = threading.Event()

    def body(self) -> ComposeResult:
        yield Text(classes="summary")
        with Vertical(id="panes"):
            with Vertical(id="course"):
                yield PlotPane(COURSE_LEGENDS, id="course-plot")
                with VerticalScroll(id="rules"):
                    yield Text(classes="lines")
            with Vertical(id="day-list"):
                yield Text(classes="columns")
                yield Choice(id="days")
                yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#days", Choice).focus()
        self.query_one(".summary", Text).put(Content.assemble(("tried ", "dim"), self._tried))
        self.set_interval(TOLD_EVERY_S, self._tell_progress)
        self.action_again()

    def on_unmount(self) -> None:
        self._stop.set()

    def on_resize(self, _: events.Resize) -> None:
        size = self.app.size
        self.set_class(size.width >= WIDE_FROM, "-wide")
        self.set_class(size.height >= TALL_FROM, "-tall")
        self.call_after_refresh(self._show)

    @property
    def _tried(self) -> str:
        """The values on trial come first: a long name of a folder must not hide them."""
        trials = ", ".join(self.question.trials)
        return f"rules ON{f', with {trials}' if trials else ''}, as in {self.question.config}"

    # --- judging ---

    def action_again(self) -> None:
        self.begin("judging", self._judge)

    async def _judge(self) -> None:
        self._stop.clear()
        self._progress = None
        self._is_judging = True
        self.refresh_bindings()
        try:
            with self.doing("judging"):
                self.answer = answer = await asyncio.to_thread(self.question.answer, self._watch)
        finally:
            self._is_judging = False
            self.refresh_bindings()
        self._show()
        if not answer.result.days:
            raise GivenUp("; ".join(["there is no record of these days", *answer.notes]))
        count = len({day.day for day in answer.result.days})
        notes = len(answer.notes)
        told = f"; {notes} note{'' if notes == 1 else 's'}: n" if notes else ""
        days = f"{count} day{'' if count == 1 else 's'}"
        self.report.tell([f"{days} judged{told}"])
        if answer.grid:
            self.action_grid()

    def _watch(self, progress: Progress) -> None:
        """Called in the thread that judges."""
        self._progress = progress
        if self._stop.is_set():
            raise GivenUp(STOPPED)

    def _tell_progress(self) -> None:
        now = self._progress
        if self._is_judging and now is not None:
            self.report.note(f"{now.day}, {now.number} of {now.of}; x stops it")

    def action_stop(self) -> None:
        self._stop.set()

    # --- showing ---

    def _show(self) -> None:
        if self.answer is None or not self.is_attached:
            return
        result = self.answer.result
        self.query_one(".summary", Text).put(
            Content("\n").join(words.summary(result, self._tried, self.size.width - 2))
        )
        self.query_one("#course-plot", PlotPane).show(course_chart(result.days))
        rules = self.query_one("#rules")
        told = words.rule_lines(list(result.rules.values()), rules.content_size.width)
        self.query_one("#rules .lines", Text).put(Content("\n").join(told))
        room = self.query_one("#day-list").content_size.width
        has_accounts = len({day.account_id for day in result.days}) > 1
        columns = words.day_columns(room, has_accounts=has_accounts)
        self.query_one(".columns", Text).put(headings(columns))
        self.query_one("#days", Choice).put(
            [
                (str(number), words.day_row(columns, day, room))
                for number, day in enumerate(result.days)
            ]
        )

    @on(OptionList.OptionHighlighted)
    def _say(self, highlighted: OptionList.OptionHighlighted) -> None:
        if self.answer is not None and highlighted.option_id is not None:
            day = self.answer.result.days[int(highlighted.option_id)]
            self.query_one(".meaning", Text).put(Content(words.day_told(day)))

    # --- keys ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        answer = self.answer
        match action:
            case "grid":
                return answer is not None and bool(answer.grid)
            case "notes":
                return answer is not None and bool(answer.notes)
            case "stop":
                return self._is_judging
            case "again":
                return not self._is_judging
        return True

    def action_open_day(self) -> None:
        chosen = self.query_one("#days", Choice).chosen
        if self.answer is not None and chosen is not None:
            self.app.push_screen(DayPage(self.answer.result.days[int(chosen)]))

    def action_grid(self) -> None:
        if self.answer is not None and self.answer.grid:
            self.app.push_screen(GridPage(self.question.grid, self.answer.grid))

    def action_notes(self) -> None:
        if self.answer is not None:
            self.app.push_screen(Reading("Notes", self.answer.notes))
