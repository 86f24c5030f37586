"""How the daemon ends: its exit codes, and a hard exit for a process that does not end."""

import contextlib
import os
import threading
from collections.abc import Iterator

EXIT_DONE = 0
EXIT_CREDENTIALS = 4
EXIT_CONFIGURATION = 5
EXIT_INTERNAL = 70


@contextlib.contextmanager
def exit_hard_after(seconds: float) -> Iterator[None]:
    """End the process if closing takes longer than this; the service wrapper restarts it."""
    timer = threading.Timer(seconds, os._exit, (EXIT_INTERNAL,))
    timer.name, timer.daemon = "stop limit", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
