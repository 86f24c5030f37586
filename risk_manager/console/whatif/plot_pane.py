"""A plot with its legend above it, drawn again when its room or the theme changes."""

from collections.abc import Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.theme import Theme
from textual_plot.axis_formatter import AxisFormatter

from risk_manager.console.text import Text
from risk_manager.console.whatif.charts import Chart
from risk_manager.dashboard.widgets.plot import Plot, fits


class PlotPane(Vertical):
    """`legends`: the first that fits is shown."""

    def __init__(self, legends: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self._legends = legends
        self._labels = _Labels()
        self._chart: Chart | None = None

    def compose(self) -> ComposeResult:
        yield Text(classes="legend")
        yield Plot(self._labels)

    def on_mount(self) -> None:
        self.query_one(Plot).display = False
        self.app.theme_changed_signal.subscribe(self, self._in_theme)

    def show(self, chart: Chart | None) -> None:
        """Draw this from now on; None: there is nothing to draw."""
        self._chart = chart
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()
        self.call_after_refresh(self._draw)  # the plot itself has its room only then

    def _in_theme(self, _: Theme) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        plot, room = self.query_one(Plot), self.content_size
        legend = next((x for x in self._legends if len(x) <= room.width), self._legends[-1])
        has_room = fits(room.with_height(room.height - 1))
        plot.display = self._chart is not None and has_room
        if self._chart is not None and not has_room:
            legend = "the plot needs a larger terminal"
        self.query_one(".legend", Text).put(Content(legend if self._chart is not None else ""))
        if self._chart is not None and has_room:
            self._labels.known = self._chart.labels
            plot.draw(self._chart.drawing)


class _Labels(AxisFormatter):
    """Words at places of the axis, as many of them as there is room for."""

    def __init__(self) -> None:
        self.known: Sequence[tuple[float, str]] = ()

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        step = -(-len(self.known) // max(max_ticks, 1)) or 1
        return [at for at, _ in self.known[::step]]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        words = dict(self.known)
        return [words.get(tick, "") for tick in ticks]
