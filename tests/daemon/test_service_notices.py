"""The daemon as a service of systemd: signs of life from its own loop, and what it says."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, still_gateway, until

from risk_manager.daemon.service_notices import ServiceNotices
from risk_manager.daemon.status import Progress, in_one_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="systemd is on Linux only")


class Listener:
    """A socket as systemd has it, and the lines that arrived there."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """The lines of the datagrams that have arrived since the last call."""
        new: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                new += self._socket.recv(4096).decode().splitlines()
        self.lines += new
        return new

    def has(self, start: str) -> bool:
        self.heard()
        return any(line.startswith(start) for line in self.lines)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with tempfile.TemporaryDirectory() as folder:  # the path of a test may be too long for a socket
        made = Listener(f"{folder}/notify")
        yield made
        made.close()


@contextlib.asynccontextmanager
async def notices(
    address: str | None, *, words: str = "RUNNING", guarding: bool = True
) -> AsyncIterator[ServiceNotices]:
    async with ServiceNotices(
        address, is_guarding=lambda: guarding, in_a_line=lambda: words, beat_s=0.001
    ) as made:
        yield made


@pytest.mark.wire
@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_a_daemon_says_ready_when_it_guards_and_stopping_when_told(
    tmp_path: Path, listener: Listener, kind: str
) -> None:
    if kind == "abstract":
        listener.close()
        listener = Listener(f"@risk_manager_test_{os.getpid()}")
    async with still_gateway() as gateway:
        accounts = gateway.faults.add("/Account/search", hang=True)
        daemon = DaemonProcess(tmp_path).point_at(gateway, NOTIFY_SOCKET=listener.address)
        await daemon.start()
        try:
            await until(lambda: accounts.hits, "the daemon asks for the accounts")
            await until(lambda: listener.has("EXTEND_TIMEOUT_USEC="), "the start is prolonged")
            assert not listener.has("READY=1"), "nothing is guarded yet"
            assert listener.has("STATUS=STARTING")
            gateway.faults.clear()
            await until(lambda: listener.has("READY=1"), "READY")
            guarded = "STATUS=RUNNING; 1 account guarded, 0 locked"
            await until(lambda: listener.has(guarded), "the status in a line")
            assert listener.lines.count("READY=1") == 1
            assert not listener.has("STOPPING=1")
            assert await daemon.stop() == 0
            assert listener.has("STOPPING=1")
            assert listener.has("STATUS=STOPPING")
        finally:
            await daemon.kill()
            if kind == "abstract":
                listener.close()


@pytest.mark.wire
async def test_a_process_that_hangs_sends_no_sign_of_life(
    tmp_path: Path, listener: Listener
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, NOTIFY_SOCKET=listener.address)
        async with daemon.running():
            await until(lambda: listener.has("READY=1"), "READY")
            daemon.send(signal.SIGSTOP)
            listener.heard()
            await asyncio.sleep(2.5)  # more than two beats
            assert len(listener.heard()) <= 1, "one may have been on its way"
            daemon.send(signal.SIGCONT)
            await until(lambda: "WATCHDOG=1" in listener.heard(), "it beats again")
            assert await daemon.stop() == 0


async def test_a_loop_that_is_blocked_sends_no_sign_of_life(listener: Listener) -> None:
    """A thread of its own would go on while nothing is guarded."""
    async with notices(listener.address):
        await until(lambda: listener.has("WATCHDOG=1"), "a sign of life")
        listener.heard()
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is blocked on purpose, for a hundred beats
        assert listener.heard() == []
        await until(lambda: "WATCHDOG=1" in listener.heard(), "it beats again")


async def test_a_status_is_sent_once_until_it_changes_and_is_one_line(listener: Listener) -> None:
    async with notices(listener.address, words="DEGRADED: one\nREADY=1", guarding=False):
        await until(lambda: listener.lines.count("WATCHDOG=1") > 3 or listener.heard(), "beats")
        await until(lambda: listener.has("STATUS="), "the status")
    listener.heard()
    assert [x for x in listener.lines if "STATUS" in x] == ["STATUS=DEGRADED: one READY=1"]
    assert "READY=1" not in listener.lines


async def test_a_fault_in_the_words_ends_no_signs_of_life(listener: Listener) -> None:
    def fails() -> str:
        raise ZeroDivisionError

    async with ServiceNotices(
        listener.address, is_guarding=lambda: True, in_a_line=fails, beat_s=0.001
    ):
        await until(lambda: listener.heard() and listener.lines.count("WATCHDOG=1") > 3, "beats")


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative", "/nobody/is/there"])
async def test_without_a_socket_nothing_happens(address: str | None) -> None:
    async with notices(address) as told:
        told.stopping()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        ("STARTING", "", "STARTING"),
        ("STARTING", "no answer; trying again", "STARTING: no answer; trying again"),
        ("RUNNING", "", "RUNNING; 2 accounts guarded, 1 locked"),
        (
            "DEGRADED",
            "user stream down",
            "DEGRADED: user stream down; 2 accounts guarded, 1 locked",
        ),
        ("STOPPING", "", "STOPPING"),
    ],
)
def test_the_line(status: str, message: str, told: str) -> None:
    assert in_one_line(Progress(status, message), 2, 1) == told
