"""`admin password set|change`, with and without a daemon."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, still_gateway

from risk_manager.admin.password import HASH_FILE, fits, read_hash
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.practice.gateway import PracticeGateway

OLD, NEW = "correct horse battery", "something quite new"
CHANGE = ("admin", "password", "change", "--password-stdin")


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


def said(capsys: pytest.CaptureFixture[str], *words: str, ends: Exit = Exit.DONE) -> str:
    capsys.readouterr()
    assert main(list(words)) == ends
    out, err = capsys.readouterr()
    return out or err


def test_the_password_is_set_and_changed_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("admin", "password", "set", "--data", str(tmp_path))

    def typed(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{x}\n" for x in lines)))

    typed("short")
    assert "12 characters" in said(capsys, *words, ends=Exit.REFUSED)
    typed("correct horse battery")
    assert "next start" in said(capsys, *words)
    typed("wrong horse battery", "something quite new")
    assert "not the admin password" in said(capsys, *words, ends=Exit.REFUSED)
    typed("correct horse battery", "something quite new")
    assert "after the next reset" in said(capsys, *words)
    kept = read_hash(tmp_path / HASH_FILE)
    assert kept is not None
    assert fits("something quite new", kept)


def test_without_a_password_there_is_nothing_to_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = said(capsys, *CHANGE, "--data", str(tmp_path), ends=Exit.REFUSED)
    assert "no admin password is set" in told
    assert "run: risk-manager admin password set" in told


@pytest.mark.wire
async def test_a_change_needs_the_old_password_and_counts_at_once_with_the_daemon(
    tmp_path: Path, gateway: PracticeGateway
) -> None:
    desk = DaemonProcess(tmp_path).point_at(gateway)
    async with desk.running():
        first = await desk.command("admin", "password", "set", stdin=f"{OLD}\n")
        assert first.out == "the admin password is set\n"
        wrong = await desk.command(*CHANGE, stdin=f"{NEW}\n{NEW} 2\n")
        assert wrong.code == Exit.REFUSED
        assert wrong.err == "risk-manager: that is not the admin password\n"
        same = await desk.command(*CHANGE, stdin=f"{OLD}\n{OLD}\n")
        assert "the new password is the old one" in same.err
        changed = await desk.command(*CHANGE, stdin=f"{OLD}\n{NEW}\n")
        assert (changed.code, changed.out) == (Exit.DONE, "the admin password is changed\n")
        reload = ("admin", "config", "reload", "--password-stdin")
        assert (await desk.command(*reload, stdin=f"{OLD}\n")).code == Exit.REFUSED
        assert (await desk.command(*reload, stdin=f"{NEW}\n")).code == Exit.DONE
        audit = await desk.command("admin", "audit", "tail")
    said = "".join((first.out, wrong.err, same.err, changed.out, audit.out, *desk.said))
    assert OLD not in said
    assert NEW not in said


@pytest.mark.wire
async def test_a_change_while_the_daemon_is_stopped_waits_for_the_reset(
    tmp_path: Path, gateway: PracticeGateway
) -> None:
    desk = DaemonProcess(tmp_path).point_at(gateway)
    async with desk.running():
        await desk.command("admin", "password", "set", stdin=f"{OLD}\n")
        await desk.stop()
    changed = await desk.command(*CHANGE, stdin=f"{OLD}\n{NEW}\n")
    assert changed.code == Exit.DONE
    assert "the old one counts until a start after the next reset" in changed.out
    async with desk.running():
        reload = ("admin", "config", "reload", "--password-stdin")
        assert (await desk.command(*reload, stdin=f"{NEW}\n")).code == Exit.REFUSED
        assert (await desk.command(*reload, stdin=f"{OLD}\n")).code == Exit.DONE
