"""The keys to clock in and out: requests to the daemon, shown once it has noted them."""

from pathlib import Path

import pytest
from dashboard_screen import Listening, screen
from feed_daemon import MONDAY, FeedDaemon, PaperClock, until

from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.feed.client import FeedClient

pytestmark = pytest.mark.wire


async def test_the_keys_clock_in_and_out_on_the_account_shown(tmp_path: Path) -> None:
    time_clock = PaperClock(is_kept=False)
    accounts = {101: "combine-50k", 202: "express"}
    async with (
        FeedDaemon(tmp_path, accounts=accounts, time_clock=time_clock),
        screen(tmp_path) as seen,
    ):
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("a", "i")
        await seen.shows(AccountHeader, "express", "in since")
        assert time_clock.noted == {202: MONDAY}
        await seen.pilot.press("a")
        await until(lambda: "in since" not in seen.text(AccountHeader))
        await seen.pilot.press("a", "o")
        await until(lambda: time_clock.noted == {})
        await until(lambda: "in since" not in seen.text(AccountHeader))


async def test_without_a_daemon_it_says_that_nothing_was_noted(tmp_path: Path) -> None:
    app = Listening(FeedClient(tmp_path))
    async with app.run_test() as pilot:
        await pilot.press("i")
        await until(lambda: app.notices == ["the daemon is not reached; nothing was noted"])


async def test_the_answer_of_the_daemon_is_a_notice(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, time_clock=PaperClock(is_kept=False)):
        app = Listening(FeedClient(tmp_path))
        async with app.run_test() as pilot:
            await until(lambda: app.feed.latest.accounts)
            await pilot.press("o")
            await until(lambda: app.notices == ["not clocked in"])
            await pilot.press("i")
            await until(lambda: len(app.notices) == 2)
            assert app.notices[1] == "clocked in; the database has not confirmed it yet"
