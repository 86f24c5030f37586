"""Streams that fall silent, and an administrator's password: the daemon as a process."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway, until

from risk_manager.feed.client import AdminClient, AdminRefused

pytestmark = pytest.mark.wire


async def test_a_user_stream_that_tells_nothing_is_found_out_and_replaced(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            buy(gateway.exchange, "MES", 1)
            await daemon.until_account(lambda a: a["contracts_held"] == 1, "heard of")
            await daemon.until_account(lambda a: a["reported_at"], "read")
            gateway.faults.user.lose = -1  # the socket lives, pings and all
            before = [c for c in gateway.connections if c.hub == "user"]
            buy(gateway.exchange, "MNQ", 9)
            mnq = gateway.exchange.contract_of("MNQ").id
            # REST finds what the stream kept to itself, and the rule acts on it.
            await until(lambda: gateway.exchange.net(ACCOUNT, mnq) <= 5, "cut back by REST")
            await until(
                lambda: [c for c in gateway.connections if c.hub == "user"] != before,
                "another connection",
            )
            gateway.faults.clear()
            # The new connection may be there before the alarm has been told.
            async with asyncio.timeout(20):
                while not any("stream" in str(a) for a in (await daemon.snapshot())["alarms"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="a process is stopped by a signal")
async def test_after_standing_still_it_says_so_reads_anew_and_enforces(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            await daemon.until_account(lambda a: a["reported_at"], "read")
            daemon.send(signal.SIGSTOP)
            buy(gateway.exchange, "MNQ", 9)
            await asyncio.sleep(7)  # the machine sleeps: that is the matter of this test
            daemon.send(signal.SIGCONT)
            mnq = gateway.exchange.contract_of("MNQ").id
            await until(lambda: gateway.exchange.net(ACCOUNT, mnq) == 5, "cut back", within_s=5)

            def told(snapshot: dict[str, Any]) -> bool:
                return any("stood still" in alarm["message"] for alarm in snapshot["alarms"])

            async with asyncio.timeout(10):
                while not told(await daemon.snapshot()):  # noqa: ASYNC110 - nothing to wait on
                    await asyncio.sleep(0.05)


async def test_once_a_password_is_set_loosening_asks_for_it(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            async with AdminClient.connect(daemon.data, None) as admin:
                await admin.call("set_password", {"new": "correct horse battery"})
            lock = {"account_id": ACCOUNT, "reason": "enough"}
            async with AdminClient.connect(daemon.data, None) as admin:
                await admin.call("set_lockout", lock)
                with pytest.raises(AdminRefused, match="log in first"):
                    await admin.call("clear_lockout", lock)
        async with daemon.running():
            async with AdminClient.connect(daemon.data, None) as admin:
                with pytest.raises(AdminRefused, match="log in first"):
                    await admin.call("clear_lockout", lock)
                with pytest.raises(AdminRefused, match="not the admin password"):
                    await admin.call("login", {"password": "a guess in anger"})
                await admin.call("login", {"password": "correct horse battery"})
                await admin.call("clear_lockout", lock)
            await daemon.until_account(lambda a: not a["locks"], "unlocked")
