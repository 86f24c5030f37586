"""A plot of results in account currency. Only this module knows how the plotting library draws."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult, RenderResult
from textual.containers import Grid
from textual.geometry import Size
from textual.strip import Strip
from textual_hires_canvas import Canvas
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import AxisFormatter
from textual_plot.plot_widget import Legend

from risk_manager.dashboard.drawing import Drawing, Level, Line, ticks_of_money

LEFT = 9  # cells for the amounts beside the plot
BELOW = 1  # and for the labels under it
LEAST_COLUMNS, LEAST_ROWS = 40, 7


def fits(room: Size) -> bool:
    """Whether a plot can be read in so many cells."""
    return room.width >= LEAST_COLUMNS and room.height >= LEAST_ROWS


class _Canvas(Canvas):
    """Before it has its size the library's canvas gives lines without a style, and dimming a pane
    fails on those."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip if strip.cell_length else Strip.blank(self.size.width, self.rich_style)


class Plot(PlotWidget, can_focus=False):
    """The library's widget with our lines, and the words of each level written on it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
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
    DEFAULT_CSS = """
    Plot > .plot--axis { color: $foreground 40%; }
    Plot > .plot--tick { color: $text-muted; text-style: none; }
    Plot > .plot--realised { color: $foreground 60%; }
    Plot > .plot--total { color: $text-primary; }
    Plot > .plot--limit { color: $text-error; }
    Plot > .plot--target { color: $text-success; }
    Plot > .plot--high { color: $text-muted; }
    Plot > .plot--zero { color: $foreground 30%; }
    Plot > .plot--won { color: $text-success; text-style: bold; }
    Plot > .plot--lost { color: $text-error; text-style: bold; }
    """

    def __init__(self, across: AxisFormatter) -> None:
        """`across` chooses and words the ticks below the plot."""
        super().__init__(allow_pan_and_zoom=False)
        self.rendered_in_s = 0.0
        self._drawing: Drawing | None = None
        self._across = across
        self.set_x_formatter(across)
        self.set_y_formatter(_Amounts())

    def compose(self) -> ComposeResult:
        with Grid():
            for name in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield _Canvas(1, 1, id=name)
        yield Legend(id="legend")

    def on_mount(self) -> None:
        self.margin_top, self.margin_bottom, self.margin_left = 0, BELOW, LEFT
        super().on_mount()

    def draw(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self.clear()
        self.set_xlimits(drawing.start, drawing.end)
        self.set_ylimits(drawing.low, drawing.high)
        most = self.size.width // 14
        self.set_xticks(self._across.get_ticks(drawing.start, drawing.end, most))
        self.set_yticks(ticks_of_money(drawing.low, drawing.high, self.size.height // 3))
        zero = Level(net=0.0, words="", kind="zero")
        for level in (zero, *drawing.levels):
            self._line(((drawing.start, level.net), (drawing.end, level.net)), level.kind)
        for stroke in drawing.strokes:
            mode = HiResMode.HALFBLOCK if stroke.is_bold else HiResMode.BRAILLE
            self._line(stroke.line, stroke.kind, mode)
        for marks in drawing.marks:
            if marks.points:
                at, net = zip(*marks.points, strict=True)
                self.scatter(at, net, marker=marks.sign, marker_style=self._style(marks.kind))

    def _line(self, line: Line, kind: str, mode: HiResMode = HiResMode.BRAILLE) -> None:
        at, net = zip(*line, strict=True)
        self.plot(at, net, line_style=self._style(kind), hires_mode=mode)

    def _style(self, kind: str) -> str:
        return str(self.get_component_rich_style(f"plot--{kind}"))

    def render(self) -> RenderResult:
        if not fits(self.size):
            return ""  # on its way to another size: the library needs some room
        began = time.monotonic()
        with self.query_one("#plot", Canvas).batch_refresh():
            rendered = super().render()
            if self._drawing is not None:
                self._write(self._drawing)
        self.rendered_in_s = time.monotonic() - began
        return rendered

    def _write(self, drawing: Drawing) -> None:
        """Write the words of each level where they are not in each other's way."""
        canvas = self.query_one("#plot", Canvas)
        taken: set[int] = set()
        for level in drawing.levels:
            _, row = self.get_pixel_from_coordinate(drawing.start, level.net)
            if row not in taken:
                taken.add(row)
                self._write_at(canvas, row, f" {level.words} ", level.kind)

    def _write_at(self, canvas: Canvas, row: int, words: str, kind: str) -> None:
        """Write at the left or at the right, where less of the curves is covered."""
        style, length = self._style(kind), len(words)
        drawn = [canvas.get_pixel(column, row)[0] for column in range(canvas.size.width)]
        usual = Counter(drawn).most_common(1)[0][0]
        sides = (3, max(canvas.size.width - length - 3, 3))
        begins = min(sides, key=lambda at: sum(c != usual for c in drawn[at : at + length]))
        for column, char in enumerate(words, begins):  # one by one: nothing is read as markup
            canvas.set_pixel(column, row, char=char, style=style)


class _Amounts(AxisFormatter):
    """Whole dollars, cents only where the steps are that small."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return ticks_of_money(min_, max_, max_ticks)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        is_fine = len(ticks) > 1 and ticks[1] - ticks[0] < 1
        return ["0" if t == 0 else f"{t:+,.2f}" if is_fine else f"{t:+,.0f}" for t in ticks]
