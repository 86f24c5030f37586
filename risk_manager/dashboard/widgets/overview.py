"""The first tab: the day's figures, what is held and working, the limits, and what was done."""

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from risk_manager.dashboard.pane_room import PLOT_FROM, show_what_fits
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.day_plot import DayPlot
from risk_manager.dashboard.widgets.enforcements import Enforcements
from risk_manager.dashboard.widgets.figures import Figures
from risk_manager.dashboard.widgets.locks import Locks
from risk_manager.dashboard.widgets.meters import Meters
from risk_manager.dashboard.widgets.orders import Orders
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.dashboard.widgets.trades import Trades


class Overview(Vertical):
    def compose(self) -> ComposeResult:
        yield Figures()
        with Horizontal(id="columns"):
            with Vertical(id="holdings"):
                yield Positions()
                yield Orders()
                yield Trades(id="recent-trades")
                yield DayPlot(id="today-plot")
            with Vertical(id="limits"):
                yield Meters()
                yield Locks()
        yield Coming()
        yield Enforcements()

    def on_resize(self, _: events.Resize) -> None:
        show_what_fits(self, self.app.size)
        self.query_one("#today-plot").set_class(not PLOT_FROM.fits(self.app.size), "-low")
