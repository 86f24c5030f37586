"""The tabs with their keys, the open one marked."""

from textual import events
from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM


class TabBar(Text):
    """One line. The open tab is bold and in brackets, so that colour is not needed to see it."""

    def __init__(self) -> None:
        super().__init__()
        self._starts: list[tuple[int, str]] = []

    def show(self, glance: Glance) -> None:
        parts: list[Content] = []
        self._starts = []
        at = 0
        for tab in TABS:
            label = f"{tab.key} {tab.name if self._is_roomy() else tab.short}"
            if tab.id == glance.tab:
                part = Content.styled(f"[{label}]", "bold $text-accent")
            else:
                part = Content.styled(f" {label} ", DIM)
            self._starts.append((at, tab.id))
            at += part.cell_length
            parts.append(part)
        self.put(Content("").join(parts))

    def on_click(self, click: events.Click) -> None:
        chosen = [tab for start, tab in self._starts if start <= click.x]
        if chosen:
            self.app.call_later(self.app.run_action, f"show_tab('{chosen[-1]}')")

    def _is_roomy(self) -> bool:
        return self.size.width >= sum(len(tab.name) + 4 for tab in TABS)
