"""The real pipeline, rules, enforcer and reconciler over any gateway, with recording edges."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.enforcement.patience import Patience
from risk_manager.broker.lanes import Call, Lanes
from risk_manager.broker.reading.pacing import Intervals
from risk_manager.broker.reading.reconciler import Reconciler
from risk_manager.broker.request_budget import Limits
from risk_manager.broker.single_requests import Gateway
from risk_manager.clock import Clock, tick
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action
from risk_manager.domain.events import AccountOpened, ActionSettled, AdminAsked, AnyEvent
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.disputes import is_for_news
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import Pipeline


class RecordingStore:
    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        return None

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        return None


@dataclass
class RecordingFeed:
    """Everything that happened, in order."""

    events: list[AnyEvent] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.events.append(event)
        self.actions += outcome.actions
        self._more.set()

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until something that happens makes the condition true. TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._more.clear()
                await self._more.wait()


class LateEnforcer:
    """Stands in for the enforcer while the pipeline it needs is built."""

    def __init__(self) -> None:
        self.real: Enforcer | None = None

    def submit(self, action: Action) -> None:
        assert self.real is not None
        self.real.submit(action)


@dataclass
class Bench:
    clock: Clock
    pipeline: Pipeline
    feed: RecordingFeed
    lanes: Lanes
    reconciler: Reconciler
    enforcer: Enforcer
    calls: list[Call]
    errors: list[str]
    listed: list[tuple[AccountRecord, ...]]

    def account(self, account_id: int = 101) -> Account:
        return self.pipeline.state.accounts[account_id]

    def locked(self, account_id: int = 101) -> set[str]:
        """The rules that have locked it."""
        return {lock.rule_id for lock in self.account(account_id).locks.values()}

    def of[E](self, kind: type[E]) -> list[E]:
        return [e for e in self.feed.events if isinstance(e, kind)]

    def settled(self) -> list[ActionSettled]:
        return self.of(ActionSettled)

    def lock(self, account_id: int = 101) -> None:
        self.pipeline.inbox.put_nowait(
            AdminAsked(
                at=self.clock.now(), account_id=account_id, verb="lock", reason="enough for today"
            )
        )

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        await self.feed.until(condition, seconds)

    async def until_flat(self, account_id: int = 101, seconds: float = 30.0) -> None:
        """Until we know the account to be flat and nothing is under way any more."""
        await self.until(
            lambda: (
                not self.account(account_id).positions
                and self.enforcer.under_way == 0
                and not any(a.in_flight for a in self.account(account_id).attempts.values())
            ),
            seconds,
        )


@asynccontextmanager
async def bench(
    gateway: Gateway,
    clock: Clock,
    *,
    rules: Iterable[Rule] = (),
    accounts: Iterable[int] = (101,),
    limits: Limits | None = None,
    intervals: Intervals | None = None,
    patience: Patience | None = None,
) -> AsyncIterator[Bench]:
    """Everything running; ends when the block ends."""
    book = AccountRules.of(rules)
    rulebook = Rulebook(accounts={a: book for a in accounts})
    feed, late = RecordingFeed(), LateEnforcer()
    errors: list[str] = []
    calls: list[Call] = []
    listed: list[tuple[AccountRecord, ...]] = []

    def on_error(name: str, error: BaseException) -> None:
        errors.append(f"{name}: {type(error).__name__}: {error}")

    pipeline = Pipeline(
        State.at(clock.now(), rulebook),
        store=RecordingStore(),
        enforcer=late,
        feed=feed,
        read=lambda account_id: reconciler.look_again(account_id),
    )

    def for_news(action: Action) -> bool:
        account = pipeline.state.accounts.get(action.account_id)
        return account is not None and is_for_news(account, action, clock.now())

    put = pipeline.inbox.put_nowait
    lanes = Lanes(gateway, clock, limits=limits, on_call=calls.append, on_error=on_error)
    reconciler = Reconciler(
        lanes,
        clock,
        put,
        lambda: pipeline.state,
        intervals=intervals,
        on_accounts=listed.append,
        on_error=on_error,
    )
    enforcer = late.real = Enforcer(
        lanes,
        reconciler,
        clock,
        put,
        lambda account_id: pipeline.state.accounts.get(account_id),
        run_id="test",
        is_for_news=for_news,
        patience=patience,
        on_error=on_error,
    )
    for account_id in accounts:
        await pipeline.process(AccountOpened(at=clock.now(), account_id=account_id))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lanes)
        await stack.enter_async_context(reconciler)
        await stack.enter_async_context(enforcer)
        running = [
            asyncio.create_task(pipeline.run(), name="pipeline"),
            asyncio.create_task(reconciler.run(), name="reconciler"),
            asyncio.create_task(tick(clock, put), name="ticker"),
        ]
        try:
            yield Bench(clock, pipeline, feed, lanes, reconciler, enforcer, calls, errors, listed)
        finally:
            for task in running:
                task.cancel()
            ends = await asyncio.gather(*running, return_exceptions=True)
            for end in ends:
                if not isinstance(end, asyncio.CancelledError):
                    errors.append(repr(end))
    assert errors == []
