"""How large a terminal must be for a pane to be shown: one table for every tab."""

from dataclasses import dataclass

from textual.geometry import Size
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Room:
    """The smallest terminal for a pane, in cells."""

    columns: int = 0
    rows: int = 0

    def fits(self, size: Size) -> bool:
        return size.width >= self.columns and size.height >= self.rows


PANES = {
    # Overview
    "today-plot": Room(rows=34),
    "recent-trades": Room(rows=46),
    # P&L
    "pnl-plot": Room(columns=44, rows=16),
    "pnl-days": Room(columns=110, rows=30),
}
"""A pane that is not named here is always shown."""


PLOT_FROM = Room(columns=100, rows=38)
"""A smaller terminal has a sparkline on the Overview, in no more rows than that needs."""


def show_what_fits(tab: Widget, size: Size) -> None:
    """Show the panes of a tab for which a terminal of this size has room, and hide the others."""
    for name, room in PANES.items():
        for pane in tab.query(f"#{name}"):
            pane.display = room.fits(size)
