"""After contact with the daemon is lost, what is shown says in words that it is old."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.connections import Connections
from risk_manager.dashboard.widgets.enforcement_log import EnforcementLog
from risk_manager.dashboard.widgets.enforcements import Enforcements
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.dashboard.widgets.meters import Meters
from risk_manager.dashboard.widgets.orders import Orders
from risk_manager.dashboard.widgets.position_sheet import PositionSheet
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.dashboard.widgets.rules import Rules
from risk_manager.feed.client import FeedClient

pytestmark = pytest.mark.wire

OLD = "when the daemon was last heard"


async def lost(daemon: FeedDaemon, seen: Seen) -> None:
    await daemon.server.__aexit__(None, None, None)
    await until(lambda: seen.app.screen.has_class("-stale"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_what_is_empty_was_so_when_the_daemon_was_last_heard(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        live = await seen.shows(Positions, "flat")
        assert OLD not in live
        await lost(daemon, seen)
        await seen.shows(Positions, f"flat {OLD}")
        await seen.shows(Orders, f"none {OLD}")
        await seen.shows(Enforcements, f"nothing had to be done {OLD}")
        await seen.pilot.press("7")
        await seen.shows(Lockouts, f"In force\n  none {OLD}")
        await seen.pilot.press("8")
        await seen.shows(
            EnforcementLog, f"today {OLD}: 0 decisions", f"nothing had to be done {OLD}"
        )
        await seen.pilot.press("3")
        await seen.shows(PositionSheet, f"no position, no working order {OLD}")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_word_of_a_limit_has_a_question_mark(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        live = await seen.shows(Meters, "OK ")
        assert "?" not in live
        await lost(daemon, seen)
        text = await seen.shows(Meters, "? OK ")
        assert "\nOK" not in text
        await seen.pilot.press("4")
        text = await seen.shows(Rules, "▶ ? OK ", "  ? OK ")
        assert max(map(len, text.splitlines())) <= seen.app.screen.query_one(Rules).room


async def test_a_lock_in_force_was_so_when_the_daemon_was_last_heard(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await daemon.trade("-600")
        await seen.pilot.press("7")
        assert OLD not in await seen.shows(Lockouts, "In force", "LOCKED")
        await lost(daemon, seen)
        await seen.shows(Lockouts, f"In force {OLD}\n  LOCKED")


async def test_the_connections_say_what_was(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path) as seen:
        daemon.vitals = replace(
            daemon.vitals, token_expires_at=daemon.clock.now() + timedelta(hours=20)
        )
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        await daemon.trade("-5")
        await seen.shows(Connections, "RUNNING  enforcement is armed", "● valid for 19:59:")
        await lost(daemon, seen)
        text = await seen.shows(
            Connections,
            "? was RUNNING  last said: enforcement is armed",
            "gateway login  ● ? was valid until ",
        )
        assert "valid for" not in text
        assert "requests left" not in text
        judged = re.search(r"judged last +(.*)", text)
        assert judged is not None
        assert re.fullmatch(r"\? \d\d:\d\d:\d\d or later", judged[1].strip())
        await seen.pilot.press("1")
        await seen.shows(Coming, "next ? ", "daily reset")


async def test_the_time_of_the_last_judgement_stands_still(tmp_path: Path) -> None:
    skipped: list[float] = []
    async with FeedDaemon(tmp_path) as daemon, opened(tmp_path, skipped) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        await seen.shows(Connections, "judged last", "ago", "● NEVER HELD")
        await lost(daemon, seen)
        await seen.shows(Connections, "or later", "● ? NEVER HELD")
        before = seen.text(Connections)
        skipped.append(600.0)
        seen.app.paint()
        await seen.pilot.pause()
        judged = [t for t in before.splitlines() if "or later" in t]
        assert judged == [t for t in seen.text(Connections).splitlines() if "or later" in t]


async def test_ages_of_what_is_held_stand_still(tmp_path: Path) -> None:
    skipped: list[float] = []
    async with FeedDaemon(tmp_path) as daemon, opened(tmp_path, skipped) as seen:
        await daemon.position(1)
        await daemon.order()
        daemon.clock.skip(minutes=5)
        await daemon.tick()
        await daemon.order(order_id=56, stop="20980")
        await seen.shows(Positions, "5m0")
        await seen.pilot.press("3")
        await seen.shows(PositionSheet, "held 5m0", "5m0")
        await lost(daemon, seen)
        skipped.append(600.0)
        await seen.shows(AccountHeader, "figures of")
        seen.app.paint()
        await seen.pilot.pause()
        assert "held 5m0" in seen.text(PositionSheet)
        await seen.pilot.press("1")
        await seen.shows(Positions, "5m0")


@asynccontextmanager
async def opened(data_dir: Path, skipped: list[float]) -> AsyncIterator[Seen]:
    """A screen whose own clock skips ahead, too."""

    def monotonic() -> float:
        return asyncio.get_running_loop().time() + sum(skipped)

    app = RiskDashboard(FeedClient(data_dir), monotonic=monotonic)
    async with app.run_test(size=(160, 40)) as pilot:
        yield Seen(app, pilot)
