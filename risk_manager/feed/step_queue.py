"""Queues the steps of the pipeline, and sends the messages that follow from each."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from risk_manager.domain.events import AnyEvent, HubChanged, QuoteChanged, Tick
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.feed import frames
from risk_manager.feed.broadcast import Broadcast
from risk_manager.feed.messages import EnforcementAction
from risk_manager.feed.pacing import Pacer
from risk_manager.right_of_way import RightOfWay

BACKLOG = 4096
STEPS_PER_TURN = 16
IDLE_TICKS = 5

log = structlog.get_logger(__name__)


class StepQueue:
    """Steps that wait to be sent. `put` returns at once; `run`, in a task, makes the messages.

    Enforcements and alarms are kept in `memory` as well. `report` is given what goes wrong.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        pacer: Pacer,
        memory: frames.Memory,
        *,
        right_of_way: RightOfWay,
        report: Callable[[Exception], None],
    ) -> None:
        self._broadcast = broadcast
        self._pacer = pacer
        self._memory = memory
        self._right_of_way = right_of_way
        self._report = report
        self._steps: deque[tuple[AnyEvent, State, Step]] = deque()
        self._filled = asyncio.Event()
        self._ticks = 0

    def put(self, event: AnyEvent, before: State, outcome: Step) -> None:
        """Queue one step, unless nobody listens and nothing in it must be remembered."""
        if not self._broadcast and not frames.is_worth_keeping(outcome):
            return
        if type(event) is QuoteChanged:
            self._pacer.quote_changed(event.contract_id)
            if outcome.state.accounts is before.accounts and not outcome.decisions:
                return
        if len(self._steps) >= BACKLOG:
            self._start_over()
            return
        self._steps.append((event, before, outcome))
        self._filled.set()

    def _start_over(self) -> None:
        """Disconnect all clients, as too many steps wait; they return for a fresh snapshot."""
        log.error("feed_backlog_dropped", steps=len(self._steps))
        self._steps.clear()
        self._broadcast.disconnect_all("the feed fell behind; connect again for a snapshot")

    async def run(self) -> None:
        """Send the steps in order until cancelled."""
        done = 0
        while True:
            while self._steps:
                await self._right_of_way.give_way()
                event, before, outcome = self._steps.popleft()
                try:
                    self._send(event, before, outcome)
                except Exception as error:  # the feed may fail, enforcement must go on
                    self._report(error)
                done += 1
                if done % STEPS_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._filled.clear()
            await self._filled.wait()

    def _send(self, event: AnyEvent, before: State, outcome: Step) -> None:
        broadcast, pacer = self._broadcast, self._pacer
        for account_id, data in frames.told(event, outcome):
            if isinstance(data, EnforcementAction) and account_id is not None:
                self._memory.enforced(account_id, data)
                pacer.accounts_changed((account_id,))
            broadcast.send(account_id, data)
        for alarm in frames.alarms(outcome):
            self._memory.alarmed(alarm)
            broadcast.send_status(alarm)
        if isinstance(event, HubChanged):
            broadcast.send_status()
            pacer.accounts_changed(outcome.state.accounts)
        elif isinstance(event, Tick):
            self._refresh_with_time(outcome.state)
        pacer.accounts_changed(frames.touched(event, before, outcome))
        if outcome.state.health_issues is not before.health_issues:
            pacer.accounts_changed(outcome.state.accounts)
        pacer.wake()

    def _refresh_with_time(self, state: State) -> None:
        """Refresh figures that change with time alone: windows, ages, quotes that become old.

        Flat accounts are refreshed less often.
        """
        self._ticks += 1
        self._broadcast.send_outlook()
        everyone = self._ticks % IDLE_TICKS == 0
        self._pacer.figures_moved(
            account.id for account in state.accounts.values() if everyone or not account.is_flat
        )
