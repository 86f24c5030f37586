"""The process: how long until RUNNING, how much memory, how dear the small commands are."""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import psutil
from bench.figures import line
from bench.wire import client, write_config

from risk_manager.practice.gateway import PracticeGateway


def run() -> None:
    for label, words in (
        ("python -m risk_manager --help", ("-m", "risk_manager", "--help")),
        ("import project_x_py", ("-c", "import project_x_py")),
    ):
        line(label, [_timed(words) for _ in range(5)], "ms")
    sdk = _resident_mb("import project_x_py, time; print('ready', flush=True); time.sleep(30)")
    asyncio.run(_daemon(sdk))


def _timed(words: tuple[str, ...]) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (perf_counter() - start) * 1000


def _resident_mb(code: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    resident = float(psutil.Process(process.pid).memory_info().rss) / 2**20
    process.kill()
    process.wait()
    return resident


async def _daemon(sdk_mb: float) -> None:
    starts, sizes, cores = [], [], []
    for _ in range(3):
        async with PracticeGateway() as gateway:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                config = Path(folder) / "config"
                config.mkdir()
                write_config(config, gateway)
                env = {
                    "PROJECT_X_USERNAME": gateway.username,
                    "PROJECT_X_API_KEY": gateway.api_key,
                }
                begun = perf_counter()
                words = ("run", "--config", str(config), "--data", f"{folder}/data")
                async with client("-m", "risk_manager", *words, env=env):
                    starts.append((perf_counter() - begun) * 1000)
                    (child,) = (
                        p for p in psutil.Process().children(recursive=True) if "run" in p.cmdline()
                    )
                    before = sum(child.cpu_times()[:2])
                    await asyncio.sleep(5.0)
                    cores.append((sum(child.cpu_times()[:2]) - before) / 5.0 * 100)
                    sizes.append(child.memory_info().rss / 2**20)
    line("start -> RUNNING, gateway in another process", starts, "ms")
    line("resident memory of the daemon", sizes, "MB")
    print(f"{'':<58} {sizes[0] / sdk_mb:.2f}x importing the SDK ({sdk_mb:.0f} MB)")
    line("CPU while quiet", cores, "% of a core")
