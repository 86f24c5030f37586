"""The main screen: its parts, and how they and the window over them are drawn."""

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.accounts_screen import AccountsScreen
from risk_manager.dashboard.widgets.banner import Banner
from risk_manager.dashboard.widgets.calendar import Calendar
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.connection_line import ConnectionLine
from risk_manager.dashboard.widgets.connections import Connections
from risk_manager.dashboard.widgets.day_plot import DayPlot
from risk_manager.dashboard.widgets.enforcement_log import EnforcementLog
from risk_manager.dashboard.widgets.figures import Figures
from risk_manager.dashboard.widgets.key_footer import KeyFooter
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.dashboard.widgets.locks import Locks
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.dashboard.widgets.overview import Overview
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.widgets.pnl import DayLine, PnlTab
from risk_manager.dashboard.widgets.position_sheet import PositionSheet
from risk_manager.dashboard.widgets.rule_screen import RuleScreen
from risk_manager.dashboard.widgets.rules import Rules
from risk_manager.dashboard.widgets.tab_bar import TabBar
from risk_manager.dashboard.widgets.verdict_line import VerdictLine

NEVER_HELD = (Calendar, Connections, Coming, Lockouts, Locks, LogView)
"""A pause holds figures, not what bars trading."""


def parts(tab: str) -> ComposeResult:
    """Yield all parts, with the tab of this id open."""
    yield AccountHeader()
    yield TabBar()
    yield VerdictLine()
    yield Banner()
    with ContentSwitcher(id="view", initial=tab):
        yield Overview(id="overview")
        yield PnlTab(id="pnl")
        yield PositionSheet(id="positions")
        yield Rules(id="rules")
        yield Connections(id="connections")
        yield Calendar(id="calendar")
        yield Lockouts(id="lockouts")
        yield EnforcementLog(id="enforcement")
        yield LogView(id="log")
    yield ConnectionLine()
    yield KeyFooter()


def draw(screen: Screen[object], shown: Glance, live: Glance, *, is_lit: bool) -> None:
    """Draw the open tab and all that stands around it.

    `shown` is what a pause holds, `live` the newest; without a pause they are the same picture.
    `is_lit` is the flash of a new lock.
    """
    screen.set_class(not shown.live or shown.paused, "-stale")
    screen.query_one(AccountHeader).show(shown, live)
    screen.query_one(TabBar).show(shown)
    verdict = screen.query_one(VerdictLine)
    verdict.set_class(is_lit, "-flash")
    verdict.show(live)
    screen.query_one(Banner).show(live)
    screen.query_one(ConnectionLine).show(live)
    screen.query_one(KeyFooter).show(shown)
    pane = screen.query_one(f"#{shown.tab}")
    for part in (pane, *pane.query("*")):  # a tab nobody looks at is not drawn
        if isinstance(part, Panel | Figures | Coming | DayPlot | DayLine):
            part.show(live if isinstance(part, NEVER_HELD) else shown)


def draw_window(window: Screen[object], shown: Glance, live: Glance) -> None:
    """Draw the window over the main screen, if it shows what changes."""
    if isinstance(window, RuleScreen):
        window.show(shown)
    elif isinstance(window, AccountsScreen):
        window.show(live)
