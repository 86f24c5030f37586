"""The running screen over a feed, read as text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import batched
from pathlib import Path
from typing import Any

from feed_daemon import until
from textual.pilot import Pilot
from textual.widgets import Static
from textual_hires_canvas import Canvas

from risk_manager import dashboard
from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.widgets.banner import Banner
from risk_manager.dashboard.widgets.figures import Figure
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.feed.client import FeedClient


class Listening(RiskDashboard):
    """Keeps the text of each notice."""

    CSS_PATH = str(Path(dashboard.__path__[0]) / "dashboard.tcss")

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.notices: list[str] = []

    def notify(self, message: str, **named: Any) -> None:
        self.notices.append(message)
        super().notify(message, **named)


class Seen:
    """The running screen, read as text."""

    def __init__(self, app: RiskDashboard, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def text(self, widget: type[Panel] | type[Static]) -> str:
        found = self.app.screen_stack[0].query_one(widget)
        return str((found if isinstance(found, Static) else found.query_one(Static)).content)

    def figure(self, name: str) -> Figure:
        return self.app.screen_stack[0].query_one(f"#{name}", Figure)

    def plot(self, name: str) -> str:
        """The rows of a plot as they are drawn; empty where it is not shown."""
        plot = self.app.screen_stack[0].query_one(f"#{name} #plot", Canvas)
        if not plot.region:
            return ""
        size = plot.size
        rows = (plot.get_pixel(x, y)[0] for y in range(size.height) for x in range(size.width))
        return "\n".join("".join(row) for row in batched(rows, size.width))

    @property
    def banner(self) -> Banner:
        return self.app.screen_stack[0].query_one(Banner)

    @property
    def verdict(self) -> VerdictLine:
        return self.app.screen_stack[0].query_one(VerdictLine)

    async def shows(self, widget: type[Panel] | type[Static], *words: str) -> str:
        """Wait until the widget says all of this."""
        try:
            return await until(lambda: self._if_all(widget, words))
        except TimeoutError:
            raise AssertionError(f"{words} not in:\n{self.text(widget)}") from None

    def _if_all(self, widget: type[Panel] | type[Static], words: tuple[str, ...]) -> str:
        text = self.text(widget)
        return text if all(word in text for word in words) else ""


@asynccontextmanager
async def screen(
    data_dir: Path, size: tuple[int, int] = (140, 40), account: int | None = None
) -> AsyncIterator[Seen]:
    app = RiskDashboard(FeedClient(data_dir, reconnect_s=(0.05,)), account=account)
    async with app.run_test(size=size) as pilot:
        yield Seen(app, pilot)
