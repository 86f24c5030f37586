"""A trading desk with alerts: what happens there is told, and the test reads the messages."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from desk import Desk, rules_from

from risk_manager.alerts.alerting import Alerting, Wanted
from risk_manager.alerts.book import Alert, AlertBook, Message
from risk_manager.alerts.delivery import Delivery
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.pipeline import Pipeline


class Paper:
    """A channel that is never asked: see `Written`."""

    name = "paper"

    def send(self, message: Message) -> str:
        raise AssertionError("nothing is sent here")


class Written(Delivery):
    """Keeps the messages instead of sending them."""

    def __init__(self) -> None:
        super().__init__(Paper())
        self.messages: list[Message] = []

    def offer(self, message: Message) -> None:
        self.messages.append(message)


class DeskClock:
    """The desk's time as a clock."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def now(self) -> datetime:
        return self._desk.now

    def monotonic(self) -> float:
        return self._desk.now.timestamp()


class ToldDesk(Desk):
    """A desk whose steps are alerted on. `told` has the titles since it was last asked."""

    def __init__(
        self,
        folder: Path,
        *,
        alerts: tuple[Alert, ...] = (),
        deliveries: tuple[Delivery, ...] = (),
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.paper = Written()
        self.put: list[AnyEvent] = []
        self.is_running = True
        self.pipeline = Pipeline(
            self.pipeline.state, store=self.store, enforcer=self.enforcer, feed=self
        )
        self.alerting = Alerting(
            AlertBook(repeat=timedelta(minutes=15), alerts=alerts),
            [self.paper, *deliveries],
            clock=DeskClock(self),
            state=lambda: self.pipeline.state,
            put=self.put.append,
            is_running=lambda: self.is_running,
            data_dir=folder,
            wanted=Wanted(limit_at=0.8, daily_summary=True),
        )
        self.texts: list[str] = []

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.alerting.note(event, outcome)

    async def told(self, *, after_s: float = 0) -> list[str]:
        """Wait, second by second, and return the titles told meanwhile."""
        await self.alerting.look()
        for _ in range(int(after_s)):
            await self.wait(seconds=1)
            await self.alerting.look()
        titles = [message.title for message in self.paper.messages]
        self.texts = [message.text for message in self.paper.messages]
        self.paper.messages.clear()
        return titles

    async def is_read(self) -> None:
        """The account is opened and read."""
        await self.wait(seconds=1)
        await self.read_whole(101)

    async def is_started(self) -> None:
        """Read, running, and the news of that is thrown away."""
        await self.is_read()
        await self.told()


def told_desk(folder: Path, **sections: Any) -> ToldDesk:
    return ToldDesk(folder, rules=rules_from(**sections))
