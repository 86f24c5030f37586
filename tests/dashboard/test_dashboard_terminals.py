"""Themes, terminals without colour, and terminals that show ASCII alone."""

import html
import re
from pathlib import Path

import pytest
from dashboard_screen import Seen
from feed_daemon import FeedDaemon, until
from rich.cells import cell_len

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.plain_terminal import in_ascii, shows_only_ascii
from risk_manager.dashboard.themes import COLOUR_BLIND, DARK, LIGHT, after, first_theme
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.feed.client import FeedClient

LATIN = {"LANG": "de_DE.ISO-8859-1", "TERM": "xterm"}


def drawn(app: RiskDashboard) -> str:
    """All text on the terminal, as a picture of it has it."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", app.export_screenshot())
    return html.unescape("\n".join(texts[1:])).replace("\xa0", " ")  # the first is its title


@pytest.mark.wire
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_where_only_ascii_can_be_shown_all_is_ascii_and_legible(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path, accounts={101: "depot 東京 ü"}) as daemon:
        await daemon.position(2)
        await daemon.quote(21010.25)
        await daemon.trade("-450")
        app = RiskDashboard(FeedClient(tmp_path), environ=LATIN)
        async with app.run_test(size=size) as pilot:
            seen = Seen(app, pilot)
            await seen.shows(AccountHeader, "ENFORCING")
            for tab in TABS:
                await pilot.press(tab.key)
                await until(lambda: drawn(app).isascii())
            await pilot.press("1")
            await until(lambda: "Total today -411.00" in drawn(app))
            assert re.search("Realised (today, net )?-451.00", drawn(app))
            await daemon.tick()  # drawing takes longer than a guard may be silent
            await seen.shows(VerdictLine, "OK TO TRADE, CARE")
            assert "OK TO TRADE, CARE" in drawn(app)
            assert "depot ???? ?" in drawn(app)


@pytest.mark.wire
async def test_without_colour_the_words_say_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with FeedDaemon(tmp_path) as daemon:
        app = RiskDashboard(FeedClient(tmp_path))
        async with app.run_test(size=(120, 40)) as pilot:
            seen = Seen(app, pilot)
            await daemon.trade("-600")
            await seen.shows(VerdictLine, "LOCKED")
            await until(lambda: "LOCKED" in drawn(app))
            colours = set(re.findall(r"fill: #([0-9a-f]{6})", app.export_screenshot()))
            grey = {c for c in colours if c[:2] == c[2:4] == c[4:]}
            window = {"ff5f57", "febc2e", "28c840"}  # buttons of the picture's frame
            assert colours - grey - window <= {"c5c8c6"}


@pytest.mark.wire
async def test_a_key_goes_through_the_themes(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path):
        app = RiskDashboard(FeedClient(tmp_path), environ={"COLORFGBG": "0;15"})
        async with app.run_test() as pilot:
            assert app.theme == LIGHT
            await pilot.press("t")
            assert app.theme == COLOUR_BLIND
            await pilot.press("t")
            assert app.theme == DARK
            seen = Seen(app, pilot)
            await seen.shows(AccountHeader, "ENFORCING")


def test_the_first_theme_follows_the_background() -> None:
    assert first_theme({}) == DARK
    assert first_theme({"COLORFGBG": "15;0"}) == DARK
    assert first_theme({"COLORFGBG": "0;default;7"}) == LIGHT
    assert after("a theme that is gone") == DARK


@pytest.mark.parametrize(
    ("environ", "encoding", "only"),
    [
        ({}, "utf-8", False),
        ({"LANG": "C.UTF-8"}, "utf-8", False),
        ({"LANG": "C"}, "utf-8", False),
        ({"LANG": "de_DE.ISO-8859-1"}, "utf-8", True),
        ({"LANG": "de_DE.utf8", "LC_ALL": "de_DE.ISO-8859-15@euro"}, "utf-8", True),
        ({"LANG": "de_DE.utf8"}, "cp850", True),
        ({"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "C.UTF-8"}, "utf-8", True),
        ({"TERM": "vt220"}, "utf-8", True),
        ({"TERM": "xterm-256color"}, "UTF8", False),
    ],
)
def test_a_terminal_is_judged_by_its_locale(
    environ: dict[str, str], encoding: str, only: bool
) -> None:
    assert shows_only_ascii(environ, encoding) is only


@pytest.mark.parametrize("text", ["╭─ Positions ─╮", "███▍░░", "▶ 12 ● … –", "東京 é", "\u0301"])
def test_ascii_keeps_the_width(text: str) -> None:
    assert in_ascii(text).isascii()
    assert cell_len(in_ascii(text)) == cell_len(text)
