"""Carries out actions: each in a task of its own, in order for each key, settled exactly once."""

import asyncio
from collections.abc import Callable

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.enforcement.calls import Actor, Calls
from risk_manager.broker.enforcement.jobs import Job
from risk_manager.broker.enforcement.patience import Patience
from risk_manager.broker.enforcement.read_back import (
    AccountOf,
    EffectReader,
    PositionReader,
    Reader,
)
from risk_manager.broker.enforcement.results import Result, unsent
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.clock import Clock
from risk_manager.domain.decisions import Action, Outcome
from risk_manager.domain.events import ActionSettled, AnyEvent


class Enforcer(AsyncClosing):
    """Carries out actions, each in a task of its own; `submit` returns at once.

    An async context manager. For every action the inbox gets the account as read back, and then
    one `ActionSettled`. No call is repeated here; the engine decides about that. There is one call
    at a time per key. An action that `follows` another waits for that call's answer, not for its
    read-back. `account_of` returns the account known from the stream, for when reads fail.
    `is_for_news` says whether REST may not know the action's subject yet, as the stream has only
    just reported it.
    """

    def __init__(
        self,
        lanes: Actor,
        reader: Reader,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        account_of: AccountOf,
        *,
        run_id: str,
        is_for_news: Callable[[Action], bool] = lambda action: False,
        patience: Patience | None = None,
        on_error: OnError = log_error,
    ) -> None:
        self._clock = clock
        self._put = put
        self._is_for_news = is_for_news
        self._patience = patience or Patience()
        self._on_error = on_error
        self._positions = PositionReader(reader, account_of)
        self._calls = Calls(
            lanes,
            reader,
            self._positions,
            EffectReader(reader, clock, self._patience),
            clock,
            self._patience,
            run_id=run_id,
        )
        self._tasks = TaskGroup(on_error)
        self._jobs: set[Job] = set()
        self._newest: dict[tuple[int, str], Job] = {}
        """The newest job of each account and key."""
        self._closed = False

    @property
    def under_way(self) -> int:
        """The number of actions that have not been settled yet."""
        return len(self._jobs)

    def submit(self, action: Action) -> None:
        """Carry out an action. The request has been sent when this returns."""
        started = self._clock.monotonic()
        key = (action.account_id, action.key)
        if self._closed:
            self._settle(action, started, unsent("the program is stopping; not sent"))
            return
        before = self._newest.get(key)
        if before is not None and before.action.id != action.follows:
            # The engine never asks for this. If it did, two calls at once would be worse than one.
            message = f"{action.key} is already being acted on by {before.action.id}"
            self._on_error(f"action {action.id}", RuntimeError(message))
            self._settle(
                action, started, Result(outcome=Outcome.REFUSED, verified=False, message=message)
            )
            return
        job = Job(action, before=None if before is None else before.newest_call)
        if before is not None:
            before.is_followed = True
        self._newest[key] = job
        self._jobs.add(job)
        self._tasks.start(f"action {action.id}", self._carry_out(job, started), at_once=True)

    async def drain(self, limit_seconds: float = 8.0) -> bool:
        """Wait until all actions have ended; False when the limit came first."""
        return await self._tasks.finish(limit_seconds)

    async def close(self) -> None:
        """Stop. Each open action is settled as unknown, or as unsent if that is certain."""
        self._closed = True
        await self._tasks.close()

    async def _carry_out(self, job: Job, started: float) -> None:
        action = job.action
        result: Result | None = None
        try:
            over = None if job.before is None else await self._wait_for(job.before, job)
            if over is None:
                job.before = None
            result = over or await self._calls.carry_out(job)
            if result.outcome is Outcome.GONE and self._is_for_news(action):
                await asyncio.sleep(self._patience.not_known_yet_seconds)
        except Exception as error:  # our own fault: reported, and the engine will try again
            self._on_error(f"action {action.id}", error)
            result = job.cut_short(f"internal error: {type(error).__name__}: {error}")
        finally:
            job.answered.set()
            self._jobs.remove(job)
            if self._newest.get((action.account_id, action.key)) is job:
                del self._newest[(action.account_id, action.key)]
            stopped = "the program stopped before the answer came"
            self._settle(action, started, result or job.cut_short(stopped))

    async def _wait_for(self, before: Job, job: Job) -> Result | None:
        """Wait for the answer to the earlier call; return a result if nothing is left to do.

        The earlier call may have been executed late, on the position that is to be closed now. A
        second close sent before that fill shows would reverse the position.
        """
        action, began = job.action, self._clock.monotonic()
        if before.answered.is_set() and not action.wary:
            return None
        await before.answered.wait()
        if action.wary or self._clock.monotonic() - began > self._patience.sure_seconds:
            held, verified = await self._positions.held(action, self._patience.between_seconds)
            if verified and not held.size:
                return Result(outcome=Outcome.GONE, verified=True, message="closed meanwhile")
            await asyncio.sleep(self._patience.sure_seconds)
        position = self._positions.streamed(action)
        episode = getattr(action, "episode", None)
        if job.is_followed or position is None or position.episode != episode:
            message = "the position ended before the close was sent"
            return Result(outcome=Outcome.GONE, verified=False, message=message)
        return None

    def _settle(self, action: Action, started: float, result: Result) -> None:
        self._put(
            ActionSettled(
                at=self._clock.now(),
                account_id=action.account_id,
                action_id=action.id,
                outcome=result.outcome,
                verified=result.verified,
                error_code=result.code,
                message=result.message,
                took_ms=(self._clock.monotonic() - started) * 1000,
                order_id=result.order_id,
            )
        )
