"""Named tasks with one owner that starts them, receives their failures and ends them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

type OnError = Callable[[str, BaseException], None]
"""Called with the name of a task and the exception that ended it unexpectedly."""


def log_error(name: str, error: BaseException) -> None:
    """Log the failure of a task. The default where no other handler is given."""
    log.error("%s stopped: %s: %s", name, type(error).__name__, error, exc_info=error)


class TaskGroup:
    """Tasks that belong together. An exception in one does not stop the others."""

    def __init__(self, on_error: OnError = log_error) -> None:
        self._on_error = on_error
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start[T](
        self, name: str, work: Coroutine[Any, Any, T], *, at_once: bool = False
    ) -> asyncio.Task[T]:
        """Start a task. `at_once` runs it up to its first wait before this call returns."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[T]
        if at_once:
            task = asyncio.Task(work, loop=loop, name=name, eager_start=True)
        else:
            task = loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self, limit_seconds: float) -> bool:
        """Wait until every task has ended by itself; False when the limit came first."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + limit_seconds
        while self._tasks:
            left = ends - loop.time()
            if left <= 0:
                return False
            await asyncio.wait(self._tasks, timeout=left)
        return True

    async def close(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # The callbacks that remove them run one loop iteration later.
            self._tasks.difference_update(tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_error(task.get_name(), error)
