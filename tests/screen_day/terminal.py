"""The dashboard as a process of its own in a terminal: what it writes, and what it costs."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from said_secrets import outputs

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a stretch of time: share of one core, bytes written each second, resident megabytes."""

    cpu: float
    bytes_s: float
    megabytes: float

    def __str__(self) -> str:
        return f"{self.cpu:.1%} of a core, {self.bytes_s:,.0f} bytes/s, {self.megabytes:.1f} MB"


class ScreenProcess:
    """A running `dashboard`. All that it writes is counted and thrown away."""

    def __init__(self, pid: int, terminal: int) -> None:
        self._pid = pid
        self._terminal = terminal
        self.written = 0

    def read(self) -> None:
        with contextlib.suppress(OSError):
            piece = os.read(self._terminal, 65536)
            outputs.search("a screen", piece)
            self.written += len(piece)

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    @property
    def megabytes(self) -> float:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * PAGE / 1e6

    def _cpu_s(self) -> float:
        told = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / TICKS

    async def cost(self, seconds: float) -> Cost:
        """Watch it for so long."""
        began, cpu, written = monotonic(), self._cpu_s(), self.written
        await asyncio.sleep(seconds)
        took = monotonic() - began
        return Cost((self._cpu_s() - cpu) / took, (self.written - written) / took, self.megabytes)


@contextlib.asynccontextmanager
async def dashboard_process(
    data: Path, size: tuple[int, int], state: Path
) -> AsyncIterator[ScreenProcess]:
    """The dashboard of this data folder in a terminal of this size. Linux only."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "risk_manager", "dashboard", "--data", str(data)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(state)},
        start_new_session=True,
    )
    os.close(terminal)
    screen = ScreenProcess(process.pid, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, screen.read)
    try:
        yield screen
        assert process.returncode is None, "the screen has ended by itself"
        screen.press("q")
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        loop.remove_reader(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(master)
