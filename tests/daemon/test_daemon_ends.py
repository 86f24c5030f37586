"""The guard ends when it is told to, or has crashed, and for nothing less."""

import asyncio
import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ACCOUNT, DaemonProcess, still_gateway, until

from risk_manager.daemon.daemon import Daemon
from risk_manager.domain.events import AdminAsked, AnyEvent
from risk_manager.engine.step import Step
from risk_manager.feed.client import AdminClient, FeedUnreachable
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire


async def shows_the_account(daemon: DaemonProcess) -> dict[str, Any]:
    """What a screen shows of the account once there is one: nothing else is heard of it here."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(FeedUnreachable):
                accounts = (await daemon.snapshot())["accounts"]
                if accounts:
                    account: dict[str, Any] = accounts[0]
                    return account
            await asyncio.sleep(0.05)


async def test_a_crash_ends_the_process_though_an_administrator_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody guards any more: it has to end, to be started again, and be told as a crash."""
    async with still_gateway() as gateway:
        where = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
        monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
        daemon = Daemon(load(where.config), where.data, console=False)
        running = asyncio.create_task(daemon.run(asyncio.Event()))
        await until(daemon.running.is_set, "RUNNING")
        process = daemon.parts.pipeline.process

        async def fails(event: AnyEvent) -> Step:
            if isinstance(event, AdminAsked):
                raise ZeroDivisionError("a bug")
            return await process(event)

        monkeypatch.setattr(daemon.parts.pipeline, "process", fails)
        async with AdminClient.connect(where.data) as admin:
            wanted = {"account_id": ACCOUNT, "reason": "enough"}
            asked = asyncio.create_task(admin.call("close_all", wanted))
            done, _ = await asyncio.wait({running}, timeout=12)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        assert done, "nobody guards, and the process does not end"
        assert isinstance(running.exception(), ZeroDivisionError)
        last_word = json.loads((where.data / "daemon.json").read_text())["status"]
        assert last_word != "STOPPED", "F7.11: who looks must see that it crashed"
        again = Daemon(load(where.config), where.data, console=False)
        stop = asyncio.Event()
        running = asyncio.create_task(again.run(stop))
        await until(again.running.is_set, "RUNNING")
        assert again.parts.store.last_clean_stop is None, "it was no clean stop"
        stop.set()
        await running


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
async def test_a_stdout_that_cannot_be_written_ends_no_guard(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            await daemon.start(stdout=full)
            await shows_the_account(daemon)
            assert await daemon.stop() == 0
        finally:
            os.close(full)
            await daemon.kill()


async def test_a_name_that_stdout_has_no_letters_for_ends_no_guard(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(
            tmp_path, accounts=f"accounts: [{{id: {ACCOUNT}, nickname: счёт}}]"
        ).point_at(gateway, XDG_STATE_HOME=str(tmp_path), PYTHONIOENCODING="cp1252")
        await daemon.start()
        try:
            account = await shows_the_account(daemon)
            assert account["name"] == "счёт"
            assert await daemon.stop() == 0
        finally:
            await daemon.kill()
