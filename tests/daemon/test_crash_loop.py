"""A daemon that is killed again and again: each start reports the time in which nobody guarded."""

import asyncio
import contextlib
import itertools
import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ACCOUNT, DaemonProcess, lose, still_gateway, until

from risk_manager.daemon.data_place import DataPlace
from risk_manager.daemon.downtime import UnguardedSince
from risk_manager.service.service import RESTART_AFTER_S

pytestmark = pytest.mark.wire
KILLS = 3


def gaps(daemon: DaemonProcess) -> list[dict[str, Any]]:
    if not (daemon.data / "state.db").exists():
        return []
    with contextlib.closing(sqlite3.connect(daemon.data / "state.db")) as connection:
        found = connection.execute("SELECT new FROM audit WHERE action = 'was_down' ORDER BY id")
        return [json.loads(row[0]) for row in found]


def has_gaps(daemon: DaemonProcess, count: int) -> Callable[[], bool]:
    return lambda: len(gaps(daemon)) == count


def beats_since(heartbeat: Path, before: float) -> bool:
    return heartbeat.stat().st_mtime > before


def instants(gap: dict[str, Any]) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(gap["from"]), datetime.fromisoformat(gap["to"])


async def test_a_kill_loop_shows_each_gap_and_counts_it(tmp_path: Path) -> None:
    """The loop is what a service manager does: wait, start again, with the pause of the unit."""
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            await until((daemon.data / "heartbeat").exists, "a sign of life")
        for kill in range(1, KILLS + 1):
            lose(gateway.exchange, "MES", 1, kill)
            await asyncio.sleep(RESTART_AFTER_S)
            async with daemon.running():
                await until(has_gaps(daemon, kill), f"gap {kill} is reported")
                alarms = [a for a in (await daemon.snapshot())["alarms"] if a["over_at"] is None]
                (alarm,) = [a for a in alarms if a["code"] == "was_down"]
                assert "ended without being stopped. Traded in that time" in alarm["message"]
                last = gaps(daemon)[-1]
                began, ended = instants(last)
                assert (ended - began).total_seconds() >= RESTART_AFTER_S
                assert not last["stopped_cleanly"]
                assert last["executions"] == 2, "each gap has its own trades, none those before"
        each = [instants(gap) for gap in gaps(daemon)]
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(each))
        told = await daemon.command("admin", "service", "status", "--json")
        status = json.loads(told.out)
        assert status["gaps"]["count"] == KILLS
        assert status["gaps"]["after_crashes"] == KILLS
        assert status["daemon"]["state"] == "crashed"
        assert status["daemon"]["unguarded_since"] is not None


async def test_a_daemon_killed_before_it_could_report_loses_no_gap(tmp_path: Path) -> None:
    """The first gap begins where guarding ended, however many starts were killed in between."""
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            heartbeat = daemon.data / "heartbeat"
            await until(heartbeat.exists, "a sign of life")
        guarded_until = heartbeat.stat().st_mtime
        lose(gateway.exchange, "MES", 1, 4)
        for _ in range(2):
            waiting = gateway.faults.add("/Trade/search", hang=True)
            await daemon.start()
            await until(partial(getattr, waiting, "hits"), "the reading has begun")
            await until(partial(beats_since, heartbeat, heartbeat.stat().st_mtime), "it beats")
            await daemon.kill()
            gateway.faults.clear()
        assert gaps(daemon) == []
        async with daemon.running():
            await until(lambda: gaps(daemon), "the gap is reported")
            (gap,) = gaps(daemon)
            assert instants(gap)[0].timestamp() == pytest.approx(guarded_until, abs=0.001)
            assert gap["executions"] == 2
            assert await daemon.stop() == 0
        async with daemon.running():
            await until(lambda: len(gaps(daemon)) == 2, "the next gap begins at the stop")
            assert instants(gaps(daemon)[1])[0] > instants(gap)[1]
            assert gaps(daemon)[1]["stopped_cleanly"]
            assert (await daemon.account(ACCOUNT))["known"]


def test_a_file_that_is_garbled_hides_no_gap(tmp_path: Path) -> None:
    kept = tmp_path / "unguarded.json"
    stopped, alive = datetime.fromisoformat("2026-11-02T15:00Z"), None
    for text in ("", "[]", '{"since": 3}', '{"since": "x", "clean": true}'):
        kept.write_text(text)
        found = UnguardedSince.found(kept, stopped, alive)
        assert found == UnguardedSince(at=stopped, clean=True)
    again = UnguardedSince.found(kept, None, datetime.fromisoformat("2026-11-02T16:00Z"))
    assert again == UnguardedSince(at=stopped, clean=False), "the earlier end counts, and the crash"
    again.reported(DataPlace(tmp_path, tmp_path, "practice"))
    assert UnguardedSince.found(kept, None, None) is None
