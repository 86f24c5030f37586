"""What an administrator is answered, and when."""

import asyncio
from collections.abc import Sequence

from desk import SilentFeed, make_desk

from risk_manager.admin.verbs import AdminDesk
from risk_manager.clock import SystemClock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.feed.admin import AdminSession
from risk_manager.pipeline import Pipeline


class WaitingStore:
    """A disk that is done when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_end = asyncio.Event()

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.asked.set()
        await self.may_end.wait()

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        await self.commit(*turn[-1])


async def test_a_lock_is_answered_once_it_is_on_disk() -> None:
    desk = make_desk()
    await desk.wait(seconds=1)
    store = WaitingStore()
    pipeline = desk.pipeline = Pipeline(
        desk.pipeline.state, store=store, enforcer=desk.enforcer, feed=SilentFeed()
    )
    admin = AdminDesk(pipeline.inbox.take, lambda: pipeline.state, SystemClock())
    running = asyncio.create_task(pipeline.run(), name="pipeline")
    order = {"account_id": 101, "reason": "enough"}
    answer = asyncio.create_task(
        admin.handle("set_lockout", order, AdminSession(peer="test")), name="answer"
    )
    await store.asked.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not answer.done()
    store.may_end.set()
    assert (await answer)["accepted"]
    assert ("account", "manual") in desk.account().locks
    running.cancel()
