"""The console beside a real daemon on the practice gateway, by Pilot and on a real terminal."""

import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from console_screen import PASSWORD, Seen, menu
from daemon_process import DaemonProcess, buy, still_gateway, until

from risk_manager.admin.daemon_line import OwnLine, ask_daemon
from risk_manager.cli.exits import Exit
from risk_manager.practice.gateway import PracticeGateway

pytestmark = pytest.mark.wire

RULES = """\
version: 1
rules:
  - rule: max_contracts   # mine
    limit: 5
  - rule: daily_realized_loss
    limit: 500
"""


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
    made = DaemonProcess(tmp_path, rules=RULES).point_at(gateway)
    async with made.running():
        yield made


async def nobody() -> str:
    raise AssertionError("a password is asked for")


async def with_password(desk: DaemonProcess) -> None:
    line = OwnLine(desk.data, None, nobody)
    await ask_daemon(line, "set_password", {"old": None, "new": PASSWORD})


async def set_limit(seen: Seen, limit: int) -> None:
    """On the page of the rule: give its limit another value, up to the question."""
    await seen.press("enter")
    await seen.shows("limit of max_contracts")
    await seen.type(str(limit))
    await seen.shows("Write this?")


async def test_a_looser_limit_waits_and_is_taken_back_and_a_tighter_one_counts_now(
    desk: DaemonProcess,
) -> None:
    await with_password(desk)
    async with menu(desk.config, desk.data, password=PASSWORD) as seen:
        await seen.press("3")
        await seen.shows("RULE-001")
        await seen.press("enter")
        await seen.shows("> limit 5")
        await set_limit(seen, 9)
        await seen.shows("rules.max_contracts.limit: 5 -> 9, looser, at the reset (")
        await seen.press("y")
        await seen.shows("waits for the reset (", "there holds as well: limit 5")
        await seen.press("w")
        await seen.shows("Waits for the reset", "5 -> 9, looser")
        await seen.press("escape", "c")
        await seen.shows("Write this?", "9 -> 5, tighter, now")
        await seen.press("y")
        await seen.shows("> limit 5", "all of it is in force now")
        await set_limit(seen, 2)
        await seen.shows("5 -> 2, tighter, now")
        await seen.press("y")
        await seen.shows("At most 2 contracts", "all of it is in force now")
    text = (desk.config / "risk_config.yaml").read_text(encoding="utf-8")
    assert text == RULES.replace("limit: 5\n", "limit: 2\n")


