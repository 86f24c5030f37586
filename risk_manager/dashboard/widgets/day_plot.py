"""The course of the day as a plot."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Sparkline
from textual_plot.axis_formatter import AxisFormatter

from risk_manager.dashboard.day_chart import Chart, day_chart, in_cells
from risk_manager.dashboard.drawing import Drawing, Marks, Stroke, ticks_of_time
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.plot import LEFT, Plot, fits
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, GAIN, LOSS

FRAME = 2
_COLOURS = {"limit": LOSS, "target": GAIN, "high": DIM}
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
        yield Plot(_Times())
        yield Sparkline()
        yield Text()

    def show(self, glance: Glance) -> None:
        answer = glance.history("day")
        course = None if answer is None else answer.day
        room = self.content_size
        is_large = fits(room)
        fitting = [t for t in self.TITLES if len(t) + 6 <= self.size.width and is_large]
        title = fitting[0] if fitting else self.TITLES[-1]
        if self.border_title != title:
            self.border_title = title
        self.query_one(Plot).display = course is not None and is_large
        self.query_one(Sparkline).display = course is not None and not is_large
        told = self.query_one(Text)
        told.display = course is None
        # Where the figures stand still, so does the curve: it must not claim to go on.
        now = glance.now if glance.live and not glance.paused else glance.picture.told_at
        if course is None or glance.account is None or now is None:
            told.put(Content.styled(glance.why_no_history("day"), DIM))
            self.border_subtitle = ""
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
        self.border_subtitle = _beyond(chart) if is_large else ""
        self._draw(chart, is_large)
        spent_s = time.monotonic() - mono + self.query_one(Plot).rendered_in_s
        self._due_at = mono + max(DRAWN_EVERY_S, spent_s / SHARE_OF_TIME)

    def _draw(self, chart: Chart, is_large: bool) -> None:
        room = self.content_size
        cells = in_cells(chart, room.width, room.height)
        if self._drawn == (cells, self.app.theme):
            return
        self._drawn = (cells, self.app.theme)
        if is_large:
            self.query_one(Plot).draw(_drawing(chart))
        else:
            lines = chart.total or (chart.realised,)
            self.query_one(Sparkline).data = [net for line in lines for _, net in line]


def _beyond(chart: Chart) -> Content:
    """The nearest limit above the plot and below it: words inside of it would belong to a line."""
    above = [x for x in chart.beyond if x.net > chart.high]
    below = [x for x in chart.beyond if x.net < chart.low]
    nearest = [("↑", min(above, key=lambda x: x.net))] if above else []
    nearest += [("↓", max(below, key=lambda x: x.net))] if below else []
    parts = [(f" {sign} {level.words} ", _COLOURS[level.kind]) for sign, level in nearest]
    return Content.assemble(*parts)


def _drawing(chart: Chart) -> Drawing:
    return Drawing(
        start=chart.start,
        end=chart.end,
        low=chart.low,
        high=chart.high,
        strokes=(
            Stroke(line=chart.realised, kind="realised", is_bold=True),
            *(Stroke(line=part, kind="total") for part in chart.total),
        ),
        marks=(
            Marks(points=chart.won, sign="▲", kind="won"),
            Marks(points=chart.lost, sign="▼", kind="lost"),
        ),
        levels=chart.levels,
    )


class _Times(AxisFormatter):
    """Times of day of this computer."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return ticks_of_time(min_, max_, max_ticks)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        is_fine = len(ticks) > 1 and ticks[1] - ticks[0] < 60
        form = "%H:%M:%S" if is_fine else "%H:%M"
        return [datetime.fromtimestamp(t, UTC).astimezone().strftime(form) for t in ticks]
