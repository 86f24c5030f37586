"""All accounts at a glance, and a tab as text in the clipboard."""

from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.accounts_screen import AccountsScreen
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.widgets.verdict_line import VerdictLine

pytestmark = pytest.mark.wire

TWELVE = {101 + n: f"account-{n}" for n in range(12)} | {103: "[bold]" + "x" * 60}


async def window(seen: Seen, *words: str) -> str:
    def shown() -> str:
        if not isinstance(seen.app.screen, AccountsScreen) or not seen.app.screen.is_mounted:
            return ""
        text = str(seen.app.screen.query_one(Text).content)
        return text if all(word in text for word in words) else ""

    return await until(shown)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_twelve_accounts_are_seen_live_and_one_is_chosen(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path, accounts=TWELVE) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "account-0")
        await seen.pilot.press("A")
        text = await window(seen, "▶ account-0", "account-11", "[bold]xxx", "all 12: 0.00 today")
        assert text.count("OK TO TRADE") == 12
        await daemon.trade("-600", account_id=112)
        text = await window(seen, "LOCKED", "-601.00 today", "all 12: -601.00")
        assert text.count("OK TO TRADE") == 11
        await seen.pilot.press("up")  # round to the last
        await window(seen, "▶ account-11")
        await seen.pilot.press("enter")
        await seen.shows(AccountHeader, "account-11", "112")


async def test_the_window_closes_without_a_choice(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, accounts=TWELVE), screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "account-0")
        await seen.pilot.press("A", "down", "escape")
        await until(lambda: not isinstance(seen.app.screen, AccountsScreen))
        await seen.shows(AccountHeader, "account-0")


async def test_a_repaint_while_the_window_opens_waits_for_it(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path), screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        seen.app.action_all_accounts()
        seen.app.paint()  # the window has no content yet
        await window(seen, "combine-50k")


async def test_without_a_daemon_it_claims_nothing(tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        await seen.pilot.press("A")
        await window(seen, "no account is known yet")
        await seen.pilot.press("enter")
        await until(lambda: not isinstance(seen.app.screen, AccountsScreen))


async def test_each_tab_is_copied_as_text(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path) as seen:
        await daemon.position(2)
        await daemon.trade("140.50")
        await seen.shows(Positions, "+2")
        for tab in TABS:
            await daemon.tick()
            await seen.shows(VerdictLine, "OK TO TRADE")
            await seen.pilot.press(tab.key, "c")
            copied = seen.app.clipboard
            assert "combine-50k" in copied.splitlines()[0]
            assert "OK TO TRADE" in copied.splitlines()[1]
            assert copied.count("\n") > 4
        await seen.pilot.press("1", "c")
        copied = seen.app.clipboard
        assert "Realised today, net: +139.50   Open P&L: –" in copied
        assert "MNQZ6" in copied
        assert "daily reset" in copied
        assert not any(line != line.rstrip() for line in copied.splitlines())
