"""A start: what was remembered is taken up once."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, still_gateway, until

from risk_manager.clock import Clock
from risk_manager.daemon import assembly
from risk_manager.daemon.daemon import Daemon
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load
from risk_manager.store.store import Store

pytestmark = pytest.mark.wire


class Noting(sqlite3.Connection):
    """A connection that remembers what was written through it."""

    written: list[str]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.written.append(sql)
        return super().execute(sql, parameters)


def desk_in(
    folder: Path, gateway: PracticeGateway, monkeypatch: pytest.MonkeyPatch
) -> DaemonProcess:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
    monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
    return DaemonProcess(folder).point_at(gateway, XDG_STATE_HOME=str(folder))


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess) -> AsyncIterator[Daemon]:
    """A daemon in this process."""
    daemon = Daemon(load(where.config), where.data, console=False)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        await until(daemon.running.is_set, "RUNNING")
        yield daemon
    finally:
        stop.set()
        await running


async def test_what_was_in_flight_is_given_up_once_at_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads the state twice, before the login and under the limits agreed by then."""
    written: list[str] = []
    restored: list[object] = []

    class Counted(Store):
        @classmethod
        def open(cls, path: Path, clock: Clock, **more: Any) -> Any:
            noting = type("Noting", (Noting,), {"written": written})
            return super().open(path, clock, connection_class=noting, **more)

        async def restore(self, *given: Any, **more: Any) -> Any:
            restored.append(given)
            return await super().restore(*given, **more)

    monkeypatch.setattr(assembly, "Store", Counted)
    async with still_gateway() as gateway, guarding(desk_in(tmp_path, gateway, monkeypatch)):
        assert len(restored) == 1
        assert len([sql for sql in written if "the daemon ended before it heard" in sql]) == 1
