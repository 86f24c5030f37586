"""The course of the day as a plot. Only this module knows the plotting library."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from textual.app import ComposeResult, RenderResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Sparkline
from textual_hires_canvas import Canvas
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import AxisFormatter
from textual_plot.plot_widget import Legend

from risk_manager.dashboard.day_chart import (
    Chart,
    Level,
    Line,
    day_chart,
    in_cells,
    ticks_of_money,
    ticks_of_time,
)
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM

LEFT = 9  # cells for the amounts beside the plot
BELOW = 1  # and for the times under it
FRAME = 2
LEAST_COLUMNS, LEAST_ROWS = 40, 7  # less room shows a sparkline
DRAWN_EVERY_S = 3.0
SHARE_OF_TIME = 0.01  # of a core, that drawing again and again may take


class DayPlot(Vertical):
    """Realised and total result, limits and trades; a sparkline of the total where it is small."""

    TITLES = (  # the first that fits
        "Today, net of fees:  ▀ realised  ⠒ with open positions  ▲▼ trades won, lost",
        "Today, net:  ▀ realised  ⠒ with open  ▲▼ trades",
        "Today, net of fees",
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._drawn: object = None
        self._made_of: object = None
        self._due_at = 0.0

    def compose(self) -> ComposeResult:
        yield _Plot()
        yield Sparkline()
        yield Text()

    def show(self, glance: Glance) -> None:
        answer = glance.history("day")
        course = None if answer is None else answer.day
        room = self.content_size
        is_large = room.width >= LEAST_COLUMNS and room.height >= LEAST_ROWS
        fitting = [t for t in self.TITLES if len(t) + 6 <= self.size.width and is_large]
        title = fitting[0] if fitting else self.TITLES[-1]
        if self.border_title != title:
            self.border_title = title
        self.query_one(_Plot).display = course is not None and is_large
        self.query_one(Sparkline).display = course is not None and not is_large
        told = self.query_one(Text)
        told.display = course is None
        # Where the figures stand still, so does the curve: it must not claim to go on.
        now = glance.now if glance.live and not glance.paused else glance.picture.told_at
        if course is None or glance.account is None or now is None:
            told.put(Content.styled(glance.why_no_history("day"), DIM))
            return
        trades = glance.history("trades")
        made_of = (course, None if trades is None else trades.trades, room, self.app.theme)
        mono = time.monotonic()
        if mono < self._due_at and made_of == self._made_of:
            return
        self._made_of = made_of
        chart = day_chart(
            course,
            () if trades is None else trades.trades,
            now=now,
            realised=glance.account.realised_net,
            total=glance.account.total,
            columns=max(room.width - LEFT - FRAME, 1),
        )
        self._draw(chart, is_large)
        spent_s = time.monotonic() - mono + self.query_one(_Plot).rendered_in_s
        self._due_at = mono + max(DRAWN_EVERY_S, spent_s / SHARE_OF_TIME)

    def _draw(self, chart: Chart, is_large: bool) -> None:
        room = self.content_size
        cells = in_cells(chart, room.width, room.height)
        if self._drawn == (cells, self.app.theme):
            return
        self._drawn = (cells, self.app.theme)
        if is_large:
            self.query_one(_Plot).draw(chart)
        else:
            lines = chart.total or (chart.realised,)
            self.query_one(Sparkline).data = [net for line in lines for _, net in line]


class _Canvas(Canvas):
    """Before it has its size the library's canvas gives lines without a style, and dimming a pane
    fails on those."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip if strip.cell_length else Strip.blank(self.size.width, self.rich_style)


