"""Fifty locks, twelve accounts, 300 positions, and words meant to break a screen."""

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import MNQ, FeedDaemon, until
from feed_listener import listening

from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.dashboard.widgets.position_sheet import PositionSheet
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.rule import Rule
from risk_manager.feed.client import read_envelope
from risk_manager.rules.max_contracts import MaxContracts

pytestmark = pytest.mark.wire

TWELVE = {101 + n: f"account-{n}" for n in range(12)}
HELD_EACH = 25
HOSTILE = "[bold red]" + "\u202e\x1b[31m\u200f" + "[@click=app.quit]X" * 3


def roomy() -> tuple[Rule, ...]:
    return (MaxContracts(limit=100_000),)


async def lock(daemon: FeedDaemon, account_id: int, root: str, reason: str) -> None:
    asked = {
        "at": daemon.clock.now(),
        "account_id": account_id,
        "verb": "lock",
        "scope": f"root:{root}",
        "policy": "no_entries",
        "until": daemon.clock.now() + timedelta(minutes=30),
        "reason": reason,
    }
    await daemon.happen(AdminAsked.model_validate(asked))


async def crowd(daemon: FeedDaemon) -> None:
    """25 contracts held on each of the accounts, and fifty locks on the first."""
    for n in range(HELD_EACH):
        await daemon.contract(f"CON.F.US.Q{n}.Z26", f"Q{n}Z6")
        for account_id in TWELVE:
            await daemon.position(1 + n, contract_id=f"CON.F.US.Q{n}.Z26", account_id=account_id)
        await daemon.quote(21000 + n, contract_id=f"CON.F.US.Q{n}.Z26")
    for n in range(50):
        await lock(daemon, 101, f"Q{n}", f"reason {n}")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_a_crowd_is_shown_whole_on_every_tab(tmp_path: Path, size: tuple[int, int]) -> None:
    async with FeedDaemon(tmp_path, accounts=TWELVE, rules=roomy) as daemon:
        await crowd(daemon)
        async with listening(daemon, tmp_path) as listener:
            whole = listener.of("snapshot")[0]["data"]
        assert sum(len(a["positions"]) for a in whole["accounts"]) == 12 * HELD_EACH
        assert len(whole["accounts"][0]["locks"]) == 50
        async with screen(tmp_path, size) as seen:
            await seen.shows(AccountHeader, "account-0")
            took = {}
            for tab in TABS:
                await seen.pilot.press(tab.key)
                began = perf_counter()
                seen.app.paint()
                took[tab.id] = f"{1000 * (perf_counter() - began):.0f} ms"
            print(f"{size}: {took}")
            await seen.pilot.press("7")
            text = await seen.shows(Lockouts, "reason 0", "reason 49")
            assert text.count("NO NEW ENTRIES") == 50  # each is told once
            await seen.pilot.press("3")
            text = await seen.shows(PositionSheet, "Q0Z6", f"Q{HELD_EACH - 1}Z6")
            assert f"+{HELD_EACH}" in text
            await daemon.tick()
            await seen.shows(VerdictLine, "OK TO TRADE")  # no lock is on the whole account
            await lock_all(daemon, seen)


async def lock_all(daemon: FeedDaemon, seen: Seen) -> None:
    """A lock on the whole account is not lost among fifty."""
    asked = {"at": daemon.clock.now(), "account_id": 101, "verb": "lock", "reason": "enough"}
    await daemon.happen(AdminAsked.model_validate(asked))
    await seen.shows(VerdictLine, "LOCKED", "enough")


async def test_the_frame_of_a_crowd_is_small_enough_for_a_reader(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, accounts=TWELVE, rules=roomy) as daemon:
        await crowd(daemon)
        async with listening(daemon, tmp_path) as listener:
            await until(lambda: listener.sizes)
            largest = max(listener.sizes)
        print(f"the complete snapshot has {largest / 1000:.0f} kB")
        assert largest < 1_000_000


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_hostile_words_and_figures_are_only_shown(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    accounts = {101: HOSTILE, 202: "x" * 60}
    async with FeedDaemon(tmp_path, accounts=accounts, rules=roomy) as daemon:
        await daemon.contract(MNQ, HOSTILE + "y" * 60)
        await daemon.position(3)
        await daemon.order(size=2)
        await daemon.quote(math.nan)
        await lock(daemon, 101, "MNQ", HOSTILE * 4)
        async with screen(tmp_path, size) as seen:
            await seen.shows(AccountHeader, "101")
            for tab in TABS:
                await seen.pilot.press(tab.key)
                await seen.pilot.pause()
                shown = seen.app.export_screenshot()
                assert "\u202e" not in shown
                assert "\u200f" not in shown
                assert not seen.app.return_code


async def test_impossible_figures_neither_end_the_screen_nor_claim_anything(
    tmp_path: Path,
) -> None:
    async with FeedDaemon(tmp_path, rules=roomy) as daemon:
        await daemon.position(3)
        await daemon.order(size=2)
        await daemon.quote(21010)
        async with screen(tmp_path) as seen:
            await seen.shows(AccountHeader, "combine-50k")
            await until(lambda: seen.app.feed.latest.accounts[0].orders)
            account = seen.app.feed.latest.accounts[0]
            odd = replace(
                account,
                realised_net=-1e15,
                unrealised=None,
                total=1e300,
                balance=-1e15,
                contracts_held=-3,
                positions=tuple(
                    replace(p, net=-3, average_price=-0.0, unrealised=None, age_s=-5.0)
                    for p in account.positions
                ),
                orders=tuple(
                    replace(o, size=-2, filled=7, stop_price=-1e300, result=None, age_s=1e12)
                    for o in account.orders
                ),
                meters=tuple(
                    replace(m, used=-1e300, current=None, headroom=-1e300) for m in account.meters
                ),
            )
            for tab in TABS:
                seen.app.feed.latest = replace(seen.app.feed.latest, accounts=(odd,))
                seen.app.picture = seen.app.feed.latest
                seen.app.tab = tab.id
                await seen.pilot.pause()
                seen.app.paint()
                await seen.pilot.pause()
                assert seen.app.is_running


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_frame_with_a_figure_that_is_no_number_is_no_frame(figure: str) -> None:
    frame = '{"v": 1, "seq": 1, "ts": "2026-11-16T15:00:00Z", "type": "x", "data": {"a": %s}}'
    assert read_envelope(frame % "1.5") is not None
    assert read_envelope(frame % figure) is None  # the client connects again; nothing is shown
