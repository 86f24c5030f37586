"""The process: the signals that stop it, its standard output, and its exit."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import structlog

from risk_manager.daemon.daemon import Daemon
from risk_manager.instance_lock import InstanceLock
from risk_manager.settings.configuration import Configuration

log = structlog.get_logger("risk_manager.daemon")


def run(
    configuration: Configuration, data_dir: Path, instance_lock: InstanceLock, debug: bool = False
) -> int:
    """Run the daemon until a stop is asked for. Returns the exit code. Raises CannotStart."""
    try:
        return asyncio.run(_run_until_signalled(configuration, data_dir, instance_lock, debug))
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """Drop unwritten output, as Python would turn it into exit code 120 after a clean stop."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def _run_until_signalled(
    configuration: Configuration, data_dir: Path, instance_lock: InstanceLock, debug: bool
) -> int:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        daemon = Daemon(
            configuration, data_dir, debug=debug, announce=_say, instance_lock=instance_lock
        )
        return await daemon.run(stop)


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except (OSError, ValueError) as error:  # disk full, pipe closed, or encoding too small
        log.warning("stdout_unwritable", line=line, reason=type(error).__name__)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C, a service's stop or a break, on Windows as well."""
    loop = asyncio.get_running_loop()

    def stop_asked(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    before = {
        number: signal.signal(number, stop_asked)
        for number in (getattr(signal, name, None) for name in names)
        if number is not None
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
