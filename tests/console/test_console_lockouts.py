"""The page of locks in the console, beside a real daemon on the practice gateway."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from console_screen import PASSWORD, menu
from daemon_process import ACCOUNT, DaemonProcess, lose, still_gateway

from risk_manager.admin.daemon_line import OwnLine, ask_daemon
from risk_manager.practice.gateway import PracticeGateway

SECOND = "the passphrase of a friend"

pytestmark = pytest.mark.wire


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


@pytest.fixture
async def desk(
    tmp_path: Path, gateway: PracticeGateway, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DaemonProcess]:
    monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
    monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
    made = DaemonProcess(tmp_path).point_at(gateway)
    async with made.running():
        yield made


async def nobody() -> str:
    raise AssertionError("a password is asked for")


async def told(desk: DaemonProcess, verb: str, **params: object) -> None:
    await ask_daemon(OwnLine(desk.data, None, nobody), verb, dict(params))


async def locked(desk: DaemonProcess) -> None:
    await told(desk, "set_lockout", account_id=ACCOUNT, reason="enough for today")


async def test_a_lock_is_lifted_with_a_reason_and_by_both_persons(desk: DaemonProcess) -> None:
    await locked(desk)
    async with menu(desk.config, desk.data) as seen:  # nobody has set a password yet
        await told(desk, "set_second", second=None, new=SECOND)
        await told(desk, "set_password", old=None, new=PASSWORD)
        await seen.press("8")
        await seen.shows("flat until it is cleared", "An administrator may lift it")
        for password, second, shown in (
            ("not the password", "", "FAILED that is not the admin password"),
            (PASSWORD, "another", "FAILED that is not the second passphrase"),
            ("", SECOND, "lifted: flat until it is cleared"),
        ):
            await seen.press("l")
            await seen.shows("Reason")
            await seen.press("enter")
            await seen.shows("say why")
            await seen.type("a slip of the finger")
            await seen.shows("Lift this lock?", "Reason: a slip of the finger")
            await seen.press("y")
            if password:  # afterwards the daemon knows this connection
                await seen.shows("Admin password")
                await seen.type(password)
            if second:
                await seen.shows("Second passphrase")
                await seen.type(second)
            await seen.shows(shown)
        await seen.shows("no lock is in force")
    assert not (await desk.account())["locks"]
    with closing(sqlite3.connect(desk.data / "state.db")) as database:
        kept = json.dumps(database.execute("SELECT * FROM audit").fetchall())
    assert "a slip of the finger" in kept


async def test_a_lock_that_nobody_may_lift_stays(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    lose(gateway.exchange, "ES", 5, 60)
    await desk.until_account(lambda a: a["locks"], "the loss has locked the account")
    async with menu(desk.config, desk.data) as seen:
        await seen.press("8")
        await seen.shows("daily_realized_loss", "Nobody may lift it now")
        await seen.press("l")
        await seen.shows("nothing was done: nobody may lift it now")
    assert (await desk.account())["locks"]


async def test_without_a_daemon_it_says_so_and_a_lost_one_lifts_nothing(
    desk: DaemonProcess,
) -> None:
    await locked(desk)
    async with menu(desk.config, desk.data) as seen:
        await seen.press("8")
        await seen.shows("flat until it is cleared")
        await desk.kill()
        await seen.press("l")
        await seen.shows("Reason")
        await seen.type("let me in")
        await seen.shows("Lift this lock?")
        await seen.press("y")
        await seen.shows("FAILED the daemon at", "cannot be reached")
        await seen.press("r")
        await seen.shows("FAILED the daemon at", "nobody guards")
