"""One table of keys: what acts, the tab bar, the footer and the help can never differ."""

from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until
from textual.binding import Binding

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.keys import KEYS, TABS, Key, Tab, explained
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.help_screen import help_text
from risk_manager.dashboard.widgets.key_footer import KeyFooter
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.dashboard.widgets.tab_bar import TabBar
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import History


def test_each_key_is_bound_once_has_an_action_and_is_in_the_help() -> None:
    bound = [b for b in RiskDashboard.BINDINGS if isinstance(b, Binding)]
    assert [(b.key, b.action) for b in bound] == [(k.press, k.action) for k in KEYS]
    pressed = [one for key in KEYS for one in key.press.split(",")]
    assert len(pressed) == len(set(pressed))
    told = help_text()
    for key in KEYS:
        assert hasattr(RiskDashboard, f"action_{key.method}"), key
        assert f"  {key.shown:<6} {key.does}" in told
        assert set(key.tabs) <= {tab.id for tab in TABS}


def test_the_page_has_the_same_keys_and_tabs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "screen.md").read_text(encoding="utf-8")
    rows = page.partition("## Keys")[2].partition("\n\n|")[2].partition("\n\n")[0].splitlines()
    assert [f"|{row}".replace("||", "|") for row in rows[2:]] == [
        f"| `{shown}` | {does} |" for shown, does in explained()
    ]
    for tab in TABS:
        assert f"| {tab.key} | {tab.name} | {tab.answers} |".casefold() in page.casefold()


@pytest.mark.wire
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_each_number_opens_its_tab_and_the_bar_marks_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path), screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        for tab in (*TABS, TABS[0]):
            await seen.pilot.press(tab.key)
            name = tab.name if size[0] >= 100 else ""
            await seen.shows(TabBar, f"[{tab.key} {name}")
            pane = seen.app.screen.query_one(f"#{tab.id}")
            await until(lambda pane=pane: pane.display and pane.region.height > 5)  # type: ignore[misc]
            others = [seen.app.screen.query_one(f"#{t.id}") for t in TABS if t is not tab]
            assert not any(other.display for other in others)
            bar = seen.text(TabBar)
            assert len(bar) <= size[0]
            assert all(f"{t.key} " in bar for t in TABS)


@pytest.mark.wire
@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.id)
async def test_the_footer_has_the_keys_that_act_on_the_tab(tmp_path: Path, tab: object) -> None:
    tab_id = getattr(tab, "id", "")
    async with FeedDaemon(tmp_path), screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        seen.app.tab = tab_id
        await seen.pilot.pause()
        active = {
            active.binding.action
            for active in seen.app.screen.active_bindings.values()
            if active.binding.show and active.node is seen.app
        }
        assert active == {k.action for k in offered(tab_id)}


@pytest.mark.wire
@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.id)
async def test_a_narrow_footer_cuts_no_key_and_always_has_help_and_quit(
    tmp_path: Path, tab: Tab
) -> None:
    async with FeedDaemon(tmp_path), screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        seen.app.tab = tab.id
        is_log = tab.id == "log"
        own = [f"{k.shown} {(is_log and k.back) or k.label}" for k in offered(tab.id) if k.tabs]
        await until(lambda: footer_of(seen)[: len(own)] == own and "q Quit" in footer_of(seen))
        assert footer_of(seen)[-2:] == ["? Help", "q Quit"]
        keys = seen.app.screen.query_one(KeyFooter).children
        await until(lambda: all(0 < key.region.right <= 80 for key in keys))


@pytest.mark.wire
async def test_a_footer_that_grows_shows_all_its_keys(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path), screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        seen.app.tab = "lockouts"
        await until(lambda: footer_of(seen)[:2] == ["f Rule", "e Every account"])
        assert "c Copy" not in footer_of(seen)
        await seen.pilot.resize_terminal(120, 40)
        await until(lambda: "c Copy" in footer_of(seen))
        assert "a Next account" in footer_of(seen)


def offered(tab: str) -> list[Key]:
    """The keys of a tab with nothing on it yet: no incident to open, no page before."""
    idle = ("earlier", "explain") if tab == "log" else ("earlier",)
    return [k for k in KEYS if k.in_footer and k.acts_on(tab) and k.action not in idle]


async def log_of_one_decision(request: HistoryRequest) -> History:
    following = "2026-11-13" if request.before is None else None
    return History(id=request.id, kind=request.kind, before=request.before, next=following)


@pytest.mark.wire
async def test_a_key_stands_in_the_footer_where_it_does_something_and_says_what(
    tmp_path: Path,
) -> None:
    async with (
        FeedDaemon(tmp_path, history=log_of_one_decision) as daemon,
        screen(tmp_path) as seen,
    ):
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("l")
        await until(lambda: "e This account" in footer_of(seen))
        await until(lambda: "b Earlier" in footer_of(seen))
        await seen.shows(LogView, "nothing today")
        assert "Enter Explain" not in footer_of(seen)
        await seen.pilot.press("e")
        await until(lambda: "e Every account" in footer_of(seen))
        await daemon.position(6)
        await until(lambda: "Enter Explain" in footer_of(seen))
        await seen.pilot.press("b")
        await seen.shows(LogView, "nothing that day")
        await seen.pilot.press("b", "7")
        await until(lambda: "b Earlier" in footer_of(seen))
        await seen.pilot.press("b")
        panel = seen.app.screen.query_one(Lockouts)
        await until(lambda: "the newest again" in str(panel.border_subtitle))
        await seen.pilot.press("b")
        await until(lambda: str(panel.border_subtitle).endswith("b: earlier"))
        await daemon.server.__aexit__(None, None, None)
        await until(lambda: "b Earlier" not in footer_of(seen))
        await seen.pilot.press("l", "b")  # nobody could be asked
        await seen.shows(LogView, "LOST", "holding 6")


def footer_of(seen: Seen) -> list[str]:
    footer = seen.app.screen.query_one(KeyFooter)
    return [str(key.render()).strip() for key in footer.children]
