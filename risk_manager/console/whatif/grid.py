"""The curve of one limit at several values, with the warning that belongs to it."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.console.whatif import words
from risk_manager.console.whatif.charts import GRID_LEGENDS, grid_chart
from risk_manager.console.whatif.plot_pane import PlotPane
from risk_manager.whatif.grid import WARNING
from risk_manager.whatif.result import Result

OVERFITTED = f"OVERFITTED? {WARNING}"
MARKS = (
    "Later trades of a day after its first intervention are never added as they were traded; "
    "what is not counted differs from value to value."
)


class GridPage(Page):
    page = "whatif_grid"
    BINDINGS = bindings_of("whatif_grid")

    def __init__(self, grid: str, answers: Sequence[tuple[str, Result]]) -> None:
        super().__init__()
        self._grid = grid
        self._answers = answers

    @property
    def heading(self) -> str:
        return f"What if: {self._grid}"

    def body(self) -> ComposeResult:
        yield Text(classes="warning")
        yield PlotPane(GRID_LEGENDS, id="grid-plot")
        with VerticalScroll(id="values"):
            yield Text(classes="lines")
        yield Text(MARKS, classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(".warning", Text).put(Content(OVERFITTED))
        self.query_one("#values").focus()

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        self.query_one(PlotPane).show(grid_chart(self._answers))
        room = self.query_one("#values").content_size.width
        told = words.grid_lines(self._answers, room)
        self.query_one("#values .lines", Text).put(Content("\n").join(told))
