"""The live screen over a real feed: what a trader sees in calm, in breach and in the dark."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import ES, MNQ, FeedDaemon, until
from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.banner import Banner
from risk_manager.dashboard.widgets.connection_line import ConnectionLine
from risk_manager.dashboard.widgets.enforcements import Enforcements
from risk_manager.dashboard.widgets.help_screen import HelpScreen
from risk_manager.dashboard.widgets.locks import Locks
from risk_manager.dashboard.widgets.meters import Meters
from risk_manager.dashboard.widgets.orders import Orders
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.widgets.trades import Trades
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AccountChanged, AdminAsked, Hub, HubState, OrderChanged
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType
from risk_manager.feed.client import FeedClient
from risk_manager.feed.messages import ERROR

pytestmark = pytest.mark.wire

HOSTILE = ("MNQ[/]", "[@click=app.quit]x", "[bold", "[/red]", "$error", "]]")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path, accounts={101: "combine-50k", 202: "express"}) as running:
        yield running


async def lock(daemon: FeedDaemon, policy: str, reason: str, **until_in: float) -> None:
    await daemon.happen(
        AdminAsked.model_validate(
            {
                "at": daemon.clock.now(),
                "account_id": 101,
                "verb": "lock",
                "reason": reason,
                "policy": policy,
                "until": daemon.clock.now() + timedelta(**until_in) if until_in else None,
            }
        )
    )


async def test_a_calm_account_is_shown_whole(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.position(2)
    await daemon.position(-1, contract_id=ES, average="6012.50")
    await daemon.order()
    await daemon.quote(21010.25)
    await daemon.quote(6010.25, contract_id=ES)
    await daemon.trade("140.50")
    async with screen(tmp_path) as seen:
        header = await seen.shows(AccountHeader, "combine-50k", "101", "ENFORCING", "$50,000.00")
        assert "reset in 6:59:" in header or "reset in 7:00:00" in header
        positions = await seen.shows(Positions, "MNQZ6", "+2", "21000.25", "+40.00")
        assert "-1" in positions
        assert "+4.00" in positions
        await seen.shows(Orders, "MNQZ6", "sell", "stop", "20990.00")
        await seen.shows(Trades, "+139.50")
        assert seen.figure("realised").text == "+139.50"
        assert seen.figure("unrealised").text == "+44.00"
        assert seen.figure("total").text == "+183.50"
        assert seen.figure("total").has_class("-gain")
        meters = await seen.shows(Meters, "Contracts held", "3 of 5 contracts", "60%", "█")
        assert "Loss today" in meters
        line = await seen.shows(ConnectionLine, "RUNNING", "user ● UP", "market ● UP", "42 ms")
        assert "LOST" not in line
        assert not seen.banner.display
        told = await seen.shows(VerdictLine, "OK TO TRADE")
        assert told == " OK TO TRADE  3 of 5 contracts held, room for 2"
        assert seen.verdict.has_class("-green")
        assert not seen.app.screen.has_class("-stale")


async def test_a_breach_turns_the_verdict_red_with_reason_and_countdown(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(1)
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "MNQZ6")
        await daemon.trade("-600")
        await seen.shows(VerdictLine, "LOCKED 6:5", "until", "lost $601.00 today")
        assert seen.verdict.has_class("-red")
        assert not seen.banner.display  # each lock is told once
        await seen.shows(Locks, "LOCKED", "account", "daily_realized_loss")
        await seen.shows(Meters, "BREACH")
        await seen.shows(Enforcements, "DECIDED", "SENT", "close position MNQZ6")
        assert seen.figure("realised").has_class("-loss")
        [action] = daemon.enforcer.actions
        await daemon.settle(action, Outcome.REFUSED)
        await seen.shows(Enforcements, "FAILED", "the gateway said no")


async def test_a_live_account_says_that_it_is_only_watched_and_why(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    record = {"id": 101, "name": "A", "canTrade": True, "simulated": False}
    await daemon.happen(AccountChanged.model_validate({"at": daemon.clock.now(), **record}))
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "LIVE FUNDED, SHADOW: only tells")
        await seen.shows(VerdictLine, "TopstepX forbids automated trading", "enforce_on_live: true")


async def test_closes_that_are_refused_turn_the_banner_red(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    """F7.25: A cut is told as closing, and from the second refusal on it is red at the top."""
    await daemon.position(6)
    async with screen(tmp_path) as seen:
        await seen.shows(Enforcements, "DECIDED", "closing 1 MNQZ6", "SENT")
        assert not seen.banner.display
        await daemon.settle(daemon.enforcer.actions[-1], Outcome.REFUSED)
        await seen.shows(Enforcements, "FAILED")
        assert not seen.banner.display
        daemon.clock.skip(seconds=5)
        await daemon.tick()
        await daemon.settle(daemon.enforcer.actions[-1], Outcome.REFUSED)
        await seen.shows(Banner, "NOT DONE", "reduce position MNQZ6 has failed 2 times")
        assert seen.banner.has_class("-red")
        daemon.clock.skip(seconds=5)
        await daemon.tick()
        await seen.shows(Enforcements, "try 3")
        assert seen.banner.has_class("-red")  # a third try under way is not yet a close
        await daemon.position(5)
        await daemon.settle(daemon.enforcer.actions[-1], Outcome.DONE)
        await until(lambda: not seen.banner.display)


async def test_the_countdown_follows_the_daemons_clock_and_moves_by_itself(
    tmp_path: Path,
) -> None:
    # The daemon's clock says November 2026 whatever this machine believes.
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path) as seen:
        await lock(daemon, "flat", "enough for today", seconds=90)
        first = await seen.shows(VerdictLine, "enough for today", "LOCKED 1:")
        await until(lambda: seen.text(VerdictLine) != first)
        daemon.clock.skip(seconds=60)
        await daemon.tick()
        await seen.shows(VerdictLine, "LOCKED 0:")
        daemon.clock.skip(seconds=60)
        await daemon.tick()
        await seen.shows(VerdictLine, "OK TO TRADE")
        assert seen.verdict.has_class("-green")


async def test_no_entries_is_amber_and_a_flat_lock_outranks_it(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await lock(daemon, "no_entries", "cooling down", minutes=5)
    async with screen(tmp_path) as seen:
        await seen.shows(VerdictLine, "NO NEW ENTRIES", "cooling down")
        assert seen.verdict.has_class("-amber")
        assert not seen.verdict.has_class("-red")
        await daemon.trade("-600")
        await seen.shows(VerdictLine, "LOCKED", "lost $601.00 today")
        assert seen.verdict.has_class("-red")
        assert not seen.verdict.has_class("-amber")


async def test_a_lock_without_an_end_says_who_can_end_it(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await lock(daemon, "flat", "until I have slept")
    async with screen(tmp_path) as seen:
        await seen.shows(VerdictLine, "LOCKED", "ends when an administrator lifts it")


async def test_unknown_is_said_and_never_shown_as_zero(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.position(1)
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "MNQZ6", "never")
        assert seen.figure("unrealised").text == "–"
        assert seen.figure("unrealised").has_class("-unknown")
        assert seen.figure("total").text == "–"
        label = seen.figure("unrealised").query_one(".label", Static)
        assert "UNKNOWN" in str(label.content)


async def test_a_lost_feed_dims_everything_says_its_age_and_comes_back(tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        await seen.shows(ConnectionLine, "LOST", "no daemon has run")
        async with FeedDaemon(tmp_path) as daemon:
            await daemon.position(2)
            await seen.shows(Positions, "MNQZ6", "+2")
            await until(lambda: not seen.app.screen.has_class("-stale"))
        line = await seen.shows(ConnectionLine, "LOST", "ago")
        assert "RUNNING" not in line
        await seen.shows(VerdictLine, "NOT GUARDED since", "risk-manager run")
        assert seen.verdict.has_class("-red")
        await until(lambda: seen.app.screen.has_class("-stale"))
        assert "+2" in seen.text(Positions)
        await seen.shows(AccountHeader, "? was ENFORCING")
        async with FeedDaemon(tmp_path, run_id="run-2"):
            await seen.shows(Positions, "flat")
            await until(lambda: not seen.app.screen.has_class("-stale"))


async def test_nothing_old_is_green_and_no_countdown_runs(tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        async with FeedDaemon(tmp_path) as daemon:
            await daemon.position(2)
            await daemon.quote(21010.25)
            await seen.shows(Positions, "+40.00")
            await seen.shows(AccountHeader, "reset in")
            assert "$text-success" in styles(seen)
        await until(lambda: seen.app.screen.has_class("-stale"))
        header = await seen.shows(AccountHeader, "figures of")
        assert "reset in" not in header
        await until(lambda: "$text-success" not in styles(seen))
        assert "+40.00" in seen.text(Positions)


def styles(seen: Seen) -> set[str]:
    """Every word of the styles on the open tab."""
    shown = [text.content for text in seen.app.screen.query("#overview Text").results(Text)]
    spans = [span for content in shown if isinstance(content, Content) for span in content.spans]
    return {word for span in spans for word in str(span.style).split()}


async def test_silence_alone_takes_the_green_away(tmp_path: Path) -> None:
    skipped = 0.0

    def monotonic() -> float:
        return asyncio.get_running_loop().time() + skipped

    async with FeedDaemon(tmp_path):
        app = RiskDashboard(FeedClient(tmp_path), monotonic=monotonic)
        async with app.run_test(size=(140, 40)) as pilot:
            seen = Seen(app, pilot)
            await seen.shows(ConnectionLine, "RUNNING")
            skipped = 60.0
            await seen.shows(ConnectionLine, "? was RUNNING", "? was UP")
            assert app.screen.has_class("-stale")


async def test_a_daemon_that_is_not_armed_does_not_look_like_a_guard(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "ENFORCING")
        daemon.server.set_status(ERROR, "the gateway refuses the key")
        await seen.shows(AccountHeader, "ERROR: NOT ENFORCING")


async def test_a_dead_hub_and_a_critical_alarm_are_seen_and_put_away(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(1)
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "MNQZ6")
        await daemon.hub(Hub.USER, HubState.DOWN, "reset by peer")
        await seen.shows(ConnectionLine, "user ● DOWN")
        await seen.shows(Banner, "ALARM", "lost the user stream: reset by peer")
        assert seen.banner.has_class("-red")
        header = await seen.shows(AccountHeader, "NOT GUARDED")
        assert "ENFORCING" not in header
        await seen.pilot.press("x")
        await until(lambda: not seen.banner.display)
        await seen.shows(Enforcements, "ALARM", "lost the user stream")


async def test_an_alarm_that_is_over_is_no_longer_red(daemon: FeedDaemon, tmp_path: Path) -> None:
    """F7.24: With the stream back the red alarm is gone, and the list says when it was over."""
    await daemon.position(1, account_id=101)
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "MNQZ6")
        await daemon.hub(Hub.USER, HubState.DOWN)
        await seen.shows(Banner, "ALARM", "lost the user stream")
        await seen.pilot.press("a")  # the other account holds nothing: it is no emergency there
        await seen.shows(AccountHeader, "express")
        assert not seen.banner.display
        await seen.pilot.press("a")
        await seen.shows(Banner, "ALARM", "lost the user stream")
        await daemon.hub(Hub.USER, HubState.UP)
        await until(lambda: not seen.banner.display)
        await seen.shows(Enforcements, "over 1", "lost the user stream", "regained the user stream")


async def test_a_switches_the_account(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.position(1, account_id=101)
    await daemon.position(4, account_id=202)
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k", "1 of 2")
        await seen.pilot.press("a")
        await seen.shows(AccountHeader, "express", "202", "2 of 2")
        await seen.shows(Positions, "+4")
        await seen.pilot.press("a")
        await seen.shows(AccountHeader, "combine-50k")
    async with screen(tmp_path, account=202) as seen:
        await seen.shows(AccountHeader, "express")
    async with screen(tmp_path, account=999) as seen:
        await seen.shows(AccountHeader, "not watched", "101, 202")
        await seen.pilot.press("a")
        await seen.shows(AccountHeader, "combine-50k")


async def test_a_lock_on_an_account_that_is_not_shown_is_seen(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with screen(tmp_path, (80, 24), account=202) as seen:
        header = await seen.shows(AccountHeader, "express", "2/2")
        assert "combine-50k" not in header
        await lock(daemon, "flat", "enough for today", minutes=5)
        header = await seen.shows(AccountHeader, "combine-50k: LOCKED")
        assert len(header) <= 80  # what does not fit is left out whole
        await seen.shows(VerdictLine, "OK TO TRADE")  # of the account shown
        await seen.pilot.press("a")
        header = await seen.shows(AccountHeader, "1/2")
        assert "LOCKED" not in header


async def test_pause_freezes_the_figures_and_does_not_look_live(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "flat")
        await seen.pilot.press("p")
        await seen.shows(AccountHeader, "PAUSED")
        assert seen.app.screen.has_class("-stale")
        await daemon.position(3)
        await until(lambda: bool(seen.app.feed.latest.accounts[0].positions))
        await seen.shows(AccountHeader, "PAUSED, figures of")
        assert "flat" in seen.text(Positions)
        await seen.pilot.press("p")
        await seen.shows(Positions, "+3")


async def test_a_lock_ends_a_pause(daemon: FeedDaemon, tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "flat")
        await seen.pilot.press("p")
        await seen.shows(AccountHeader, "PAUSED")
        await daemon.position(3)
        await until(lambda: bool(seen.app.feed.latest.accounts[0].positions))
        assert "flat" in seen.text(Positions)
        await lock(daemon, "flat", "enough")
        await seen.shows(VerdictLine, "LOCKED", "enough")
        await seen.shows(Locks, "LOCKED", "enough")
        await seen.shows(Positions, "+3")
        assert "PAUSED" not in seen.text(AccountHeader)


async def test_help_opens_closes_and_quit_quits(daemon: FeedDaemon, tmp_path: Path) -> None:
    async with screen(tmp_path, (80, 24)) as seen:
        await seen.pilot.press("question_mark")
        await until(lambda: isinstance(seen.app.screen, HelpScreen))
        await daemon.position(1)
        await seen.shows(Positions, "MNQZ6")  # the screen below goes on
        await seen.pilot.press("q")
        await until(lambda: not isinstance(seen.app.screen, HelpScreen))
        await seen.pilot.press("q")
        await until(lambda: not seen.app.is_running)


@pytest.mark.parametrize("text", HOSTILE)
async def test_text_from_outside_is_never_markup(tmp_path: Path, text: str) -> None:
    async with FeedDaemon(tmp_path, accounts={101: text}) as daemon:
        await daemon.contract(MNQ, text)
        await daemon.position(9)
        await lock(daemon, "flat", text, minutes=5)
        await daemon.happen(
            OrderChanged(
                at=daemon.clock.now(),
                id=1,
                account_id=101,
                contract_id=f"CON.F.US.{text}.Z26",
                status=OrderStatus.OPEN,
                type=OrderType.LIMIT,
                side=OrderSide.BUY,
                size=1,
                limit_price=Decimal("1.5"),
                custom_tag=text,
            )
        )
        await daemon.hub(Hub.MARKET, HubState.DOWN, text)
        async with screen(tmp_path) as seen:
            await seen.shows(AccountHeader, text)
            await seen.shows(VerdictLine, text)
            await seen.shows(Locks, text)
            await seen.shows(Enforcements, text)
            await seen.shows(Positions, text[:5])
            for static in seen.app.screen.query(Static):
                if isinstance(static.content, Content):
                    assert not [s for s in static.content.spans if "@click" in str(s.style)]
            assert seen.app.is_running


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (160, 50), (40, 12)])
async def test_it_fits_every_terminal(
    daemon: FeedDaemon, tmp_path: Path, size: tuple[int, int]
) -> None:
    await daemon.position(2)
    await daemon.order()
    await lock(daemon, "flat", "a long reason " * 20, minutes=5)
    async with screen(tmp_path, size) as seen:
        await seen.shows(VerdictLine, "LOCKED")
        for widget in (AccountHeader, ConnectionLine, VerdictLine):
            found = seen.app.screen.query_one(widget)
            await until(lambda found=found: found.region.height >= 1)  # type: ignore[misc]
            assert found.region.bottom <= size[1]
        if size[1] >= 24:
            for panel in (Positions, Orders, Meters, Enforcements):
                shown = seen.app.screen.query_one(panel)
                await until(lambda shown=shown: shown.region.height >= 3)  # type: ignore[misc]


async def test_a_doubt_is_named_then_red_then_gone(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        await daemon.tick()
        await daemon.position(1)
        await daemon.quote(21000)
        async with screen(tmp_path) as seen:
            line = await seen.shows(ConnectionLine, "RUNNING")
            assert "doubt" not in line
            daemon.clock.skip(seconds=12)
            await daemon.tick()
            await seen.shows(ConnectionLine, "doubt", "no price of MNQZ6")
            assert not seen.banner.display
            daemon.clock.skip(seconds=30)
            await daemon.tick()
            await seen.shows(Banner, "BLIND", "MNQZ6")
            assert seen.banner.has_class("-red")
            await daemon.quote(21001)
            await daemon.tick()
            await until(lambda: "doubt" not in seen.text(ConnectionLine))


async def test_prices_that_move_cost_no_new_layout(
    daemon: FeedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.2: What is shown again as it is is not drawn, and a new price is no new layout."""
    drawn: list[tuple[str, bool]] = []
    update = Text.update

    def counted(self: Text, content: VisualType = "", *, layout: bool = True) -> None:
        drawn.append((str(content), layout))
        update(self, content, layout=layout)

    await daemon.position(2)
    await daemon.quote(21010.25)
    async with screen(tmp_path) as seen:
        await seen.shows(Positions, "21010.25", "+40.00")
        monkeypatch.setattr(Text, "update", counted)
        seen.app.paint()
        drawn.clear()
        seen.app.paint()
        assert not [text for text, _ in drawn if "Working" in text or "OK" in text]
        await daemon.quote(21020.25)
        await seen.shows(Positions, "21020.25", "+80.00")
        assert drawn
        assert not [text for text, layout in drawn if layout]
