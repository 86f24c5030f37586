"""The sign-in of the console: three tries, no password yet, and secrets that leave no trace."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from console_screen import PASSWORD, console, menu
from daemon_process import DaemonProcess, still_gateway
from textual.widgets import Input

from risk_manager.admin.password import HASH_FILE, fits, hashed, read_hash, write_hash
from risk_manager.cli.exits import Exit
from risk_manager.console.windows import HiddenInput
from risk_manager.feed.client import AdminRefused
from risk_manager.practice.gateway import PracticeGateway


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return ConfigFolder(tmp_path / "config").path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a password and no daemon."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_hash(folder / HASH_FILE, hashed(PASSWORD))
    return folder


async def test_three_wrong_passwords_end_the_console(config: Path, data: Path) -> None:
    async with console(config, data) as seen:
        await seen.shows("The admin password is needed")
        await seen.type("not this one 1")
        await seen.shows("that is not the admin password; 2 tries left")
        await seen.type("not this one 2")
        await seen.shows("1 try left")
        await seen.type("not this one 3")
        code, told = await seen.ends()
    assert code == Exit.REFUSED
    assert told == "3 wrong passwords; nothing was done"


async def test_the_right_one_opens_the_menu_and_is_kept_nowhere(config: Path, data: Path) -> None:
    async with console(config, data) as seen:
        await seen.shows("The admin password is needed")
        field = seen.app.screen.query_one(HiddenInput)
        await seen.press(*PASSWORD)
        assert PASSWORD not in seen.text
        await seen.press("home", "shift+end", "ctrl+c", "ctrl+x")
        assert seen.app.clipboard == ""
        await seen.type(PASSWORD)
        await seen.shows("Menu", "Test connection")
        assert field.value == ""
        assert not seen.app.screen.query(Input)


async def test_what_is_typed_stays_while_a_try_is_judged(
    config: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enter twice in haste is one try, not two."""
    judged = asyncio.Event()

    async def slowly(*_: object) -> None:
        await judged.wait()
        raise AdminRefused("wrong_password", "that is not the admin password")

    monkeypatch.setattr("risk_manager.console.sign_in.try_password", slowly)
    async with console(config, data) as seen:
        await seen.shows("The admin password is needed")
        await seen.press(*"wrong", "enter", *"again", "enter")
        await seen.shows("checking ...")
        judged.set()
        await seen.shows("2 tries left")
        assert seen.app.screen.query_one(HiddenInput).value == "again"


async def test_without_a_password_that_is_said_and_one_may_be_set(
    config: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    async with console(config, data) as seen:
        await seen.shows("No admin password is set", "Set one")
        await seen.press("enter")
        await seen.shows("New admin password")
        await seen.type("short")
        await seen.shows("a password has at least 12 characters")
        await seen.type(PASSWORD)
        await seen.shows("New admin password, again")
        await seen.type("correct horse buttery")
        await seen.shows("the two do not match; nothing was changed")
        assert not (data / HASH_FILE).exists()
        await seen.press("enter")
        await seen.shows("New admin password")
        await seen.type(PASSWORD)
        await seen.shows("New admin password, again")
        await seen.type(PASSWORD)
        await seen.shows("Menu", "it counts from the daemon's next start")
    kept = read_hash(data / HASH_FILE)
    assert kept is not None
    assert fits(PASSWORD, kept)


async def test_a_hash_that_may_not_be_read_is_one_line_with_the_fix(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str | None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("risk_manager.admin.password_change.read_hash", refuse)
    data = tmp_path / "data"
    data.mkdir()
    async with console(config, data) as seen:
        words = await seen.shows("FAILED", "is closed to this user")
        assert "chmod -R u+rwX" in words
        await seen.press("escape")
        assert await seen.ends() == (0, "")


@pytest.mark.wire
async def test_with_a_daemon_each_wrong_password_is_recorded(
    tmp_path: Path, gateway: PracticeGateway
) -> None:
    desk = DaemonProcess(tmp_path).point_at(gateway)
    async with desk.running():
        async with menu(desk.config, desk.data) as seen:
            await seen.press("1", "p")
            await seen.shows("New admin password")
            await seen.type(PASSWORD)
            await seen.shows("New admin password, again")
            await seen.type(PASSWORD)
            await seen.shows("the admin password is set", "password set")
        async with console(desk.config, desk.data) as seen:
            await seen.shows("The admin password is needed")
            await seen.type("not this one at all")
            await seen.shows("2 tries left")
            await seen.type(PASSWORD)
            await seen.shows("Menu", "daemon RUNNING")
        assert PASSWORD not in "\n".join(desk.said)
    with sqlite3.connect(desk.data / "state.db") as database:
        rows = database.execute("SELECT ok FROM audit WHERE action = 'login' ORDER BY rowid")
        assert [bool(ok) for (ok,) in rows] == [False, True]


async def test_an_error_nobody_foresaw_ends_in_one_line_without_a_secret(
    config: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with console(config, data) as seen:
        await seen.shows("The admin password is needed")

        def fail() -> None:
            secret = PASSWORD
            raise RuntimeError(f"{len(secret)} went wrong")

        seen.app.call_later(fail)
        code, told = await seen.ends()
    assert code == Exit.INTERNAL
    assert told == "internal error: RuntimeError: 21 went wrong; please report it"
    assert PASSWORD not in "".join(capsys.readouterr())
