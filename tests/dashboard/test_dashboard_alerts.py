"""Notices, flash, bell and desktop notifications: what is told the moment it happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dashboard_screen import Listening, Seen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.alerts import Alert
from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.desktop import notification
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.domain.events import Hub, HubState
from risk_manager.feed.client import FeedClient

KITTY = {"TERM": "xterm-kitty"}


@asynccontextmanager
async def heard(data_dir: Path, sent: list[str], account: int | None = None) -> AsyncIterator[Seen]:
    """The screen with what it writes to the terminal besides its picture."""
    app = Listening(
        FeedClient(data_dir, reconnect_s=(0.05,)), account=account, send=sent.append, environ=KITTY
    )
    async with app.run_test(size=(120, 40)) as pilot:
        seen = Seen(app, pilot)
        await seen.shows(AccountHeader, "101")
        yield seen


def notices(seen: Seen) -> list[str]:
    assert isinstance(seen.app, Listening)
    return seen.app.notices


@pytest.mark.wire
async def test_a_new_lock_flashes_rings_and_reaches_the_desktop(tmp_path: Path) -> None:
    sent: list[str] = []
    async with FeedDaemon(tmp_path) as daemon, heard(tmp_path, sent) as seen:
        assert sent == []
        await daemon.trade("-600")
        await seen.shows(VerdictLine, "LOCKED")
        assert sent[0] == "\a"
        assert sent[1].startswith("\x1b]9;risk manager: LOCKED until ")
        assert "lost $601.00 today" in sent[1]
        await until(lambda: seen.verdict.has_class("-flash"))
        await until(lambda: not seen.verdict.has_class("-flash"))
        assert notices(seen) == []  # the verdict says it already
        daemon.clock.skip(days=1)
        await daemon.tick()
        await until(lambda: any("a new trading day, 2026-11-17" in n for n in notices(seen)))
        assert any("no longer locked: lost $601.00" in n for n in notices(seen))
        assert len(sent) == 2


@pytest.mark.wire
async def test_muted_is_said_and_silent_but_still_flashes(tmp_path: Path) -> None:
    sent: list[str] = []
    async with FeedDaemon(tmp_path) as daemon, heard(tmp_path, sent) as seen:
        await seen.pilot.press("m")
        await seen.shows(AccountHeader, "MUTED")
        await daemon.trade("-600")
        await until(lambda: seen.verdict.has_class("-flash"))
        assert sent == []
        await seen.pilot.press("m")
        await until(lambda: "MUTED" not in seen.text(AccountHeader))


@pytest.mark.wire
async def test_a_lock_on_another_account_is_a_notice_and_ends_a_pause(tmp_path: Path) -> None:
    sent: list[str] = []
    accounts = {101: "combine-50k", 202: "[bold]express[/]"}
    async with FeedDaemon(tmp_path, accounts=accounts) as daemon, heard(tmp_path, sent) as seen:
        await seen.pilot.press("p")
        await seen.shows(AccountHeader, "PAUSED")
        await daemon.trade("-600", account_id=202)
        await until(lambda: any("[bold]express[/]: LOCKED until" in n for n in notices(seen)))
        assert sent[0] == "\a"
        await until(lambda: not seen.app.paused)


@pytest.mark.wire
async def test_blindness_is_loud_only_with_something_open(tmp_path: Path) -> None:
    sent: list[str] = []
    async with FeedDaemon(tmp_path) as daemon, heard(tmp_path, sent) as seen:
        await daemon.hub(Hub.USER, HubState.DOWN, "reset by peer")
        await until(lambda: "the user stream is down: reset by peer" in notices(seen))
        await daemon.hub(Hub.USER, HubState.UP)
        await until(lambda: "the user stream is up again" in notices(seen))
        assert sent == []
    ending = FeedDaemon(tmp_path, run_id="run-2")
    await ending.__aenter__()
    async with heard(tmp_path, sent) as seen:
        await ending.position(1)
        await until(lambda: seen.app.feed.latest.accounts[0].positions)
        await ending.__aexit__(None, None, None)
        await until(lambda: len(sent) == 2)
        assert "the daemon is not heard" in sent[1]


@pytest.mark.wire
async def test_locks_on_twelve_accounts_are_each_told_once(tmp_path: Path) -> None:
    sent: list[str] = []
    accounts = {101 + n: f"account-{n}" for n in range(12)}
    async with FeedDaemon(tmp_path, accounts=accounts) as daemon, heard(tmp_path, sent) as seen:
        for account_id in accounts:
            await daemon.trade("-600", account_id=account_id)
        await until(lambda: all(a.locks for a in seen.app.feed.latest.accounts))
        await until(lambda: len(notices(seen)) == 11)  # the shown one is in the verdict


def test_many_alerts_at_once_are_three_notices_and_a_count(tmp_path: Path) -> None:
    app = Listening(FeedClient(tmp_path))
    alerts = [Alert(text=str(n), tone="bad", account_id=202) for n in range(50)]
    app.announcer.tell(alerts, 101, 0.0)
    assert app.notices == ["0", "1", "2", "and 47 more; l shows all"]


@pytest.mark.parametrize(
    ("environ", "sequence"),
    [
        ({"TERM": "xterm-kitty"}, "\x1b]9;a: b\x07"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "\x1b]9;a: b\x07"),
        ({"TERM": "foot"}, "\x1b]777;notify;a;b\x07"),
        ({"TERM": "rxvt-unicode-256color"}, "\x1b]777;notify;a;b\x07"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "WezTerm", "TMUX": "/tmp/x"}, ""),
        ({}, ""),
    ],
)
def test_only_terminals_known_to_notify_are_asked(environ: dict[str, str], sequence: str) -> None:
    assert notification("a", "b", environ) == sequence


def test_words_cannot_end_the_sequence() -> None:
    assert notification("a;b", "\x07\x1b]52;c;eA==\x07" + "x" * 999, {"TERM": "foot"}) == (
        "\x1b]777;notify;ab;" + ("]52ceA==" + "x" * 999)[:200] + "\x07"
    )


def test_a_flash_blinks_and_ends(tmp_path: Path) -> None:
    app = RiskDashboard(FeedClient(tmp_path))
    assert not app.announcer.is_lit(10.0)
    app.announcer.tell([Alert(text="x", tone="bad", is_loud=True, is_in_verdict=True)], 101, 10.0)
    assert [app.announcer.is_lit(10.0 + n / 2) for n in range(9)] == [True, False] * 4 + [False]
