"""`admin credentials` as a process of its own, against the practice gateway."""

import asyncio
import contextlib
import json
import os
import pty
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, still_gateway, until
from pydantic import SecretStr
from said_secrets import outputs

from risk_manager.admin.checkup import checkup
from risk_manager.admin.key_age import KeyAge, known_age, note_key
from risk_manager.cli.exits import Exit
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.private_file import readers_in
from risk_manager.settings.secrets import SecretReference

KEY = "planted-canary-key-0815"
NOW = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)

# A key store for the tests: the module `keyring`, as far as it is used.
KEYRING = """
import json, pathlib
FILE = pathlib.Path(__file__).with_name("store.json")
def _all(): return json.loads(FILE.read_text()) if FILE.exists() else {}
def get_password(service, user): return _all().get(service + "/" + user)
def set_password(service, user, value):
    FILE.write_text(json.dumps({**_all(), service + "/" + user: value}))
def delete_password(service, user):
    kept = _all(); del kept[service + "/" + user]; FILE.write_text(json.dumps(kept))
"""


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway(api_key=KEY) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, gateway: PracticeGateway) -> DaemonProcess:
    """A folder with its settings, and no login in the environment."""
    return DaemonProcess(tmp_path).point_at(gateway, PROJECT_X_USERNAME="", PROJECT_X_API_KEY="")


SET = ("admin", "credentials", "set", "--username", "practice", "--key-stdin")


@pytest.mark.wire
async def test_a_key_is_tried_kept_for_its_owner_only_and_found_by_the_daemon(
    desk: DaemonProcess,
) -> None:
    ended = await desk.command(*SET, stdin=KEY + "\n")
    assert ended.code == Exit.DONE, ended
    kept = desk.config / "gateway.key"
    assert kept.read_text() == KEY + "\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "+  api_key: file:gateway.key" in ended.out
    assert "logged in at 127.0.0.1" in ended.out
    assert "account 101 (" in ended.out
    settings = (desk.config / "settings.yaml").read_text()
    assert "  username: practice\n  api_key: file:gateway.key\n" in settings
    tested = await desk.command("admin", "credentials", "test", "--json")
    assert tested.code == Exit.DONE
    assert json.loads(tested.out)["key_age_days"] == 0
    assert KEY not in ended.out + ended.err + settings + tested.out
    assert KEY not in (desk.data / "credentials.json").read_text()
    async with desk.running():
        again = await desk.command(*SET, stdin=KEY + "\n")
        assert "the running daemon goes on with the old login" in again.out
        refused = await desk.command("admin", "credentials", "remove", "--yes")
        assert refused.code == Exit.REFUSED
        assert "a daemon guards with this key" in refused.err
        assert kept.exists()


@pytest.mark.wire
async def test_a_wrong_key_is_refused_and_nothing_is_kept(desk: DaemonProcess) -> None:
    before = (desk.config / "settings.yaml").read_text()
    ended = await desk.command(*SET, stdin="planted-wrong-key\n")
    assert ended.code == Exit.CREDENTIALS
    assert "the user name or the API key is wrong; nothing was changed" in ended.err
    assert (desk.config / "settings.yaml").read_text() == before
    assert not (desk.config / "gateway.key").exists()
    assert "planted-wrong-key" not in ended.out + ended.err


@pytest.mark.wire
async def test_the_key_store_is_used_where_it_is_named(desk: DaemonProcess, tmp_path: Path) -> None:
    store = tmp_path / "modules" / "keyring"
    store.mkdir(parents=True)
    (store / "__init__.py").write_text(KEYRING)
    (store / "errors.py").write_text("class KeyringError(Exception): pass\n")
    modules = str(store.parent)
    place = "keyring:risk-manager/topstepx"
    ended = await desk.command(*SET, "--store", place, stdin=KEY + "\n", PYTHONPATH=modules)
    assert ended.code == Exit.DONE, ended
    assert f"+  api_key: {place}" in ended.out
    assert (
        await desk.command("admin", "credentials", "test", PYTHONPATH=modules)
    ).code == Exit.DONE
    removed = await desk.command("admin", "credentials", "remove", "--yes", PYTHONPATH=modules)
    assert removed.out == f"removed: {place}\n"
    tested = await desk.command("admin", "credentials", "test", PYTHONPATH=modules)
    assert tested.code == Exit.CREDENTIALS
    assert "run: risk-manager admin credentials set" in tested.err


@pytest.mark.wire
@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
async def test_a_file_that_others_may_read_is_refused(desk: DaemonProcess) -> None:
    await desk.command(*SET, stdin=KEY + "\n")
    (desk.config / "gateway.key").chmod(0o640)
    tested = await desk.command("admin", "credentials", "test")
    assert tested.code == Exit.CREDENTIALS
    assert "is open to others; run: chmod 600" in tested.err
    # Setting it again closes the file.
    assert (await desk.command(*SET, stdin=KEY + "\n")).code == Exit.DONE
    assert stat.S_IMODE((desk.config / "gateway.key").stat().st_mode) == 0o600


@pytest.mark.wire
async def test_a_broken_rules_file_is_no_reason_to_refuse_a_key(desk: DaemonProcess) -> None:
    desk.write_rules("rules: [")
    assert (await desk.command(*SET, stdin=KEY + "\n")).code == Exit.DONE
    assert (await desk.command("admin", "credentials", "test")).code == Exit.DONE


