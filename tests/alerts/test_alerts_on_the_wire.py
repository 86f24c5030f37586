"""The whole daemon, a practice gateway, and an address outside that is told."""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import alert_sink
import pytest
from alert_sink import SECRET, Sink
from daemon_process import (
    ACCOUNT,
    DaemonProcess,
    buy,
    closes,
    lose,
    still_gateway,
    until,
)

from risk_manager.daemon.daemon import Daemon
from risk_manager.domain.events import AdminAsked, AnyEvent
from risk_manager.engine.step import Step
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire


def daemon_with(
    folder: Path, gateway: PracticeGateway, sink: Sink, **settings: Any
) -> DaemonProcess:
    daemon = DaemonProcess(folder)
    return pointed(daemon, gateway, sink, alert_sink.settings(**settings))


def pointed(
    daemon: DaemonProcess, gateway: PracticeGateway, sink: Sink, settings: str, **env: str
) -> DaemonProcess:
    daemon.point_at(gateway, **alert_sink.env(sink), **env)
    with (daemon.config / "settings.yaml").open("a", encoding="utf-8") as file:
        file.write(settings)
    return daemon


def everything_written(daemon: DaemonProcess) -> str:
    """All that the daemon has said or written anywhere, the database included."""
    files = [p for p in daemon.data.rglob("*") if p.is_file()]
    return "\n".join([*daemon.said, *(p.read_bytes().decode("latin-1") for p in files)])


async def test_a_lock_is_told_once_acknowledged_and_nothing_shows_the_address(
    tmp_path: Path,
) -> None:
    async with Sink() as sink, still_gateway() as gateway:
        daemon = daemon_with(tmp_path, gateway, sink, heartbeat=True)
        async with daemon.running():
            await until(lambda: "The guard is running" in sink.titles, "the start is told")
            await until(lambda: sink.pings == [""], "a ping after a cycle on fresh data")
            lose(gateway.exchange, "ES", 4, ticks=12)
            locked = f"account {ACCOUNT} locked by daily_realized_loss"
            await until(lambda: locked in sink.titles, "the lock is told")
            (text,) = sink.texts(locked)
            assert "nothing may be open or working, until" in text
            assert "risk-manager admin alerts ack" in text
            told = json.loads(await admin(daemon, "list", "--json"))
            (alert,) = [a for a in told["alerts"] if a["title"] == locked]
            assert alert["waits_for_acknowledgement"]
            assert told["channels"][0]["name"] == "phone"
            assert "acknowledged" in await admin(daemon, "ack", str(alert["number"]))
            again = json.loads(await admin(daemon, "list", "--json"))
            assert not any(a["waits_for_acknowledgement"] for a in again["alerts"])
            assert "phone: sent" in await admin(daemon, "test")
            await until(lambda: "Test" in sink.titles, "the test arrives")
            assert await daemon.stop() == 0
        assert sink.titles[-1] == "Nobody guards: the daemon has ended"
        assert sink.pings.count("") == len(sink.pings), "a clean stop is no failure"
        assert sink.titles.count(locked) == 1
        written = everything_written(daemon)
    assert "alert.acknowledged" in written
    assert SECRET not in written


async def test_an_outage_of_the_address_does_not_delay_the_close_and_all_is_told_later(
    tmp_path: Path,
) -> None:
    took_ms: dict[str, list[float]] = {"accept": [], "hang": []}
    async with Sink() as sink, still_gateway() as gateway:
        daemon = daemon_with(tmp_path, gateway, sink)
        exchange = gateway.exchange
        async with daemon.running():
            await until(lambda: sink.titles, "the start is told")
            await until(lambda: len(gateway.exchange.contracts), "ready")
            for sink.mode in ("accept", "hang", "accept", "hang"):
                for _ in range(5):
                    took_ms[sink.mode].append(await time_to_flat_ms(gateway))
            sink.mode = "hang"
            lose(exchange, "ES", 4, ticks=12)
            await daemon.until_account(lambda a: a["locks"], "locked")
            await until(lambda: sink.tried > len(sink.messages), "the address hangs")
            await sink.close()  # and then nobody listens at all
            number = closes(gateway)
            buy(exchange, "MES", 1)
            await until(lambda: closes(gateway) > number and exchange.is_flat(ACCOUNT), "flat")
            sink.mode = "accept"
            await sink.open()
            locked = f"account {ACCOUNT} locked by daily_realized_loss"
            await until(lambda: locked in sink.titles, "the lock is told after the outage")
        assert SECRET not in everything_written(daemon)
    usual, outage = (statistics.median(took_ms[mode]) for mode in ("accept", "hang"))
    print(f"time to flat, median: {usual:.1f} ms, with a hanging address {outage:.1f} ms")
    assert outage < 2 * usual + 20


