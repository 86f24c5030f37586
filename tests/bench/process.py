"""The process: how long until RUNNING, how dear the small commands are."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from bench.clients import daemon
from bench.figures import Figures

STARTS = 3


def run(figures: Figures) -> None:
    sdk = [_timed(("-c", "import project_x_py")) for _ in range(5)]
    figures.line("import project_x_py", sdk, "ms")
    small = [_timed(("-m", "risk_manager", "--help")) for _ in range(5)]
    figures.line("python -m risk_manager --help", small, "ms", aim="<= 150 ms")
    starts = [asyncio.run(_start_ms()) for _ in range(STARTS)]
    beside = ("importing the SDK", sdk)
    figures.line("start -> RUNNING, 10 accounts", starts, "ms", beside=beside)


def _timed(words: tuple[str, ...]) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (perf_counter() - start) * 1000


async def _start_ms() -> float:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        begun = perf_counter()
        async with daemon(Path(folder)):
            return (perf_counter() - begun) * 1000
