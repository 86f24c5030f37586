"""One day of a what-if: its round turns with their marks, and its course."""

from textual import events, on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.console.choice import Choice
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.console.whatif import words
from risk_manager.console.whatif.charts import COURSE_LEGENDS, course_chart
from risk_manager.console.whatif.plot_pane import PlotPane
from risk_manager.dashboard.widgets.panel import headings
from risk_manager.whatif.result import AccountResult


class DayPage(Page):
    page = "whatif_day"
    BINDINGS = bindings_of("whatif_day")

    def __init__(self, day: AccountResult) -> None:
        super().__init__()
        self._day = day

    @property
    def heading(self) -> str:
        return f"What if: {self._day.day:%a %d %b %Y}, account {self._day.account_id}"

    def body(self) -> ComposeResult:
        yield Text(classes="summary")
        yield PlotPane(COURSE_LEGENDS, id="day-plot")
        yield Text(classes="columns")
        yield Choice(id="turns")
        yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#turns", Choice).focus()

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        day = self._day
        came = words.first_intervention(day)
        first = Content.assemble(
            ("first intervention ", "dim"),
            ("none" if came == "-" else came, "bold"),
            f": {day.reason}" if day.intervened_at is not None and day.reason else "",
        )
        after = sum(outcome.is_after for outcome in day.outcomes)
        lines = [first, words.sums([day], self.size.width - 2)]
        if after:
            lines.append(Content.assemble(("* ", "bold"), f"{after} {words.AFTER}"))
        self.query_one(".summary", Text).put(Content("\n").join(lines))
        self.query_one(PlotPane).show(course_chart([day]))
        columns = words.turn_columns(self.size.width)
        self.query_one(".columns", Text).put(headings(columns))
        self.query_one("#turns", Choice).put(
            [
                (str(number), words.turn_row(columns, outcome))
                for number, outcome in enumerate(day.outcomes)
            ]
        )

    @on(OptionList.OptionHighlighted)
    def _say(self, highlighted: OptionList.OptionHighlighted) -> None:
        if highlighted.option_id is not None:
            outcome = self._day.outcomes[int(highlighted.option_id)]
            self.query_one(".meaning", Text).put(Content(words.turn_told(outcome)))
