"""How the daemon ends: its exit codes, and an end for what does not end by itself."""

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
    """What has not closed by then never will; the service wrapper starts us again."""
    timer = threading.Timer(seconds, os._exit, (EXIT_INTERNAL,))
    timer.name, timer.daemon = "stop limit", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
