"""A clock set forward before the gateway has told the time: nothing that waits ends by it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, lose, still_gateway, until

from risk_manager.admin.password import HASH_FILE
from risk_manager.clock import SystemClock
from risk_manager.daemon.daemon import Daemon
from risk_manager.feed.client import AdminClient, AdminRefused
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire


def place(
    tmp_path: Path, gateway: PracticeGateway, monkeypatch: pytest.MonkeyPatch
) -> DaemonProcess:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
    monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
    return DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess, *, days: int) -> AsyncIterator[Daemon]:
    """A daemon in this process, under a clock that is so many days ahead."""
    clock = SystemClock(wall=lambda: datetime.now(UTC) + timedelta(days=days))
    daemon = Daemon(load(where.config), where.data, clock=clock, console=False)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        yield daemon
    finally:
        stop.set()
        await running


async def set_and_remove_a_password(where: DaemonProcess) -> None:
    async with guarding(where, days=0) as daemon:
        await until(daemon.running.is_set, "RUNNING")
        async with AdminClient.connect(where.data) as admin:
            await admin.call("set_password", {"new": "a long calm passphrase 7"})
    (where.data / HASH_FILE).unlink()


async def test_an_order_given_before_the_login_is_not_taken_and_ends_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        where = place(tmp_path, gateway, monkeypatch)
        async with where.running():
            lose(gateway.exchange, "MNQ", 5, 240)
            await where.until_account(lambda a: a["lock_policy"] == "flat", "locked")
            await where.stop()
        gateway.faults.add("*", status=503)
        async with guarding(where, days=5) as daemon:
            await until(lambda: "trying again" in daemon.progress.message, "no login yet")
            async with AdminClient.connect(where.data) as admin:
                # No password is asked for what only tightens.
                wanted = {"account_id": ACCOUNT, "scope": "root:CL", "reason": "calm"}
                with pytest.raises(AdminRefused, match="still logging in"):
                    async with asyncio.timeout(5):
                        await admin.call("set_lockout", wanted)
                gateway.faults.clear()
                await until(daemon.running.is_set, "RUNNING")
                await admin.call("set_lockout", wanted)
            locks = {lock.rule_id for lock in daemon.state.accounts[ACCOUNT].locks.values()}
            assert locks == {"daily_realized_loss", "manual"}


async def test_the_reset_that_a_changed_password_waits_for_does_not_come_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        where = place(tmp_path, gateway, monkeypatch)
        await set_and_remove_a_password(where)
        for days in (0, 5):
            async with guarding(where, days=days) as daemon:
                await until(daemon.running.is_set, "RUNNING")
                assert daemon.parts.password.is_set


async def test_a_removed_password_is_gone_at_the_first_start_after_the_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        where = place(tmp_path, gateway, monkeypatch)
        await set_and_remove_a_password(where)
        async with guarding(where, days=0) as daemon:
            await until(daemon.running.is_set, "RUNNING")
            assert daemon.parts.password.is_set
            text = json.loads(await daemon.parts.store.notes.get("admin_hash_waiting") or "")
            text["since"] = str(date.fromisoformat(text["since"]) - timedelta(days=1))
            await daemon.parts.store.notes.put("admin_hash_waiting", json.dumps(text))
        async with guarding(where, days=0) as daemon:
            await until(daemon.running.is_set, "RUNNING")
            assert not daemon.parts.password.is_set
