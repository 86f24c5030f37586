"""`admin service status` beside a real daemon, with and without a service manager."""

import asyncio
import contextlib
import io
import json
import os
import signal
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, buy, still_gateway, until
from recording_tool import RecordingTools, needs_scripts

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.service import choice
from risk_manager.service.daemon_state import daemon_state
from risk_manager.service.standing import standing
from risk_manager.service.systemd import Systemd

PASSWORD = "correct horse battery"

pytestmark = [pytest.mark.wire, needs_scripts]

SHOWN = (
    "LoadState=loaded\nActiveState={active}\nSubState={sub}\nUnitFileState=enabled\n"
    "MainPID={pid}\nNRestarts=2\nStatusText={says}\nResult=success\nExecMainStatus=0\n"
)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which systemd does not run."""
    none = Systemd(runs=tmp_path / "none")
    monkeypatch.setattr(choice, "Systemd", lambda: none)


@pytest.fixture
def systemd(
    tools: RecordingTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RecordingTools:
    """A machine on which systemd runs, as far as we can see."""
    tools.add("systemctl")
    there = Systemd(units=tmp_path / "units", runs=tmp_path)
    monkeypatch.setattr(choice, "Systemd", lambda: there)
    return tools


class Admin:
    """`admin service` words for one data folder, run in this process."""

    def __init__(self, daemon: DaemonProcess, capsys: pytest.CaptureFixture[str]) -> None:
        self._daemon = daemon
        self._capsys = capsys

    async def says(self, *words: str, ends: Exit = Exit.DONE) -> str:
        self._capsys.readouterr()
        folders = ["--data", str(self._daemon.data), "--manager", "systemd"]
        code = await asyncio.to_thread(main, ["admin", "service", *words, *folders])
        out, err = self._capsys.readouterr()
        assert code == ends, out + err
        return out + err

    async def row(self, *, ends: Exit = Exit.DONE) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(await self.says("status", "--json", ends=ends))
        return row


def rows_of(data: Path, action: str) -> list[tuple[str, str]]:
    """What the audit says of an action: of what, and the new value."""
    with contextlib.closing(sqlite3.connect(data / "state.db")) as database:
        asked = "SELECT target, new FROM audit WHERE action = ?"
        return database.execute(asked, (action,)).fetchall()


def pid_of(daemon: DaemonProcess) -> int:
    return int(json.loads((daemon.data / "daemon.json").read_text())["pid"])


@pytest.mark.usefixtures("container")
async def test_without_a_service_manager_it_says_so_and_what_runs_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        admin = Admin(daemon, capsys)
        out = await admin.says("status", ends=Exit.UNREACHABLE)
        assert "daemon: not running; none has run with this data folder" in out
        async with daemon.running():
            out = await admin.says("status")
            assert "service: " in out
            assert "nothing starts the daemon again when it ends" in out
            assert "daemon: RUNNING, version" in out
            assert f"pid {pid_of(daemon)}, started by " in out
            assert f"(pid {os.getpid()})" in out
            assert "unguarded in the last 7 days: none" in out
            row = await admin.row()
            assert row["service"]["absent"]
            assert row["daemon"]["exposure"] == {"contracts": 0, "locked": 0}
            assert await daemon.stop() == 0
        row = await admin.row(ends=Exit.UNREACHABLE)
        assert row["daemon"]["state"] == "stopped"
        assert row["alarms"] == []
        async with daemon.running():
            await until((daemon.data / "heartbeat").exists, "a sign of life")
        out = await admin.says("status", ends=Exit.REFUSED)
        assert "daemon: CRASHED since " in out
        assert "ALARM: the daemon ended without being stopped; nobody guards since" in out
        assert "once after a stop" in out


async def test_the_word_of_systemd_and_the_daemons_own_stand_side_by_side(
    systemd: RecordingTools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        admin = Admin(daemon, capsys)
        systemd.answer("systemctl", "show", out="LoadState=not-found\n")
        async with daemon.running():
            out = await admin.says("status")
            assert "service risk-manager (systemd): not installed" in out
            says = "RUNNING; 1 account guarded, 0 locked"
            shown = SHOWN.format(active="active", sub="running", pid=pid_of(daemon), says=says)
            systemd.answer("systemctl", "show", out=shown)
            out = await admin.says("status")
            assert f"it says: {says}" in out
            assert "started again 2 times" in out
            assert "ALARM" not in out
            other = SHOWN.format(active="active", sub="running", pid=1, says="")
            systemd.answer("systemctl", "show", out=other)
            out = await admin.says("status", ends=Exit.REFUSED)
            assert f"(pid {pid_of(daemon)}) is not that of the service (pid 1)" in out


@pytest.mark.skipif(os.geteuid() != 0, reason="a service is changed by root only")
async def test_a_stop_with_something_open_asks_first(
    systemd: RecordingTools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        admin = Admin(daemon, capsys)
        async with daemon.running():
            await admin.says("stop")
            assert systemd.calls == [["systemctl", "stop", "risk-manager"]]
            systemd.forget()
            buy(gateway.exchange, "MES", 2)
            await daemon.until_account(lambda a: a["contracts_held"] == 2, "two are held")
            out = await admin.says("stop", ends=Exit.REFUSED)
            assert "2 contracts open; nobody can be asked here; say --yes" in out
            assert systemd.calls == []
            await admin.says("stop", "--yes")
            assert systemd.calls == [["systemctl", "stop", "risk-manager"]]


@pytest.mark.skipif(os.geteuid() != 0, reason="a service is changed by root only")
@pytest.mark.parametrize("verb", ["stop", "uninstall"])
async def test_with_a_lock_in_force_the_end_of_the_guard_needs_the_password_and_is_recorded(
    systemd: RecordingTools,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        admin = Admin(daemon, capsys)
        async with daemon.running():
            told = ("--password-stdin",)
            typed = f"{PASSWORD}\n" * 2
            given = await daemon.command("admin", "password", "set", *told, stdin=typed)
            assert given.code == Exit.DONE, given.err
            lock = ("--account", "101", "--reason", "enough for today")
            assert (await daemon.command("admin", "lockouts", "set", *lock)).code == Exit.DONE
            systemd.forget()
            monkeypatch.setattr("sys.stdin", io.StringIO(""))
            await admin.says(verb, "--yes", ends=Exit.REFUSED)
            monkeypatch.setattr("sys.stdin", io.StringIO("not the password\n"))
            out = await admin.says(verb, "--yes", *told, ends=Exit.REFUSED)
            assert "that is not the admin password" in out
            assert systemd.calls == []
            assert not rows_of(daemon.data, "guard.ends")
            monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
            out = await admin.says(verb, "--yes", *told)
            assert "has not ended" in out
            assert ["systemctl", "stop", "risk-manager"] in systemd.calls or verb == "uninstall"
            ((by, stood),) = rows_of(daemon.data, "guard.ends")
            assert by == f"service {verb}"
            assert json.loads(stood) == {
                "accounts": [{"account_id": 101, "open": [], "locks": ["manual"]}]
            }
            assert (await daemon.account())["locks"], "nothing was lifted"


async def test_what_stands_is_told_with_the_end_of_each_lock(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        assert await standing(daemon.data) == []
        async with daemon.running():
            assert await standing(daemon.data) == []
            buy(gateway.exchange, "MES", 2)
            await daemon.until_account(lambda a: a["contracts_held"] == 2, "two are held")
            lock = ("--account", "101", "--policy", "no_entries", "--reason", "enough")
            assert (await daemon.command("admin", "lockouts", "set", *lock)).code == Exit.DONE
            held, locked = await standing(daemon.data)
            assert held.endswith(": 2 contracts open")
            assert "no entries until it is cleared" in locked
            assert locked.endswith("enough")


async def test_a_daemon_that_hangs_is_told_from_one_that_is_slow(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            await until((daemon.data / "heartbeat").exists, "a sign of life")
            daemon.send(signal.SIGSTOP)
            try:
                now = datetime.now(UTC)
                state = await asyncio.to_thread(daemon_state, daemon.data, now)
                assert state.state == "silent"
                for name in ("heartbeat", "daemon.json"):
                    os.utime(daemon.data / name, (now.timestamp() - 60,) * 2)
                state = await asyncio.to_thread(daemon_state, daemon.data, now)
                assert state.state == "hangs"
                assert state.unguarded_since is not None
            finally:
                daemon.send(signal.SIGCONT)


def test_the_files_of_a_daemon_that_is_gone_are_believed_as_far_as_they_go(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text("[")
    assert daemon_state(tmp_path, datetime.now(UTC)).state == "never ran"
    (tmp_path / "daemon.json").write_text('{"status": "RUNNING", "pid": 1}')
    assert daemon_state(tmp_path, datetime.now(UTC)).state == "crashed"
