"""The Connections tab: each connection, what is in doubt and for how long, and which daemon."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.connections import Connections
from risk_manager.domain.events import Hub, HubState, Unreadable
from risk_manager.feed.client import FeedClient
from risk_manager.feed.messages import DatabaseRow, RestRow, Vitals

pytestmark = pytest.mark.wire


async def test_all_is_well(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path, (80, 24)) as seen:
        daemon.vitals = replace(
            daemon.vitals,
            db=DatabaseRow(ok=True, size_bytes=4_200_000),
            token_expires_at=daemon.clock.now() + timedelta(hours=20),
        )
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        text = await seen.shows(
            Connections,
            "user stream    ● UP",
            "market stream  ● UP",
            "gateway REST   ● 42 ms  180 requests left",
            "database       ● OK  4.2 MB",
            "0.1.0   run run-1",
            "running for",
            "nothing",
        )
        assert "LOST" not in text
        await daemon.tick()
        await daemon.trade("-5")
        await seen.shows(Connections, "valid for 19:59:")


async def test_what_is_broken_is_named_with_its_age(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        await daemon.position(1)
        await daemon.hub(Hub.USER, HubState.DOWN, "reset by peer")
        daemon.vitals = Vitals(
            rest=RestRow(ok=False, message="no answer for 12 s"),
            db=DatabaseRow(ok=False, message="the disk is full"),
            token_expires_at=daemon.clock.now() - timedelta(seconds=1),
        )
        daemon.clock.skip(minutes=3)
        await daemon.tick()
        await seen.shows(
            Connections,
            "user stream    ● DOWN 3m",
            "reset by peer",
            "ILL no answer for 12 s",
            "ILL  the disk is full",
            "EXPIRED",
            "CRITICAL",
        )


async def test_an_older_daemon_that_tells_less_is_not_called_well(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        daemon.vitals = Vitals()
        async with screen(tmp_path) as seen:
            await seen.shows(AccountHeader, "combine-50k")
            await seen.pilot.press("5")
            text = await seen.shows(Connections, "database       ● ?", "gateway login  ● ?")
            assert "gateway REST   ● ?" in text


async def test_without_a_daemon_it_says_how_to_start_one_and_goes_on_by_itself(
    tmp_path: Path,
) -> None:
    async with screen(tmp_path) as seen:
        await seen.pilot.press("5")
        await seen.shows(Connections, "LOST", "risk-manager run", "connects by itself")
        async with FeedDaemon(tmp_path):
            await seen.shows(Connections, "RUNNING", "user stream    ● UP")
        text = await seen.shows(Connections, "LOST", "? was RUNNING", "if it still runs")
        assert "● UP" not in text


async def test_a_silent_feed_leaves_nothing_well(tmp_path: Path) -> None:
    skipped = 0.0

    def monotonic() -> float:
        return asyncio.get_running_loop().time() + skipped

    async with FeedDaemon(tmp_path):
        app = RiskDashboard(FeedClient(tmp_path), monotonic=monotonic)
        async with app.run_test(size=(120, 40)) as pilot:
            seen = Seen(app, pilot)
            await seen.pilot.press("5")
            await seen.shows(Connections, "RUNNING", "● OK")
            skipped = 60.0
            text = await seen.shows(
                Connections, "? was RUNNING", "? was UP", "database       ● ? was"
            )
            await until(lambda: app.screen.has_class("-stale"))
            assert "● OK" not in text


async def test_an_alarm_is_not_told_as_the_state_of_the_daemon(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        await daemon.happen(
            Unreadable(at=daemon.clock.now(), source="user hub", detail="not a dict")
        )
        await until(lambda: seen.app.picture.alarms)
        text = await seen.shows(Connections, "enforcement is armed")
        assert "could not be read" not in text
