"""`admin password second`, and early unlocks that need it: real commands, a real daemon."""

import asyncio
import contextlib
import os
import pty
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, Ended, lose, still_gateway, until
from said_secrets import outputs
from stored_desk import tamper

from risk_manager.cli.exits import Exit
from risk_manager.feed.client import AdminClient, AdminRefused
from risk_manager.practice.gateway import PracticeGateway

pytestmark = pytest.mark.wire

PASSWORD, SECOND, OTHER = "correct horse battery", "what my friend knows", "and now another one"
RULES = """
version: 1
rules:
  - {rule: daily_realized_loss, limit: 500, unlock: timer_only}
"""
WHY = ("--reason", "the stop was a slip")
CLEAR = ("admin", "lockouts", "clear", "--account", str(ACCOUNT), *WHY)
SET = ("admin", "password", "second", "set", "--second-stdin")
REMOVE = ("admin", "password", "second", "remove", "--second-stdin")


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, gateway: PracticeGateway) -> DaemonProcess:
    return DaemonProcess(tmp_path, rules=RULES).point_at(gateway)


async def locked(desk: DaemonProcess) -> None:
    ended = await desk.command(
        "admin", "lockouts", "set", "--account", str(ACCOUNT), "--reason", "enough"
    )
    assert ended.code == Exit.DONE, ended.err


async def done(desk: DaemonProcess, *words: str, lines: tuple[str, ...] = ()) -> Ended:
    ended = await desk.command(*words, stdin="".join(f"{line}\n" for line in lines))
    assert ended.code == Exit.DONE, ended.err
    return ended


async def refused(desk: DaemonProcess, *words: str, lines: tuple[str, ...] = ()) -> str:
    ended = await desk.command(*words, stdin="".join(f"{line}\n" for line in lines))
    assert ended.code == Exit.REFUSED, ended.out
    return ended.err


async def test_an_early_unlock_needs_both_over_a_restart_and_both_are_recorded(
    desk: DaemonProcess,
) -> None:
    both = ("--password-stdin", "--second-stdin")
    said: list[str] = []
    async with desk.running():
        await done(desk, "admin", "password", "set", lines=(PASSWORD,))
        ended = await done(desk, *SET, "--password-stdin", lines=(PASSWORD, SECOND))
        assert ended.out == "the second passphrase is set; an early unlock needs it from now on\n"
        await locked(desk)
        said += desk.said
        await desk.stop()
    async with desk.running():
        told = await refused(desk, *CLEAR, "--password-stdin", lines=(PASSWORD,))
        assert "second passphrase is asked for: a terminal is needed (or --second-stdin)" in told
        told = await refused(desk, *CLEAR, *both, lines=("wrong horse battery", SECOND))
        assert told == "risk-manager: that is not the admin password\n"
        told = await refused(desk, *CLEAR, *both, lines=(PASSWORD, PASSWORD))
        assert told == "risk-manager: that is not the second passphrase\n"
        assert (await desk.account())["locks"]
        ended = await done(desk, *CLEAR, *both, lines=(PASSWORD, SECOND))
        assert "lifted" in ended.out
        await desk.until_account(lambda a: not a["locks"], "unlocked")
        said += desk.said
    with closing(sqlite3.connect(desk.data / "state.db")) as database:
        recorded = database.execute(
            "SELECT actor, ok, new FROM audit WHERE action IN"
            " ('second_passphrase.given', 'admin.unlock') ORDER BY id"
        ).fetchall()
    assert [(actor.split(" ")[-1], ok) for actor, ok, _ in recorded] == [
        ("second", 0),
        ("second", 1),
        ("second", 1),
    ]
    assert recorded[-1][0].endswith(" and second")
    assert all("the stop was a slip" in new for *_, new in recorded)
    written = "\n".join(said).encode() + b"".join(
        path.read_bytes() for path in desk.data.rglob("*") if path.is_file()
    )
    for secret in (PASSWORD, SECOND):
        assert secret.encode() not in written


async def test_without_an_admin_password_the_second_one_alone_is_asked_for(
    desk: DaemonProcess,
) -> None:
    async with desk.running():
        await done(desk, *SET, lines=(SECOND,))
        await locked(desk)
        # The line of the password comes first even where none is needed.
        await done(desk, *CLEAR, "--password-stdin", "--second-stdin", lines=("unused", SECOND))
        await locked(desk)
        await done(desk, *CLEAR, "--second-stdin", lines=(SECOND,))


