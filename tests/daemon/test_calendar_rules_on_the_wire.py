"""Release windows, product caps, groups and the own pace, in the real daemon: an account each."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from daemon_process import DaemonProcess, buy, lose, now, still_gateway, until

from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account, Side

pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="module")]

RELEASE, FLAT, CAPS, LEADER, FOLLOWER, LOSER, OTHER, NEW, PACE = range(301, 310)
RULES = f"""
version: 1
rules:
  - {{rule: release_window, accounts: [{RELEASE}], file: news.ics, names: ["CPI*"],
     roots: [ES, NQ], caps: [{{roots: [MES, MNQ], limit: 2}}], before: 1h, after: 2h}}
  - {{rule: release_window, id: flat-around, accounts: [{FLAT}], action: flat,
     windows: [{{at: "@NOW@", name: FOMC, before: 1h, after: 2h}}]}}
  - {{rule: product_caps, accounts: [{CAPS}], caps: [{{roots: [MGC], limit: 1}},
     {{roots: [RTY, M2K], limit: 0, from: 2020-01-01}}]}}
  - {{rule: group_limit, id: size, accounts: [{LEADER}, {FOLLOWER}], measure: contracts, limit: 3}}
  - {{rule: group_limit, id: loss, accounts: [{LOSER}, {OTHER}], measure: day_loss, limit: 300}}
  - {{rule: own_pace, accounts: [{NEW}]}}
  - {{rule: own_pace, id: armed-pace, accounts: [{PACE}], armed: true, min_days: 1}}
"""


class Desk:
    """The daemon and the exchange."""

    def __init__(self, daemon: DaemonProcess, exchange: Exchange) -> None:
        self.daemon = daemon
        self.exchange = exchange

    def net(self, account: int, root: str) -> int:
        return self.exchange.net(account, self.exchange.contract_of(root).id)

    async def locked(self, account: int, scope: str, policy: str) -> None:
        def is_locked(shown: dict[str, Any]) -> bool:
            return any((x["scope"], x["policy"]) == (scope, policy) for x in shown["locks"])

        await self.daemon.until_account(is_locked, f"{scope} {policy}", account_id=account)


def trade_the_day_before(exchange: Exchange, account: int) -> None:
    """One trade of 2 MES on the trading day before today's."""
    day = TradingDay()
    at = day.window(day.window(now()).starts_at - timedelta(minutes=1)).starts_at
    contract = exchange.contract_of("MES")
    exchange.move_price(contract.id, contract.product.start_price, now=at)
    for side in (Side.BUY, Side.SELL):
        at += timedelta(minutes=1)
        exchange.order_entry.place(account, contract.id, side, 2, now=at)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    accounts = range(RELEASE, PACE + 1)
    exchange = Exchange([Account(a, str(a)) for a in accounts], contracts_on(now().date()))
    listed = ", ".join(f"{{id: {a}}}" for a in accounts)
    trade_the_day_before(exchange, PACE)
    folder: Path = tmp_path_factory.mktemp("calendar")
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(
            folder,
            rules=RULES.replace("@NOW@", now().isoformat()),
            accounts=f"accounts: [{listed}]",
        ).point_at(gateway)
        (daemon.config / "news.ics").write_text(
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\n"
            f"DTSTART:{now():%Y%m%dT%H%M%SZ}\nSUMMARY:CPI m/m\nEND:VEVENT\nBEGIN:VEVENT\n"
            f"DTSTART:{now() + timedelta(days=3):%Y%m%dT%H%M%SZ}\nSUMMARY:Claims\nEND:VEVENT\n"
            "END:VCALENDAR\n",
            encoding="utf-8",
        )
        async with daemon.running():
            yield Desk(daemon, exchange)
            assert not [line for line in daemon.said if "rule_failed" in line]


