"""The running screen, tab by tab: as lines of text with their styles, or as a picture."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from dashboard_screen import Listening
from feed_daemon import until
from screens.fixed_feed import FixedFeed
from screens.page import Line, Page, in_words
from textual.app import App
from textual.pilot import Pilot

from risk_manager.dashboard.history_asking import wants
from risk_manager.dashboard.keys import TABS, Tab
from risk_manager.feed.client import NOBODY_THERE

_NEEDLESS = (
    re.compile(r"\s*@font-face \{.*?\}", re.DOTALL),
    re.compile(r'\s*<clipPath id="[^"]*-line-\d+">.*?</clipPath>', re.DOTALL),
    re.compile(r' clip-path="url\(#[^")]*-line-\d+\)"'),
    re.compile(r"<text [^>]*>\n</text>"),
)
_SERIAL = re.compile(r"terminal-\d+-")
OUTAGE = (("the daemon closed the connection", 3.0, 1.0), (NOBODY_THERE, 38.0, 9.0))


class Shown:
    """A screen on a fixed feed. Nothing on it moves between two looks."""

    def __init__(self, app: Listening, feed: FixedFeed, pilot: Pilot[None]) -> None:
        self.app = app
        self._feed = feed
        self._pilot = pilot

    async def turn_to(self, tab: Tab) -> None:
        """Open a tab, and wait until all that it asks the daemon for is drawn."""
        await self._pilot.press(tab.key)
        await until(lambda: self.app.tab == tab.id and self._is_told())
        await until(lambda: self.app.picture is self.app.feed.latest)
        self.app.paint()
        await self._pilot.pause()
        self.app.paint()  # what depends on the room of a pane: it has its room only now
        await self._pilot.pause()

    def _is_told(self) -> bool:
        glance = self.app.glance(self.app.feed.latest)
        return glance.account is not None and all(
            (want.kind, want.account_id) in glance.picture.histories for want in wants(glance)
        )

    async def lose(self) -> None:
        """Every tab has been looked at when the daemon is lost; then some time goes by."""
        for tab in TABS:
            await self.turn_to(tab)
        for reason, after_s, retry_in_s in OUTAGE:
            self._feed.disconnect(reason, after_s, retry_in_s)
            await until(partial(self._is_lost, reason))
        self._feed.wait(6.0)

    def _is_lost(self, reason: str) -> bool:
        return self.app.feed.latest.line.reason == reason

    def page(self) -> Page:
        """The screen as it is drawn now."""
        strips = self.app.screen._compositor.render_strips()
        return tuple(
            Line(
                strip.text.rstrip(),
                tuple(in_words(part.style) for part in strip for _ in range(part.cell_length)),
            )
            for strip in strips
        )

    def picture(self) -> str:
        return picture_of(self.app)


def picture_of(app: App[Any]) -> str:
    """The screen as SVG, alone and small: no font from elsewhere, no clipping of each row."""
    svg = app.export_screenshot(simplify=True)
    for needless in _NEEDLESS:
        svg = needless.sub("", svg)
    return _SERIAL.sub("terminal-", svg)


@asynccontextmanager
async def shown(feed: FixedFeed, size: tuple[int, int]) -> AsyncIterator[Shown]:
    app = Listening(feed, monotonic=lambda: feed.mono, environ={})
    async with app.run_test(size=size) as pilot:
        await until(lambda: bool(app.feed.latest.accounts))
        yield Shown(app, feed, pilot)
