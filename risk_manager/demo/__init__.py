"""The demonstration: practice gateway, daemon, scripted trader and dashboard in one process."""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path

from risk_manager.daemon.daemon import Daemon
from risk_manager.daemon.process import stop_on_signals
from risk_manager.demo.screen import DemoDashboard
from risk_manager.feed.client import FeedClient
from risk_manager.instance_lock import CannotStart
from risk_manager.practice.assembly import practice_gateway
from risk_manager.practice.trader import Deed
from risk_manager.settings.loading import load

TRADER_ACCOUNT = 101
START_LIMIT_S = 30.0


def run_demo(speed: float = 1.0) -> int:
    """Run the demonstration until the user quits. Return the exit code."""
    try:
        asyncio.run(_demo(speed))
    except CannotStart as problem:
        print(problem, file=sys.stderr)
        return problem.code
    return 0


async def _demo(speed: float) -> None:
    stop = asyncio.Event()
    with stop_on_signals(stop), _data_folder() as data_dir, _config() as config_dir:
        screen = DemoDashboard(FeedClient(data_dir), account=TRADER_ACCOUNT)

        def tell(deed: Deed) -> None:
            screen.caption = deed.step.caption

        gateway = practice_gateway(
            speed=speed, trader_account=TRADER_ACCOUNT, on_deed=tell, trader_waits=True
        )
        daemon = Daemon(load(config_dir, env={}), data_dir, gateway=gateway, console=False)
        guarding = asyncio.create_task(daemon.run(stop), name="daemon")
        try:
            await _until_running(daemon, guarding)
            watching = asyncio.create_task(screen.run_async(), name="screen")
            stopped = asyncio.create_task(stop.wait(), name="stop")
            gateway.playback.start_trader()
            await asyncio.wait({watching, guarding, stopped}, return_when=asyncio.FIRST_COMPLETED)
            screen.exit()
            await watching
            stopped.cancel()
        finally:
            stop.set()
            await guarding


async def _until_running(daemon: Daemon, guarding: "asyncio.Task[int]") -> None:
    running = asyncio.create_task(daemon.running.wait(), name="until running")
    async with asyncio.timeout(START_LIMIT_S):
        await asyncio.wait({running, guarding}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    if guarding.done():
        guarding.result()


@contextlib.contextmanager
def _data_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="risk_manager_demo_", ignore_cleanup_errors=True) as d:
        yield Path(d)


@contextlib.contextmanager
def _config() -> Iterator[Path]:
    with as_file(files("risk_manager.demo") / "config") as folder:
        yield folder
