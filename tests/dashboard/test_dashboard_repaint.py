"""How much is drawn, and how often, while much happens."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from dashboard_screen import Seen
from screen_day.told_day import ACCOUNT, BEGAN, ToldDay
from virtual_screen import Drawn, virtual_screen
from virtual_time import in_virtual_time

from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.feed.client import Connected, Disconnected, FeedClient
from risk_manager.feed.messages import (
    RUNNING,
    DatabaseRow,
    HubRow,
    LockRow,
    Message,
    RestRow,
    Snapshot,
)

TOLD = ToldDay(1, timedelta(days=1)).last
UP = HubRow(state="up", since=BEGAN)
A_LOCK = LockRow(
    lockout_id="1",
    rule_id="cooldown_after_loss",
    scope="account",
    policy="no_entries",
    kind="cooldown",
    release="time",
    reason="a loss of $25",
    set_at=BEGAN,
    expires_at=BEGAN + timedelta(minutes=5),
)


class Spoken(FeedClient):
    """Says of the account what it is told to say."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._says: asyncio.Queue[Message] = asyncio.Queue()

    def say(self, realised_net: float, *locks: LockRow) -> None:
        account = replace(TOLD, realised_net=realised_net, locks=locks)
        data = Snapshot(
            status=RUNNING,
            run_id="run-1",
            version="0.1.0",
            timestamp=BEGAN,
            state_age_s=0.0,
            next_reset=BEGAN + timedelta(hours=7),
            accounts=(account,),
            quotes=(),
            hubs={"user": UP, "market": UP},
            rest=RestRow(ok=True),
            db=DatabaseRow(ok=True),
        )
        self._says.put_nowait(
            Message(seq=1, ts=BEGAN, type="snapshot", account_id=ACCOUNT, data=data)
        )

    async def stream(self) -> AsyncGenerator[Message | Connected | Disconnected]:
        yield Connected("ws://127.0.0.1:8765/feed")
        while True:
            yield await self._says.get()


@asynccontextmanager
async def told(realised_net: float, *locks: LockRow) -> AsyncIterator[tuple[Spoken, Drawn, Seen]]:
    """A screen that has shown these figures for a while."""
    feed = Spoken()
    async with virtual_screen(feed) as (app, seen):
        feed.say(realised_net, *locks)
        await asyncio.sleep(2)
        yield feed, app, seen


@in_virtual_time
async def test_news_is_drawn_at_once_but_not_each_time_while_it_keeps_coming() -> None:
    async with told(0.0) as (feed, app, _):
        feed.say(1.0)
        await asyncio.sleep(0.15)
        assert app.picture is app.feed.latest
        app.drawn = 0
        for number in range(60):
            feed.say(float(number))
            await asyncio.sleep(0.05)
        assert 5 <= app.drawn <= 12


@in_virtual_time
async def test_a_lock_does_not_wait_for_its_turn_among_the_news() -> None:
    async with told(0.0) as (feed, app, _):
        feed.say(1.0)
        await asyncio.sleep(0.15)
        feed.say(1.0, A_LOCK)
        await asyncio.sleep(0.15)
        assert app.picture is app.feed.latest


@in_virtual_time
async def test_a_countdown_and_a_longer_amount_cost_no_new_layout() -> None:
    """Nothing takes more room or less than before."""
    async with told(40.0, A_LOCK) as (feed, app, seen):
        layouts: list[Any] = []
        app.screen.screen_layout_refresh_signal.subscribe(seen.verdict, layouts.append)
        before = seen.text(VerdictLine)
        feed.say(1040.0, A_LOCK)
        await asyncio.sleep(3.2)
        assert seen.text(VerdictLine) != before
        assert seen.figure("realised").text == "+1,040.00"
        assert not layouts
        long = replace(A_LOCK, lockout_id="2", reason="a loss of $25, and more words " * 5)
        feed.say(1040.0, long)
        await asyncio.sleep(1)
        assert layouts
        assert seen.verdict.size.height == 2
