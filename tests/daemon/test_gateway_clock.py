"""A gateway whose Date runs ahead, here or at an address of the trader's own, opens nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, buy, lose, still_gateway, until

from risk_manager.clock import SystemClock
from risk_manager.daemon.daemon import Daemon
from risk_manager.feed.client import AdminClient
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire

AHEAD = timedelta(days=4)  # over any weekend
LOOKED_AT = timedelta(seconds=2.5)
RULES = "version: 1\nrules: [{rule: daily_realized_loss, limit: 100}]\n"


@pytest.fixture
def where(tmp_path: Path) -> DaemonProcess:
    return DaemonProcess(tmp_path, accounts="accounts: [{id: 101}, {id: 102}]", rules=RULES)


async def lock_both(daemon: DaemonProcess, gateway: Any) -> None:
    """101 has lost more than its limit, 102 is locked by hand."""
    lose(gateway.exchange, "MNQ", 3, 100)
    await daemon.until_account(lambda a: a["lock_policy"] == "flat", "101 locked")
    async with AdminClient.connect(daemon.data) as admin:
        await admin.call("set_lockout", {"account_id": 102, "reason": "calm", "policy": "flat"})
    await daemon.until_account(lambda a: a["lock_policy"] == "flat", "102 locked", account_id=102)


async def are_locked(daemon: DaemonProcess, *account_ids: int) -> None:
    """Now, and after a few more looks of the daemon at the clock."""
    began = datetime.fromisoformat((await daemon.snapshot())["timestamp"])
    at = began
    while at - began < LOOKED_AT:
        snapshot = await daemon.snapshot()
        at = datetime.fromisoformat(snapshot["timestamp"])
        for account in snapshot["accounts"]:
            if account["account_id"] in account_ids:
                assert account["lock_policy"] == "flat", account["account_id"]
        await asyncio.sleep(0.1)


async def doubts(daemon: DaemonProcess, word: str) -> None:
    told: list[str] = []
    for _ in range(150):
        told = [row["reason"] for row in (await daemon.snapshot())["doubts"]]
        if any(word in reason for reason in told):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(told)


async def test_a_date_a_day_ahead_at_the_start_turns_no_day(
    tmp_path: Path, where: DaemonProcess
) -> None:
    """F6.1: A Date that is a day ahead at the start ends no lock, and is told."""
    async with still_gateway() as gateway:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await lock_both(where, gateway)
            date = (await where.account())["trading_date"]
            await where.stop()
        gateway.faults.date_ahead = AHEAD
        async with where.running():
            await are_locked(where, 101, 102)
            assert (await where.account())["trading_date"] == date
            await doubts(where, "the gateway's time is")


async def test_a_date_a_day_ahead_while_running_turns_no_day(
    tmp_path: Path, where: DaemonProcess
) -> None:
    """F6.1: A Date that goes a day ahead while the daemon runs ends no lock, and is told."""
    async with still_gateway() as gateway:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            lose(gateway.exchange, "MNQ", 3, 100)
            await where.until_account(lambda a: a["lock_policy"] == "flat", "101 locked")
            buy(gateway.exchange, "MES", 1, account=102)  # so that it is read every few seconds
            gateway.faults.date_ahead = AHEAD
            await doubts(where, "the gateway's time is")
            await are_locked(where, 101)


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess, *, ahead: timedelta) -> AsyncIterator[Daemon]:
    """A daemon in this process, under a machine's clock that is so much ahead."""
    clock = SystemClock(wall=lambda: datetime.now(UTC) + ahead)
    daemon = Daemon(load(where.config), where.data, clock=clock, console=False)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        await until(daemon.running.is_set, "RUNNING")
        yield daemon
    finally:
        stop.set()
        await running


def usable(monkeypatch: pytest.MonkeyPatch, gateway: PracticeGateway, folder: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
    monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)


@pytest.mark.parametrize("machine_ahead", [timedelta(0), AHEAD])
async def test_a_detour_to_another_gateway_opens_nothing(
    tmp_path: Path,
    where: DaemonProcess,
    monkeypatch: pytest.MonkeyPatch,
    machine_ahead: timedelta,
) -> None:
    """F6.2: One start at a gateway of the trader's own, a day ahead, and back: all is as it was."""
    async with still_gateway() as gateway, still_gateway() as own:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await lock_both(where, gateway)
            before = await where.snapshot()
            await where.stop()
        own.faults.date_ahead = AHEAD
        where.point_at(own)
        where.write_rules(RULES.replace("100", "9000"))
        usable(monkeypatch, own, tmp_path)
        async with guarding(where, ahead=machine_ahead) as daemon:
            # An address of the trader's own may lead to the same accounts.
            locks = [
                lock.rule_id for a in daemon.state.accounts.values() for lock in a.locks.values()
            ]
            assert "manual" in locks
            limits = {
                rule.model_dump()["limit"] for rule in daemon.state.rulebook.for_account(101).rules
            }
            assert Decimal(100) in limits
            told = [d.reason for d in daemon.state.health_issues.values()]
            assert any("nobody guards now" in reason for reason in told)
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await are_locked(where, 101, 102)
            after = await where.snapshot()
            for one, other in zip(before["accounts"], after["accounts"], strict=True):
                assert one["trading_date"] == other["trading_date"]
                assert one["locks"] == other["locks"]
                assert one["realised_net"] == other["realised_net"]


async def test_a_day_turned_by_two_clocks_that_were_ahead_is_taken_back(
    tmp_path: Path, where: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6.2: Both clocks a day ahead for one start: then locked until the reset, dated today."""
    async with still_gateway() as gateway:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        usable(monkeypatch, gateway, tmp_path)
        async with where.running():
            await lock_both(where, gateway)
            before = await where.account()
            await where.stop()
        gateway.faults.date_ahead = AHEAD
        async with guarding(where, ahead=AHEAD) as daemon:
            await until(lambda: not daemon.state.accounts[101].locks, "nobody can tell")
        gateway.faults.date_ahead = timedelta(0)
        async with where.running():
            await are_locked(where, 101, 102)
            account = await where.account()
            assert account["trading_date"] == before["trading_date"]
            assert account["realised_net"] == before["realised_net"]
            rules = {lock["rule_id"] for lock in account["locks"]}
            assert rules == {"daily_realized_loss", "clock_ahead"}
            await doubts(where, "which has not begun")


async def test_a_machines_clock_turned_back_is_not_believed_before_what_was_judged(
    tmp_path: Path, where: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6.1: A clock turned back for a start makes no pause longer: time goes on from the record."""
    async with still_gateway() as gateway:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        usable(monkeypatch, gateway, tmp_path)
        async with where.running():
            await lock_both(where, gateway)
            account = await where.account()
            await where.stop()
        async with guarding(where, ahead=-AHEAD) as daemon:
            state = daemon.state
            set_at = max(datetime.fromisoformat(lock["set_at"]) for lock in account["locks"])
            assert state.now >= set_at
            assert str(state.accounts[101].trading_date) == account["trading_date"]
            assert state.accounts[101].locks
            await until(
                lambda: any(
                    "earlier than" in d.reason for d in daemon.state.health_issues.values()
                ),
                "told",
            )
