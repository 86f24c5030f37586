"""How long each step of the start takes, in the log."""

import contextlib
import time
from collections.abc import Iterator

import structlog

SLOW_STEP_S = 10.0

log = structlog.get_logger("risk_manager.daemon")


@contextlib.contextmanager
def start_step(name: str) -> Iterator[None]:
    """Log how long a step of the start takes, and whether it fails; a slow one as a warning."""
    began_s = time.monotonic()
    ended = "failed"
    try:
        yield
        ended = "done"
    finally:
        took_s = time.monotonic() - began_s
        tell = log.warning if took_s > SLOW_STEP_S else log.info
        tell("start_step", step=name, ended=ended, took_ms=round(took_s * 1000))
