"""A gateway whose Date runs ahead, here or at an address of the trader's own, opens nothing."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, buy, lose, still_gateway

from risk_manager.feed.client import AdminClient

pytestmark = pytest.mark.wire

DAY = timedelta(days=1)
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
        gateway.faults.date_ahead = DAY
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
            gateway.faults.date_ahead = DAY
            await doubts(where, "the gateway's time is")
            await are_locked(where, 101)


async def test_a_detour_to_another_gateway_opens_nothing(
    tmp_path: Path, where: DaemonProcess
) -> None:
    """F6.2: One start at a gateway of the trader's own, a day ahead, and back: all is as it was."""
    async with still_gateway() as gateway, still_gateway() as own:
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await lock_both(where, gateway)
            before = await where.snapshot()
            await where.stop()
        own.faults.date_ahead = DAY
        where.point_at(own, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await where.stop()
        where.point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with where.running():
            await are_locked(where, 101, 102)
            after = await where.snapshot()
            for one, other in zip(before["accounts"], after["accounts"], strict=True):
                assert one["trading_date"] == other["trading_date"]
                assert one["locks"] == other["locks"]
            assert [a["realised_net"] for a in after["accounts"]] == [
                a["realised_net"] for a in before["accounts"]
            ]
