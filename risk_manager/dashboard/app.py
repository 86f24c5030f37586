"""The live screen. It reads and shows the feed; it decides and stores nothing."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.message import Message as Posted
from textual.notifications import SeverityLevel
from textual.reactive import reactive
from textual.widgets import ContentSwitcher

from risk_manager.dashboard.announcer import Announcer
from risk_manager.dashboard.choices import ChoicesFile
from risk_manager.dashboard.copying import text_of_screen
from risk_manager.dashboard.enforcement_facts import after, rules_to_choose
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.history_asking import has_page_before, pages_of
from risk_manager.dashboard.keys import KEYS, TABS, keys_of
from risk_manager.dashboard.live_feed import LiveFeed
from risk_manager.dashboard.main_screen import draw, draw_window, parts
from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.plain_terminal import AsciiOnly, shows_only_ascii
from risk_manager.dashboard.themes import COLOUR_BLIND_THEME, first_theme
from risk_manager.dashboard.themes import after as next_theme
from risk_manager.dashboard.widgets.accounts_screen import AccountsScreen
from risk_manager.dashboard.widgets.banner import standing_alarm
from risk_manager.dashboard.widgets.help_screen import HelpScreen
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.dashboard.widgets.rule_screen import RuleScreen
from risk_manager.dashboard.widgets.rules import Rules
from risk_manager.feed.client import Connected, Disconnected, FeedClient
from risk_manager.feed.messages import Message, RequestAnswered

REPAINT_S = 0.1  # so soon is shown what comes alone, and every alert
ASKED_S = 0.5
AGES_S = 0.5  # ages, countdowns, and prices, which change all the time
REPAINTED_FOR = ("account_id", "paused", "rule_filter", "every_account", "log_of_every_account")


class FeedSpoke(Posted):
    """A message arrived over the feed, or the connection changed."""

    def __init__(self, item: Message | Connected | Disconnected, heard_at: float) -> None:
        super().__init__()
        self.item = item
        self.heard_at = heard_at


class RiskDashboard(App[None]):
    """One account at a time, with what could stop it from trading."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "risk manager"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - Textual's form
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012 - Textual's form
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(k.press, k.action, k.label, key_display=k.shown, show=k.in_footer) for k in KEYS
    ]

    account_id: reactive[int | None] = reactive[int | None](None, init=False)
    paused: reactive[bool] = reactive(False, init=False)
    tab: reactive[str] = reactive(TABS[0].id, init=False, bindings=True)

    rule_filter: reactive[str] = reactive("", init=False)
    every_account: reactive[bool] = reactive(False, init=False)
    log_of_every_account: reactive[bool] = reactive(True, init=False)

    def __init__(
        self,
        client: FeedClient,
        *,
        account: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        send: Callable[[str], None] | None = None,
        environ: Mapping[str, str] = os.environ,
        choices: ChoicesFile | None = None,
    ) -> None:
        """`send` writes an escape sequence to the terminal; None: by the driver.

        `choices` keeps theme and mute between starts; None: they are not kept.
        """
        super().__init__()
        self.register_theme(COLOUR_BLIND_THEME)
        self._choices = choices or ChoicesFile(None)
        chosen = self._choices.read()
        self.theme = chosen.theme or first_theme(environ)
        self.ascii_only = shows_only_ascii(environ)
        self.announcer = Announcer(self, send or self._send, environ)
        self.announcer.is_muted = chosen.muted
        self.feed = LiveFeed(client)
        self._monotonic = monotonic
        self.picture = self.feed.latest
        """The picture that is shown: the newest, unless the screen is paused."""
        self._dismissed: frozenset[datetime] = frozenset()
        self._befores: dict[tuple[str, int], str] = {}
        self._painted_at = 0.0
        self._offered: tuple[bool, ...] = ()
        self.set_reactive(RiskDashboard.account_id, account)

    def compose(self) -> ComposeResult:
        yield from parts(self.tab)

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *([AsciiOnly()] if self.ascii_only else [])]

    def on_mount(self) -> None:
        for choice in REPAINTED_FOR:
            self.watch(self, choice, self.paint, init=False)
        self.set_interval(REPAINT_S, self._take_news)
        self.set_interval(AGES_S / 2, self._take_prices)
        self.set_interval(ASKED_S, self._ask)
        self._read_feed()
        self.call_after_refresh(self.paint)

    # --- worker -> message -> reactive ---

    @work(exclusive=True, name="feed")
    async def _read_feed(self) -> None:
        async with aclosing(self.feed.client.stream()) as stream:
            async for item in stream:
                self.post_message(FeedSpoke(item, self._monotonic()))

    async def _ask(self) -> None:
        await self.feed.ask(self.glance(self.feed.latest))

    @on(FeedSpoke)
    def _hear(self, spoke: FeedSpoke) -> None:
        alerts = self.feed.hear(spoke.item, spoke.heard_at)
        if isinstance(spoke.item, Message) and isinstance(spoke.item.data, RequestAnswered):
            answer = spoke.item.data
            severity: SeverityLevel = "information" if answer.ok else "error"
            self.notify(answer.message, severity=severity, markup=False)
        if alerts:
            shown = self.feed.latest.account(self.account_id)
            shown_id = None if shown is None else shown.account_id
            self.announcer.tell(alerts, shown_id, spoke.heard_at)
            if self.paused and any(alert.is_loud for alert in alerts):
                self.paused = False

    def _send(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(sequence)

    def _take_news(self) -> None:
        if self.feed.is_news_due():
            self._take_latest()

    def _take_prices(self) -> None:
        if self._monotonic() - self._painted_at >= AGES_S * 0.9:
            self._take_latest()

    def _take_latest(self) -> None:
        self.feed.has_news = False
        # The connection is shown even while paused, so that a paused screen does not look live.
        if not self.paused:
            self.picture = self.feed.latest
        else:
            self.picture = replace(self.picture, line=self.feed.latest.line)
        self.paint()

    def watch_tab(self) -> None:
        screen = self.screen_stack[0]
        screen.query_one("#view", ContentSwitcher).current = self.tab
        pane = screen.query_one(f"#{self.tab}")
        if pane.can_focus:
            pane.focus()  # so that arrows scroll it at once
        self.call_after_refresh(self.paint)  # it has its width only then

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint)

    # --- showing ---

    def glance(self, picture: Picture | None = None) -> Glance:
        """The picture from here, now; that which is shown where none is given."""
        picture, mono = picture or self.picture, self._monotonic()
        return Glance(
            picture=picture,
            account=picture.account(self.account_id),
            now=picture.now(mono),
            mono=mono,
            tab=self.tab,
            rule_filter=self.rule_filter,
            every_account=self.log_of_every_account if self.tab == "log" else self.every_account,
            paused=self.paused,
            ascii_only=self.ascii_only,
            muted=self.announcer.is_muted,
            dismissed=self._dismissed,
            befores=self._befores,
        )

    def paint(self) -> None:
        """Draw everything as of now. Ages and countdowns change even without a message."""
        if not self.is_running or not self.screen_stack:
            return
        self._painted_at = self._monotonic()
        glance = self.glance()
        live = self.glance(self.feed.latest)  # a pause must never hide a lock or a lost stream
        draw(self.screen_stack[0], glance, live, is_lit=self.announcer.is_lit(self._painted_at))
        offered = (glance.every_account, self._goes_back(), self._has_incidents())
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
        if self.screen.is_mounted:  # a window that is being opened has nothing to draw on
            draw_window(self.screen, glance, live)

    # --- keys ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A key acts, and stands in the footer, only on the tabs it is for."""
        keys = keys_of(action)
        if action == "earlier" and not self._goes_back():
            return False
        if action == "explain" and self.tab == "log" and not self._has_incidents():
            return False
        return not keys or any(key.acts_on(self.tab) for key in keys)

    def _goes_back(self) -> bool:
        return has_page_before(self._paged_glance())

    def _paged_glance(self) -> Glance:
        """The log is never held: its pages may be newer than the picture shown elsewhere."""
        return self.glance(self.feed.latest if self.tab == "log" else None)

    def _has_incidents(self) -> bool:
        return any(log.has_incidents for log in self.screen_stack[0].query(LogView))

    def action_show_tab(self, tab: str) -> None:
        self.tab = tab

    def action_choose(self, by: int) -> None:
        if self.tab == "log":
            self.query_one(LogView).move(self.glance(self.feed.latest), by)
        else:
            self.query_one(Rules).move(self.glance(), by)

    def action_explain(self) -> None:
        if self.tab == "log":
            self.query_one(LogView).toggle(self.glance(self.feed.latest))
            return
        meter = self.query_one(Rules).chosen(self.glance())
        if meter is not None:
            self.push_screen(RuleScreen(meter.rule_id, self.glance()))

    def action_next_rule(self) -> None:
        rules = rules_to_choose(self.glance())
        if not rules:
            self.notify("no rule has decided or locked anything yet", markup=False)
        self.rule_filter = after(rules, self.rule_filter)

    def action_every_account(self) -> None:
        if self.tab == "log":
            self._befores = {k: v for k, v in self._befores.items() if k[0] != "story"}
            self.log_of_every_account = not self.log_of_every_account
        else:
            self.every_account = not self.every_account

    def action_earlier(self) -> None:
        self._befores = pages_of(self._paged_glance())
        self.paint()

    def action_next_account(self) -> None:
        glance = self.glance()
        accounts = glance.picture.accounts
        if not accounts or (len(accounts) == 1 and glance.account is not None):
            self.notify("there is one account only", markup=False)
            return
        self.account_id = accounts[glance.number % len(accounts)].account_id

    async def action_clock(self, method: str) -> None:
        """Ask the daemon to note that the trader begins or ends work."""
        account = self.glance(self.feed.latest).account
        if account is None or not await self.feed.client.request(method, account.account_id):
            self.notify("the daemon is not reached; nothing was noted", severity="error")

    def action_all_accounts(self) -> None:
        def show(account_id: int | None) -> None:
            self.account_id = self.account_id if account_id is None else account_id

        self.push_screen(AccountsScreen(self.glance(self.feed.latest)), show)

    def action_copy(self) -> None:
        self.paint()
        text = text_of_screen(self.screen_stack[0], self.tab)
        self.copy_to_clipboard(text)
        self.notify(f"copied {text.count(chr(10))} lines", markup=False)

    def action_pause(self) -> None:
        self.paused = not self.paused

    def action_next_theme(self) -> None:
        self.theme = next_theme(self.theme)
        self._choices.change(theme=self.theme)

    def action_mute(self) -> None:
        self.announcer.is_muted = not self.announcer.is_muted
        self._choices.change(muted=self.announcer.is_muted)
        self.paint()

    def action_dismiss_alarm(self) -> None:
        alarm = standing_alarm(self.glance())
        if alarm is not None:
            self._dismissed |= {alarm.at}
            self.paint()

    def action_help(self) -> None:
        self.push_screen(HelpScreen())
