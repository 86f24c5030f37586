"""A removal of the second passphrase in a whole daemon, before and after the reset it waits for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, still_gateway, until

from risk_manager.admin.second_passphrase import SECOND_FILE
from risk_manager.daemon.daemon import Daemon
from risk_manager.feed.client import AdminClient, AdminRefused
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire

SECOND = "what my friend knows"
LOCK = {"account_id": ACCOUNT, "reason": "enough"}


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess) -> AsyncIterator[Daemon]:
    daemon = Daemon(load(where.config), where.data, console=False)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop), name="daemon")
    try:
        await until(daemon.running.is_set, "RUNNING")
        yield daemon
    finally:
        stop.set()
        await running


async def test_a_removal_counts_after_the_reset_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
        monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
        where = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with guarding(where), AdminClient.connect(where.data) as admin:
            await admin.call("set_second", {"new": SECOND})
            await admin.call("remove_second", {"second": SECOND})
            await admin.call("set_lockout", LOCK)
        async with guarding(where) as daemon, AdminClient.connect(where.data) as admin:
            with pytest.raises(AdminRefused) as refused:
                await admin.call("clear_lockout", LOCK)
            assert refused.value.code == "second_missing"
            notes = daemon.parts.store.notes
            ordered = date.fromisoformat(await notes.get("second_removal") or "")
            await notes.put("second_removal", str(ordered - timedelta(days=1)))
        async with guarding(where), AdminClient.connect(where.data) as admin:
            assert await admin.call("second_status") == {"second_set": False}
            assert not (where.data / SECOND_FILE).exists()
            answer = await admin.call("clear_lockout", LOCK)
            assert [lock["rule_id"] for lock in answer["lifted"]] == ["manual"]
