"""The dashboard with one more line: the last step of the scripted trader."""

from pathlib import Path

from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from risk_manager import dashboard
from risk_manager.dashboard.app import RiskDashboard


class Caption(Static):
    """The trader's last step, in words."""


class DemoDashboard(RiskDashboard):
    """The dashboard of the demonstration."""

    CSS_PATH = str(Path(dashboard.__path__[0]) / "dashboard.tcss")
    CSS = """
    Caption { dock: top; height: 1; background: $primary; color: $text; padding: 0 1; }
    """

    caption: reactive[str] = reactive("")

    def compose(self) -> ComposeResult:
        yield Caption(markup=False)
        yield from super().compose()

    def watch_caption(self) -> None:
        if self.is_running and self.screen_stack:
            said = self.caption or "has not begun yet"
            words = Content(f"the trader {said}")
            self.screen_stack[0].query_one(Caption).update(words)