async def time_to_flat_ms(gateway: PracticeGateway) -> float:
    """From a fill in a forbidden product until the exchange has closed it."""
    exchange = gateway.exchange
    begun = time.perf_counter()
    buy(exchange, "RTY", 1)
    await until(lambda: exchange.is_flat(ACCOUNT), "closed")
    return (time.perf_counter() - begun) * 1000


async def test_the_gap_after_a_kill_is_told_and_a_start_that_fails_too(tmp_path: Path) -> None:
    async with Sink() as sink, still_gateway() as gateway:
        settings = alert_sink.settings(heartbeat=True)
        daemon = pointed(DaemonProcess(tmp_path), gateway, sink, settings)
        async with daemon.running():
            await until(lambda: sink.titles, "the start is told")
            await daemon.kill()
        assert not any("FAILED" in title for title in sink.titles), "a kill tells nothing itself"
        async with daemon.running():
            await until(lambda: "Nobody guarded for a time" in sink.titles, "the gap is told")
            await daemon.stop()
        assert not any(ping.startswith("/fail") for ping in sink.pings), "silence is the sign"
        pointed(daemon, gateway, sink, settings, PROJECT_X_API_KEY="wrong")
        await daemon.start()
        assert await daemon.ended(30.0) == 4
        assert sink.titles[-1] == "Nobody guards: the daemon has FAILED"
        assert any(ping.startswith("/failit could not start") for ping in sink.pings)
        pointed(daemon, gateway, sink, settings)
        async with daemon.running():
            done = "Done: Nobody guards: the daemon has FAILED"
            await until(lambda: done in sink.titles, "that it runs again is told")


async def test_a_crash_tells_the_channel_and_the_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sink() as sink, still_gateway() as gateway:
        where = daemon_with(tmp_path, gateway, sink, heartbeat=True)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
        monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
        for name, value in alert_sink.env(sink).items():
            monkeypatch.setenv(name, value)
        daemon = Daemon(load(where.config), where.data, console=False)
        running = asyncio.create_task(daemon.run(asyncio.Event()))
        await until(daemon.running.is_set, "RUNNING")
        process = daemon.parts.pipeline.process

        async def fails(event: AnyEvent) -> Step:
            if isinstance(event, AdminAsked):
                raise ZeroDivisionError(sink.url)
            return await process(event)

        monkeypatch.setattr(daemon.parts.pipeline, "process", fails)
        now = daemon.clock.now()
        daemon.parts.put(AdminAsked(at=now, account_id=ACCOUNT, verb="flatten", reason="enough"))
        with pytest.raises(ZeroDivisionError):
            await running
        assert sink.titles[-1] == "Nobody guards: the daemon has FAILED"
        assert "it crashed (ZeroDivisionError)" in sink.messages[-1]["message"]
        assert sink.pings[-1].startswith("/failit crashed (ZeroDivisionError)")
        written = everything_written(where)
        assert "ZeroDivisionError" in written, "the traceback is there"
        assert SECRET not in written, "without the address that stood in it"


async def admin(daemon: DaemonProcess, *words: str) -> str:
    """The words of `admin alerts ...`, as a person would run it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "risk_manager", "admin", "alerts", *words),
        *("--config", str(daemon.config), "--data", str(daemon.data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 0, text
    assert SECRET not in text
    return text
