"""Sees to it that there is never more than one pass per account at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from risk_manager.broker.reading.account_reader import AccountReader, Pass
from risk_manager.broker.reading.pacing import Budget
from risk_manager.broker.reading.progress import ProgressByAccount, ReadProgress
from risk_manager.broker.reading.readings import Part, Reading
from risk_manager.broker.task_group import OnError, TaskGroup
from risk_manager.clock import Clock


@dataclass(slots=True, eq=False)
class _Queue:
    """The passes of one account: the one that runs, and the one that follows it."""

    running: Pass | None = None
    task: "asyncio.Task[None] | None" = None
    following: Pass | None = None
    is_repeat_due: bool = False  # a routine pass was dropped for a read-back


class Passes:
    """Begins passes, one at a time per account.

    A read-back asked for meanwhile waits for the next pass, as the present one may predate the
    effect to be verified. A routine pass is dropped at once for a read-back, and its parts are read
    afterwards. `on_ended` is called when a pass has ended. `tasks` ends the passes.
    """

    def __init__(
        self,
        reader: AccountReader,
        progress: ProgressByAccount,
        budget: Budget,
        clock: Clock,
        tasks: TaskGroup,
        on_error: OnError,
        *,
        on_ended: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._progress = progress
        self._budget = budget
        self._clock = clock
        self._tasks = tasks
        self._on_error = on_error
        self._on_ended = on_ended
        self._queues: defaultdict[int, _Queue] = defaultdict(_Queue)

    def request(
        self,
        account_id: int,
        parts: Iterable[Part],
        *,
        is_urgent: bool,
        is_whole_day: bool = False,
    ) -> Pass:
        """Return the next pass over the account, these parts added. It may begin now."""
        queue, progress = self._queues[account_id], self._progress[account_id]
        begun = queue.running
        if begun is not None and not begun.is_under_way and (begun.is_urgent or not is_urgent):
            begun.widen(parts, is_urgent=is_urgent, is_whole_day=is_whole_day)
            self._note_begun(begun, progress)
            return begun
        following = queue.following
        if following is None:
            done: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
            following = queue.following = Pass(set(parts), is_urgent, is_whole_day, done)
        else:
            following.widen(parts, is_urgent=is_urgent, is_whole_day=is_whole_day)
        if queue.running is not None and is_urgent and not queue.running.is_urgent:
            self._drop(queue, progress)
        if queue.running is None:
            self._begin_next(queue, progress)
        return following

    def is_running(self, account_id: int) -> bool:
        return self._queues[account_id].running is not None

    def is_reading(self, account_id: int, part: Part) -> bool:
        """Return whether the running pass reads this part."""
        running = self._queues[account_id].running
        return running is not None and part in running.parts

    def release(self) -> None:
        """Cancel what callers wait for, after the tasks of the passes have been ended."""
        for queue in self._queues.values():
            for waited_for in (queue.running, queue.following):
                if waited_for is not None:
                    waited_for.done.cancel()
            queue.running = queue.following = None

    def _drop(self, queue: _Queue, progress: ReadProgress) -> None:
        """Drop the routine pass that is running; its parts are read afterwards."""
        assert queue.running is not None
        assert queue.task is not None
        queue.is_repeat_due = True
        progress.wants_whole_day |= queue.running.is_whole_day
        queue.task.cancel()
        queue.running.done.cancel()
        queue.running = queue.task = None

    def _begin_next(self, queue: _Queue, progress: ReadProgress) -> None:
        begun, queue.following = queue.following, None
        if begun is None:
            return
        queue.running = begun
        self._note_begun(begun, progress)
        queue.task = self._tasks.start(
            f"read account {progress.account_id}", self._carry_out(queue, progress, begun)
        )

    def _note_begun(self, begun: Pass, progress: ReadProgress) -> None:
        progress.note_begun(begun.parts, self._clock.monotonic(), is_urgent=begun.is_urgent)

    async def _carry_out(self, queue: _Queue, progress: ReadProgress, current: Pass) -> None:
        current.is_under_way = True
        begun_at = self._clock.now()
        reading = Reading(account_id=progress.account_id, asked_at=begun_at, at=begun_at)
        try:
            reading = await self._reader.read(progress, current, begun_at)
        except Exception as error:  # our own fault: reported, and the account is read again later
            self._on_error(f"read account {progress.account_id}", error)
            progress.note_failure(f"{type(error).__name__}: {error}", self._clock.now())
        # Only a dropped pass is cancelled; the pass that replaced it is then in charge.
        now = progress.last_pass_ended_at = self._clock.monotonic()
        queue.running = queue.task = None
        if not current.done.done():
            current.done.set_result(reading)
        progress.note_parts(reading, now, self._clock.now(), parts=current.parts)
        if self._must_read_stops(progress, current, reading):
            self.request(progress.account_id, (Part.ORDERS,), is_urgent=True)
        if queue.running is not None:
            pass  # the orders are being read already
        elif queue.following is not None:
            self._begin_next(queue, progress)
        elif queue.is_repeat_due:
            queue.is_repeat_due = False
            progress.is_requested = not progress.owed
        self._on_ended()

    def _must_read_stops(self, progress: ReadProgress, ended: Pass, reading: Reading) -> bool:
        """Return whether to read the orders at once by the enforcement lane.

        The stops of a position must be known; this account goes ahead of all flat ones.
        """
        is_half = Part.ORDERS in progress.owed.parts and Part.ORDERS not in ended.parts
        return bool(
            reading.positions and is_half and progress.is_unsure and self._budget.looks_left
        )