async def test_orders_to_the_daemon_are_carried_out_and_told(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    async with menu(desk.config, desk.data) as seen:
        await seen.press("4")
        await seen.shows("daemon: RUNNING", "user stream up")
        await seen.press("r")
        await seen.shows("Open both streams anew?")
        await seen.press("y")
        await seen.shows("user stream opened anew, up", "market stream opened anew, up")
        await seen.press("s")
        await seen.shows("end the old token?")
        await seen.press("y")
        await seen.shows("logged in anew; the old token is worthless")
        await seen.press("d")
        await seen.shows("FAILED the trading day", "turns by itself at")
        desk.write_rules(RULES.replace("limit: 5", "limit: 4"))
        await seen.press("c")
        await seen.shows("Have the daemon read this?", "5 -> 4, tighter, now")
        await seen.press("y")
        await seen.shows("all of it is in force now")
        await seen.press("escape", "5")
        await seen.shows("all passed", "user stream up", "may trade, watched")
        await seen.press("escape", "1", "t")
        await seen.shows("logged in at 127.0.0.1", "account 101")
        await seen.press("r")
        await seen.shows("a daemon guards with this key")
        await seen.press("escape", "2", "g")
        await seen.shows("account 101: enforce, in the login, guarded")


async def test_a_panic_closes_and_locks_without_a_password(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    await with_password(desk)
    buy(gateway.exchange, "MNQ", 2)
    await desk.until_account(lambda a: a["contracts_held"] == 2, "the position")
    async with menu(desk.config, desk.data, password=PASSWORD) as seen:
        await seen.press("7", "enter")
        await seen.shows("Close everything in all accounts?")
        await seen.press("y")
        await seen.shows("closed 2 MNQZ6 long", "done, and confirmed by the gateway")
        await seen.press("escape", "6")
        await seen.shows("locked flat until it is cleared", "manual: panic")
    assert gateway.exchange.is_flat(101)


async def test_a_restarted_daemon_asks_for_the_password_again(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    await with_password(desk)
    async with menu(desk.config, desk.data, password=PASSWORD) as seen:
        await desk.stop()
        await seen.press("4")
        await seen.shows("nobody guards; start it with")
        await desk.start()
        await until(lambda: desk.is_running, "RUNNING again")
        await seen.press("d")
        await seen.shows("Admin password")
        await seen.type("not the password")
        await seen.shows("FAILED that is not the admin password")
        await seen.press("d")
        await seen.shows("Admin password")
        await seen.type(PASSWORD)
        await seen.shows("FAILED the trading day")
        await seen.press("d")
        await seen.shows("FAILED the trading day")


async def test_a_page_that_is_left_ends_its_work_and_a_write_is_not_left(
    desk: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def slowly(*_: object, **__: object) -> dict[str, object]:
        begun.set()
        try:
            await go_on.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return {"hubs": {}}

    monkeypatch.setattr("risk_manager.console.service.reconnect", slowly)
    monkeypatch.setattr("risk_manager.console.limits_page.deliver", slowly)
    async with menu(desk.config, desk.data) as seen:
        await seen.press("4")
        await seen.shows("daemon: RUNNING")
        await seen.press("r", "y")
        await begun.wait()
        await seen.shows("opening the streams anew ...")
        await seen.press("s")
        await seen.shows("wait: reconnecting is under way")
        await seen.press("escape")
        await seen.shows("Leave")
        assert ended == ["cancelled"]
        await seen.press("3")
        await seen.shows("RULE-001")
        begun.clear()
        await seen.press("f")
        await seen.shows("Write this?")
        await seen.press("y")
        await begun.wait()
        await seen.press("escape", "ctrl+q")
        await seen.shows("a change is being written; wait a moment", "Rules")
        assert ended == ["cancelled"]
        go_on.set()


# --- on a real terminal ---------------------------------------------------------------------------


class Terminal:
    """`admin` on a pseudo-terminal of 80x24; what it has written is read as it comes."""

    def __init__(self, desk: DaemonProcess, fd: int) -> None:
        self._desk = desk
        self._fd = fd
        self.written = b""

    @property
    def plain(self) -> str:
        """What was drawn since the last `forget`, without control sequences."""
        text = self.written.decode(errors="replace")
        return " ".join(re.sub(r"\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[()][0-9A-B]", " ", text).split())

    def read(self) -> None:
        self.written += os.read(self._fd, 65_536)

    async def type(self, keys: str) -> None:
        self.written = b""
        for key in keys:
            os.write(self._fd, key.encode())
            await asyncio.sleep(0)

    async def shows(self, *phrases: str) -> None:
        await until(lambda: all(p in self.plain for p in phrases), f"{phrases} on the terminal")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
async def test_a_session_on_a_real_terminal(desk: DaemonProcess) -> None:
    import fcntl
    import pty
    import struct
    import termios

    await with_password(desk)
    outside, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    loop = asyncio.get_running_loop()
    terminal = Terminal(desk, outside)
    loop.add_reader(outside, terminal.read)
    everything = b""
    try:
        running = asyncio.create_task(
            desk.command("admin", "console", terminal=inside, TERM="xterm-256color"),
            name="console",
        )
        await terminal.shows("The admin password is needed")
        everything += terminal.written
        await terminal.type(PASSWORD + "\r")
        await terminal.shows("daemon RUNNING", "Authentication")
        everything += terminal.written
        await terminal.type("3")
        await terminal.shows("RULE-001", "At most 5 contracts")
        await terminal.type("f")
        await terminal.shows("Write this?", "looser")
        await terminal.type("y")
        await terminal.shows("waits for the reset")
        everything += terminal.written
        await terminal.type("\x1b")
        await terminal.shows("Test connection")
        await terminal.type("0")
        ended = await running
    finally:
        loop.remove_reader(outside)
        os.close(outside)
        os.close(inside)
    assert ended.code == Exit.DONE
    assert PASSWORD.encode() not in everything
    account = await desk.account()
    assert "max_contracts (until the reset)" in [meter["rule_id"] for meter in account["meters"]]
    with sqlite3.connect(desk.data / "state.db") as database:
        texts = [str(row) for row in database.execute("SELECT * FROM audit")]
    assert PASSWORD not in "".join(texts)
    assert all(PASSWORD not in path.read_text() for path in (desk.data / "logs").glob("*.log"))