@pytest.mark.wire
@pytest.mark.parametrize(
    ("stdin", "words", "told"),
    [
        ("", (), "no API key, nothing was done: none came on the standard input"),
        ("two words of text\n", (), "an API key has no spaces in it"),
        ("short\n", (), "an API key has at least 8 characters"),
        (KEY, ("--store", KEY), "--store is a place, never the key"),
    ],
)
async def test_what_is_no_key_is_refused_and_not_repeated(
    desk: DaemonProcess, stdin: str, words: tuple[str, ...], told: str
) -> None:
    ended = await desk.command(*SET, *words, stdin=stdin)
    assert ended.code in (Exit.REFUSED, Exit.USAGE)
    assert told in ended.err
    assert KEY not in ended.err


@pytest.mark.wire
async def test_without_a_terminal_nobody_is_asked(desk: DaemonProcess) -> None:
    ended = await desk.command("admin", "credentials", "set", "--username", "practice")
    assert ended.code == Exit.REFUSED
    assert "the API key is asked for: a terminal is needed (or --key-stdin)" in ended.err


@pytest.mark.wire
async def test_a_gateway_that_does_not_answer_keeps_nothing_unless_told_so(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    gateway.faults.add("/Auth/loginKey", status=503)
    ended = await desk.command(*SET, stdin=KEY + "\n")
    assert ended.code == Exit.REFUSED
    assert "the login cannot be tried" in ended.err
    assert not (desk.config / "gateway.key").exists()
    assert (await desk.command(*SET, "--no-test", stdin=KEY + "\n")).code == Exit.DONE
    assert (desk.config / "gateway.key").exists()


@pytest.mark.wire
@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
async def test_at_a_terminal_the_key_is_asked_for_and_not_shown(desk: DaemonProcess) -> None:
    terminal, theirs = pty.openpty()
    os.set_blocking(terminal, False)
    asking = asyncio.create_task(
        desk.command("admin", "credentials", "set", terminal=theirs), name="set"
    )
    shown = b""

    def seen(text: bytes) -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(terminal, 65536)
        outputs.search("a terminal", shown)
        return text in shown

    await until(lambda: seen(b"User name"), "the question for the name")
    os.write(terminal, b"practice\n")
    await until(lambda: seen(b"not shown"), "the question for the key")
    os.write(terminal, KEY.encode() + b"\n")
    await until(lambda: seen(b"the key is kept"), "the end")
    assert (await asking).code == Exit.DONE
    assert KEY.encode() not in shown
    assert b"\x1b[32m+  api_key: file:gateway.key" in shown
    os.close(theirs)
    os.close(terminal)


# --- its age --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (79, None),
        (80, "the API key is 80 days old; renew it before 90"),
        (90, "the API key is 90 days old; renew it now"),
    ],
)
def test_a_key_is_to_be_renewed_after_eighty_and_ninety_days(days: int, told: str | None) -> None:
    assert KeyAge(NOW - timedelta(days=days)).reminder(NOW) == told


def test_a_key_keeps_its_date_until_another_one_is_used(tmp_path: Path) -> None:
    key, other = SecretStr(KEY), SecretStr(KEY + "2")
    reference = SecretReference("env", "KEY")
    note_key(tmp_path, reference, key, tmp_path, NOW)
    later = NOW + timedelta(days=85)
    assert note_key(tmp_path, reference, key, tmp_path, later).days(later) == 85
    assert note_key(tmp_path, reference, other, tmp_path, later).days(later) == 0


def test_a_key_in_a_file_is_as_old_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "old.key"
    path.write_text(KEY)
    old = (NOW - timedelta(days=85)).timestamp()
    os.utime(path, (old, old))
    age = note_key(tmp_path, SecretReference("file", "old.key"), SecretStr(KEY), tmp_path, NOW)
    assert age.days(NOW) == 85


@pytest.mark.wire
async def test_an_old_key_is_told_at_the_start_by_the_status_and_by_the_doctor(
    desk: DaemonProcess,
) -> None:
    await desk.command(*SET, stdin=KEY + "\n")
    kept = json.loads((desk.data / "credentials.json").read_text())
    kept["since"] = (datetime.now(UTC) - timedelta(days=91)).isoformat()
    (desk.data / "credentials.json").write_text(json.dumps(kept))
    async with desk.running():
        assert any("the API key is 91 days old" in line for line in desk.said)
        status = await desk.command("admin", "status")
        assert "the API key is 91 days old; renew it now: make a new key" in status.out
    (found,) = [f for f in checkup(desk.config, desk.data, env={}) if f.check == "key age"]
    assert (found.grade, found.found) == ("warn", "the API key is 91 days old; renew it now")
    assert known_age(desk.data) is not None


# --- the access list of a file on Windows ---------------------------------------------------------


@pytest.mark.parametrize(
    ("descriptor", "who"),
    [
        ("gateway.key\nD:PAI(A;;FA;;;S-1-5-21-1-2-3-1001)(A;;FA;;;SY)(A;;FA;;;BA)\n", None),
        ("gateway.key\nD:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)\n", "every user of this machine"),
        ("gateway.key\nD:(A;;FR;;;WD)\n", "everyone"),
        ("gateway.key\nD:(D;;FR;;;WD)(A;;FA;;;SY)\n", None),
    ],
)
def test_groups_that_may_read_a_file_are_found_in_its_descriptor(
    descriptor: str, who: str | None
) -> None:
    assert readers_in(descriptor) == who
