"""The screen in a loop whose time jumps: its timers go by that time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from dashboard_screen import Listening, Seen

from risk_manager.feed.client import FeedClient


class Drawn(Listening):
    """Counts how often it is drawn. Notices are not shown unless that is asked for: how long one
    stays is measured by the clock of this machine as well."""

    drawn = 0
    shows_notices = False

    def paint(self) -> None:
        self.drawn += 1
        super().paint()

    def notify(self, message: str, **named: Any) -> None:
        if self.shows_notices:
            super().notify(message, **named)


def _now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def virtual_screen(
    feed: FeedClient, size: tuple[int, int] = (120, 40), *, notices: bool = False
) -> AsyncIterator[tuple[Drawn, Seen]]:
    """Open the screen over a feed. To be used in virtual time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual._time.get_time", _now)
        app = Drawn(feed, monotonic=_now, environ={})
        app.shows_notices = notices
        async with app.run_test(size=size, notifications=notices) as pilot:
            yield app, Seen(app, pilot)
