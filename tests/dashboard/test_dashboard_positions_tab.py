"""The Positions tab: each position with its orders, its protection and the age of its price."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from dashboard_screen import screen
from feed_daemon import ES, FeedDaemon, until

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.picture import Line, Picture
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.position_sheet import PositionSheet
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.domain.rule import Rule
from risk_manager.feed.messages import OrderRow
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.no_stop_loss_grace import NoStopLossGrace

pytestmark = pytest.mark.wire


def with_grace() -> tuple[Rule, ...]:
    return (MaxContracts(limit=5), NoStopLossGrace(grace=timedelta(seconds=30)))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_position_has_its_orders_under_it(tmp_path: Path, size: tuple[int, int]) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("3")
        await seen.shows(PositionSheet, "no position, no working order")
        await daemon.position(2)
        text = await seen.shows(PositionSheet, "MNQZ6", "LONG 2", "21000.25", "NO DATA", "NO STOP")
        assert "left to place" not in text  # no rule asks for a stop
        await daemon.order(stop="20990.25")
        await seen.shows(PositionSheet, "STOP FOR 1 OF 2 ONLY", "STOP     sell 1 stop at 20990.25")
        await daemon.order(order_id=56, stop="20985.25")
        await daemon.quote(21000.25)
        text = await seen.shows(PositionSheet, "fresh", "40 ticks away", "loses $20.00")
        assert "ONLY" not in text
        await daemon.order(order_id=57, contract_id=ES, stop="5990")
        await seen.shows(PositionSheet, "Orders of products not held", "ENTRY", "ESZ6 sell 1")
        await daemon.position(
            1
        )  # the second stop is now one too many: it would open the other side
        text = await seen.shows(PositionSheet, "LONG 1", "ENTRY", "20985.25")
        assert "NO STOP" not in text
        await daemon.position(2)
        sheet = seen.app.screen.query_one(PositionSheet)
        await until(lambda: "LONG 2" in seen.text(PositionSheet))
        assert sheet.border_subtitle == "2 contracts held, open 0.00"


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_overview_says_what_a_position_makes_at_its_stop(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path, rules=with_grace) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await daemon.position(2)
        await daemon.quote(21000.25)
        await seen.shows(Positions, "+2", "NO STOP 0:")
        await daemon.order(stop="20990.25")
        await seen.shows(Positions, "1 OF 2 0:")
        await daemon.order(order_id=56, stop="20985.25")
        text = await seen.shows(Positions, "at stop", "-50.00")  # 40 and 60 ticks of $0.50
        assert max(map(len, text.splitlines())) <= seen.app.screen.query_one(Positions).room
        daemon.clock.skip(seconds=7)
        await daemon.tick()
        if size[0] >= 120:
            await seen.shows(Positions, "STALE")


async def test_a_stop_larger_than_the_position_protects_it_and_reverses(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("3")
        await daemon.position(1)
        await daemon.order(size=3)
        text = await seen.shows(PositionSheet, "REVERSES", "sell 3 stop")
        assert "NO STOP" not in text


async def test_the_time_left_to_place_a_stop_comes_first(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, rules=with_grace) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("3")
        await daemon.position(1)
        await daemon.quote(21000.25)
        await seen.shows(PositionSheet, "left to place a stop: NO STOP")
        await daemon.order(stop="20990.25")
        await until(lambda: "NO STOP" not in seen.text(PositionSheet))


async def test_a_rule_in_shadow_closes_nothing_and_counts_nothing_down(tmp_path: Path) -> None:
    def watched() -> tuple[Rule, ...]:
        return (NoStopLossGrace(grace=timedelta(seconds=30), shadow=True),)

    async with FeedDaemon(tmp_path, rules=watched) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await daemon.position(1)
        text = await seen.shows(Positions, "NO STOP")
        assert "NO STOP 0:" not in text


async def test_a_price_goes_from_fresh_to_stale_to_no_data(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, heartbeat_s=0.2) as daemon, screen(tmp_path) as seen:
        await daemon.position(-1)
        await daemon.quote(21000.25)
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("3")
        await seen.shows(PositionSheet, "SHORT 1", "21000.50 fresh")
        daemon.clock.skip(seconds=10)
        await daemon.tick()
        await seen.shows(PositionSheet, "STALE 1")
        daemon.clock.skip(seconds=30)
        await daemon.tick()
        await seen.shows(PositionSheet, "NO DATA 4")


async def test_an_older_daemon_tells_no_roles(tmp_path: Path) -> None:
    """Fields that are missing are not read as `no stop`."""
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path) as seen:
        await daemon.position(1)
        await daemon.order()
        await until(lambda: bool(seen.app.picture.accounts and seen.app.picture.accounts[0].orders))
        account = seen.app.picture.accounts[0]
        old: tuple[OrderRow, ...] = tuple(
            replace(o, role="", ticks_away=None, result=None) for o in account.orders
        )
        glance = Glance(
            picture=Picture(line=Line(up=True, heard_at=0.0)),
            account=replace(account, orders=old),
            now=account.positions[0].opened_at,
            mono=0.0,
        )
        text = "\n".join(line.plain for line in seen.app.query_one(PositionSheet).lines(glance))
        assert "whether a stop protects it is not told" in text
        assert "NO STOP" not in text
        assert "ORDER    sell 1 stop at 20990.00" in text