async def test_around_a_release_of_the_file_no_mini_is_entered_and_micros_are_capped(
    desk: Desk,
) -> None:
    await desk.locked(RELEASE, "root:ES", "no_entries")
    buy(desk.exchange, "MNQ", 3, account=RELEASE)
    buy(desk.exchange, "ES", 1, account=RELEASE)
    buy(desk.exchange, "MGC", 4, account=RELEASE)
    await until(lambda: desk.net(RELEASE, "ES") == 0, "the mini is closed")
    await until(lambda: desk.net(RELEASE, "MNQ") == 2, "the micros are cut to their cap")
    assert desk.net(RELEASE, "MGC") == 4
    outlook = (await desk.daemon.snapshot())["outlook"]
    told = [r for r in outlook["releases"] if r["accounts"] == [RELEASE]]
    assert [(r["name"], r["products"]) for r in told] == [("CPI m/m", ["ES", "NQ"])]


async def test_around_a_release_that_flattens_nothing_is_open(desk: Desk) -> None:
    await desk.locked(FLAT, "account", "flat")
    buy(desk.exchange, "MES", 1, account=FLAT)
    await until(lambda: len(desk.exchange.trades(FLAT)) == 2, "closed")
    assert desk.exchange.is_flat(FLAT)


async def test_products_are_cut_to_their_caps_and_blocked_at_0(desk: Desk) -> None:
    buy(desk.exchange, "MGC", 3, account=CAPS)
    buy(desk.exchange, "M2K", 1, account=CAPS)
    buy(desk.exchange, "MES", 2, account=CAPS)
    await until(lambda: desk.net(CAPS, "MGC") == 1, "cut to 1")
    await until(lambda: desk.net(CAPS, "M2K") == 0, "blocked")
    assert desk.net(CAPS, "MES") == 2


async def test_a_group_is_cut_where_the_newest_contracts_are(desk: Desk) -> None:
    buy(desk.exchange, "MNQ", 2, account=LEADER)
    await desk.daemon.until_account(
        lambda a: a["contracts_held"] == 2, "the leader holds 2", account_id=LEADER
    )
    buy(desk.exchange, "MNQ", 2, account=FOLLOWER)
    await until(lambda: desk.net(FOLLOWER, "MNQ") == 1, "the follower is cut")
    assert desk.net(LEADER, "MNQ") == 2


async def test_a_loss_of_the_group_locks_the_member_that_did_nothing(desk: Desk) -> None:
    buy(desk.exchange, "MGC", 1, account=OTHER)
    lose(desk.exchange, "MES", 5, 60, account=LOSER)
    await until(lambda: desk.exchange.is_flat(OTHER), "the other member is closed")
    await desk.locked(LOSER, "account", "flat")
    await desk.locked(OTHER, "account", "flat")
    await desk.daemon.kill()
    await desk.daemon.start()
    await until(lambda: desk.daemon.is_running, "RUNNING again", 60.0)
    buy(desk.exchange, "MES", 1, account=OTHER)
    await until(lambda: len(desk.exchange.trades(OTHER)) == 4, "closed after the restart as well")
    assert desk.exchange.is_flat(OTHER)


async def test_the_own_pace_is_unknown_without_days_and_does_nothing(desk: Desk) -> None:
    for _ in range(4):
        buy(desk.exchange, "MES", 1, account=NEW)

    def is_shown(shown: dict[str, Any]) -> bool:
        return any(
            m["state"] == "unknown" and "0 of 5 traded days; 4 entries" in m["sentence"]
            for m in shown["meters"]
        )

    await desk.daemon.until_account(is_shown, "the meter", account_id=NEW)
    assert desk.net(NEW, "MES") == 4


async def test_above_the_own_pace_of_the_day_before_entries_are_paused(desk: Desk) -> None:
    """Usual are one entry an hour and two micros, as the executions read at the start tell."""
    buy(desk.exchange, "MES", 2, account=PACE)
    buy(desk.exchange, "MES", 2, account=PACE)
    await desk.locked(PACE, "account", "no_entries")
    buy(desk.exchange, "MES", 1, account=PACE)
    await until(lambda: desk.net(PACE, "MES") == 4, "an entry in the pause is closed")