async def test_no_passphrase_lifts_a_lock_that_nobody_may_lift(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    async with desk.running():
        await done(desk, *SET, lines=(SECOND,))
        await desk.until_account(lambda a: a["reported_at"], "read")
        lose(gateway.exchange, "MNQ", 5, 240)
        await desk.until_account(lambda a: a["locks"], "locked")
        told = await refused(desk, *CLEAR, "--second-stdin", lines=(SECOND,))
        assert "cannot be cleared by hand" in told


async def test_another_one_needs_the_one_in_force_and_a_removal_waits_for_the_reset(
    desk: DaemonProcess,
) -> None:
    async with desk.running():
        assert "no second passphrase is set" in await refused(desk, *REMOVE, lines=(SECOND,))
        assert "12 characters" in await refused(desk, *SET, lines=("short",))
        await done(desk, *SET, lines=(OTHER,))
        told = await refused(desk, *SET, lines=(SECOND, SECOND))
        assert told == "risk-manager: that is not the second passphrase\n"
        await done(desk, *SET, lines=(OTHER, SECOND))
        told = await refused(desk, *REMOVE, lines=(OTHER,))
        assert told == "risk-manager: that is not the second passphrase\n"
        ended = await done(desk, *REMOVE, lines=(SECOND,))
        assert ended.out.startswith("the second passphrase counts until the reset (")
        await locked(desk)
        assert "second passphrase" in await refused(desk, *CLEAR)
        await desk.stop()
    async with desk.running():
        assert "second passphrase" in await refused(desk, *CLEAR)
        await done(desk, *CLEAR, "--second-stdin", lines=(SECOND,))


async def test_its_row_deleted_while_the_daemon_is_stopped_does_not_help(
    desk: DaemonProcess,
) -> None:
    async with desk.running():
        await done(desk, *SET, lines=(SECOND,))
        await locked(desk)
        await desk.stop()
    tamper(desk.data, "DELETE FROM meta WHERE key LIKE 'note:second%'")
    async with desk.running():
        await desk.until_account(lambda a: a["reported_at"], "read")
        request = {"account_id": ACCOUNT, "reason": "enough", "rule_id": "manual"}
        async with AdminClient.connect(desk.data) as admin:
            for given, code in (({}, "second_missing"), ({"second": OTHER}, "wrong_second")):
                with pytest.raises(AdminRefused) as answer:
                    await admin.call("clear_lockout", {**request, **given})
                assert answer.value.code == code
            await admin.call("clear_lockout", {**request, "second": SECOND})


async def test_wrong_ones_make_the_next_try_wait(desk: DaemonProcess) -> None:
    async with desk.running():
        await done(desk, *SET, lines=(SECOND,))
        await locked(desk)
        request = {"account_id": ACCOUNT, "reason": "enough"}
        codes = []
        async with AdminClient.connect(desk.data) as admin:
            for _ in range(8):
                with pytest.raises(AdminRefused) as answer:
                    await admin.call("clear_lockout", {**request, "second": OTHER})
                codes.append(answer.value.code)
                if codes[-1] != "wrong_second":
                    break
        assert codes[-1] == "too_many_second_tries"
        assert "wrong second passphrases in a row" in answer.value.message
        assert (await desk.account())["locks"]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
async def test_at_a_terminal_both_are_asked_for_and_not_shown(desk: DaemonProcess) -> None:
    terminal, theirs = pty.openpty()
    os.set_blocking(terminal, False)
    shown = b""

    def seen(text: bytes, times: int = 1) -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(terminal, 65536)
        outputs.search("a terminal", shown)
        return shown.count(text) >= times

    async def answered(question: bytes, with_: str, times: int = 1) -> None:
        await until(lambda: seen(question, times), question.decode())
        os.write(terminal, with_.encode() + b"\n")

    async with desk.running():
        await done(desk, "admin", "password", "set", lines=(PASSWORD,))
        asking = asyncio.create_task(
            desk.command("admin", "password", "second", "set", terminal=theirs), name="set"
        )
        await answered(b"Admin password: ", PASSWORD)
        await answered(b"New second passphrase: ", SECOND)
        await answered(b"Again: ", SECOND)
        assert (await asking).code == Exit.DONE
        await locked(desk)
        asking = asyncio.create_task(desk.command(*CLEAR, terminal=theirs), name="clear")
        await answered(b"Admin password: ", PASSWORD, times=2)
        await answered(b"Second passphrase: ", SECOND)
        assert (await asking).code == Exit.DONE
        await until(lambda: seen(b"no lock is in force"), "the end")
    os.close(theirs)
    os.close(terminal)
    assert PASSWORD.encode() not in shown
    assert SECOND.encode() not in shown