class _Plot(PlotWidget, can_focus=False):
    """The library's widget with our lines, and the words of each level written on it."""

    COMPONENT_CLASSES = {  # noqa: RUF012 - Textual's own form
        *PlotWidget.COMPONENT_CLASSES,
        "plot--realised",
        "plot--total",
        "plot--limit",
        "plot--target",
        "plot--high",
        "plot--zero",
        "plot--won",
        "plot--lost",
    }

    def __init__(self) -> None:
        super().__init__(allow_pan_and_zoom=False)
        self.rendered_in_s = 0.0
        self._chart: Chart | None = None
        self.set_x_formatter(_Times())
        self.set_y_formatter(_Amounts())

    def compose(self) -> ComposeResult:
        with Grid():
            for name in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield _Canvas(1, 1, id=name)
        yield Legend(id="legend")

    def on_mount(self) -> None:
        self.margin_top, self.margin_bottom, self.margin_left = 0, BELOW, LEFT
        super().on_mount()

    def draw(self, chart: Chart) -> None:
        self._chart = chart
        self.clear()
        self.set_xlimits(chart.start, chart.end)
        self.set_ylimits(chart.low, chart.high)
        across = chart.end - chart.start
        self.set_xticks(ticks_of_time(chart.start, chart.end, self.size.width // 14))
        self.set_yticks(ticks_of_money(chart.low, chart.high, self.size.height // 3))
        zero = Level(net=0.0, words="", kind="zero")
        for level in (zero, *chart.levels):
            ends = ((chart.start, level.net), (chart.start + across, level.net))
            self._line(ends, level.kind)
        self._line(chart.realised, "realised", HiResMode.HALFBLOCK)
        for part in chart.total:
            self._line(part, "total")
        for marks, marker, kind in ((chart.won, "▲", "won"), (chart.lost, "▼", "lost")):
            if marks:
                at, net = zip(*marks, strict=True)
                self.scatter(at, net, marker=marker, marker_style=self._style(kind))

    def _line(self, line: Line, kind: str, mode: HiResMode = HiResMode.BRAILLE) -> None:
        at, net = zip(*line, strict=True)
        self.plot(at, net, line_style=self._style(kind), hires_mode=mode)

    def _style(self, kind: str) -> str:
        return str(self.get_component_rich_style(f"plot--{kind}"))

    def render(self) -> RenderResult:
        if self.size.width < LEAST_COLUMNS or self.size.height < LEAST_ROWS:
            return ""  # on its way to another size: the library needs some room
        began = time.monotonic()
        with self.query_one("#plot", Canvas).batch_refresh():
            rendered = super().render()
            if self._chart is not None:
                self._write(self._chart)
        self.rendered_in_s = time.monotonic() - began
        return rendered

    def _write(self, chart: Chart) -> None:
        """Write the words of each level where they are not in each other's way."""
        canvas = self.query_one("#plot", Canvas)
        taken: set[int] = set()
        for level in chart.levels:
            _, row = self.get_pixel_from_coordinate(chart.start, level.net)
            if row not in taken:
                taken.add(row)
                self._write_at(canvas, row, f" {level.words} ", level.kind)
        above = [x for x in chart.beyond if x.net > chart.high]
        below = [x for x in chart.beyond if x.net < chart.low]
        if above:
            nearest = min(above, key=lambda x: x.net)
            self._write_at(canvas, 1, f" ↑ {nearest.words} ", nearest.kind)
        if below:
            nearest = max(below, key=lambda x: x.net)
            self._write_at(canvas, canvas.size.height - 2, f" ↓ {nearest.words} ", nearest.kind)

    def _write_at(self, canvas: Canvas, row: int, words: str, kind: str) -> None:
        """Write at the left or at the right, where less of the curves is covered."""
        style, length = self._style(kind), len(words)
        drawn = [canvas.get_pixel(column, row)[0] for column in range(canvas.size.width)]
        usual = Counter(drawn).most_common(1)[0][0]
        sides = (3, max(canvas.size.width - length - 3, 3))
        begins = min(sides, key=lambda at: sum(c != usual for c in drawn[at : at + length]))
        for column, char in enumerate(words, begins):  # one by one: nothing is read as markup
            canvas.set_pixel(column, row, char=char, style=style)


class _Times(AxisFormatter):
    """Times of day of this computer."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return ticks_of_time(min_, max_, max_ticks)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        is_fine = len(ticks) > 1 and ticks[1] - ticks[0] < 60
        form = "%H:%M:%S" if is_fine else "%H:%M"
        return [datetime.fromtimestamp(t, UTC).astimezone().strftime(form) for t in ticks]


class _Amounts(AxisFormatter):
    """Whole dollars, cents only where the steps are that small."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return ticks_of_money(min_, max_, max_ticks)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        is_fine = len(ticks) > 1 and ticks[1] - ticks[0] < 1
        return ["0" if t == 0 else f"{t:+,.2f}" if is_fine else f"{t:+,.0f}" for t in ticks]
