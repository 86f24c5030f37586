"""The alerts of a running daemon: listens to the steps, keeps the book, hands out the messages.

The path of an event only queues a report here. All else happens in one task, and each sending in a
thread of its channel.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from risk_manager.alerts.book import Alert, AlertBook, Message
from risk_manager.alerts.delivery import Delivery
from risk_manager.alerts.heartbeat import OutsideHeartbeat
from risk_manager.alerts.keeping import text_of, write_alerts
from risk_manager.alerts.levels import FailureWatch, LimitWatch, ended_meanwhile, exposed
from risk_manager.alerts.narration import label, news_of
from risk_manager.alerts.notice import Ended, News, Notice
from risk_manager.clock import Clock
from risk_manager.domain.decisions import Severity
from risk_manager.domain.events import ActionSettled, AnyEvent, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.state import State
from risk_manager.engine.report import Report, reported
from risk_manager.engine.step import Step
from risk_manager.right_of_way import RightOfWay

LOOK_EVERY_S = 1.0
LIMITS_EVERY_S = 5.0
MOST_REPORTS = 2000
FAILING_TOLD_AFTER_S = 120.0
SENT_AT_THE_END_S = 3.0
SENT_AFTER_A_CRASH_S = 2.0  # shorter: until it has ended it is not started again

DOWN = "daemon:down"
RUNNING = "daemon:running"

log = structlog.get_logger("risk_manager.alerts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be told besides what every step reports. `limit_at` 0: no limits."""

    limit_at: float
    daily_summary: bool


class Alerting:
    """One per daemon. `start` before the task `run`, `ended` once the daemon has ended.

    `state` is asked only in the task. `put` takes the health issue of a channel that fails.
    """

    def __init__(
        self,
        book: AlertBook,
        deliveries: Sequence[Delivery],
        *,
        clock: Clock,
        state: Callable[[], State],
        put: Callable[[AnyEvent], None],
        is_running: Callable[[], bool],
        data_dir: Path,
        wanted: Wanted,
        heartbeat: OutsideHeartbeat | None = None,
        right_of_way: RightOfWay | None = None,
        broken: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.book = book
        self.deliveries = tuple(deliveries)
        self.lost = 0
        """Reports that could not be queued."""
        self._clock = clock
        self._state = state
        self._put = put
        self._is_running = is_running
        self._data_dir = data_dir
        self._wanted = wanted
        self._heartbeat = heartbeat
        self._right_of_way = right_of_way or RightOfWay()
        self.broken = dict(broken)
        """Addresses that cannot be used, by name, and why not."""
        self._reports: deque[tuple[Report, State, str]] = deque()
        self._noted = asyncio.Event()
        self._limits = LimitWatch(wanted.limit_at) if wanted.limit_at else None
        self._failures = FailureWatch()
        self._was_running = False
        self._looked_at_limits = -LIMITS_EVERY_S
        self._said: dict[str, str] = {}
        self._kept_version = book.version
        self._keeping_failed = False

    # --- on the path of an event ---

    def note(self, event: AnyEvent, outcome: Step) -> None:
        """Queue the report of a step. Returns at once."""
        if not (outcome.facts or outcome.settled):
            return
        if len(self._reports) >= MOST_REPORTS:
            self.lost += 1
            return
        said = event.message if isinstance(event, ActionSettled) else ""
        self._reports.append((reported(event, outcome), outcome.state, said))
        self._noted.set()

    def after_cycle(self) -> None:
        """Called after each completed cycle of the watchdog. Returns at once."""
        if self._heartbeat is not None:
            self._heartbeat.after_cycle()

    # --- the task ---

    def start(self) -> None:
        """Start the threads. What had reached nobody in the run before is due again."""
        self.book.tell_again()
        for delivery in self.deliveries:
            delivery.start()
        if self._heartbeat is not None:
            self._heartbeat.start()

    async def run(self) -> None:
        """Tell what happens, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._noted.wait()
            await self._right_of_way.give_way()
            try:
                await self.look()
            except Exception as error:  # alerts may fail, enforcement must go on
                log.error("alerts_failed", exc_info=error)
                await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Take up what has been noted, look at what stands, and hand out what is due."""
        self._noted.clear()
        self._take_up()
        self._look_at_what_stands()
        self._look_at_the_channels()
        self.hand_out()
        await self._keep()

    def _take_up(self) -> None:
        while self._reports:
            report, state, said = self._reports.popleft()
            self._take(
                news_of(
                    report,
                    state,
                    open_subjects=self.book.open_subjects(),
                    with_days=self._wanted.daily_summary,
                    said=said,
                )
            )
            self._failures.note(report)

    def _take(self, news: Iterable[News]) -> None:
        for each in news:
            self.book.take(each)

    def _look_at_what_stands(self) -> None:
        if not self._is_running():
            return
        state = self._state()
        if not self._was_running:
            self._was_running = True
            self._take(ended_meanwhile(state, self.book.open_subjects()))
            self._tell_of_the_start(state)
        self._take(self._failures.look(state, self.book.open_subjects()))
        now = self._clock.monotonic()
        if self._limits is not None and now - self._looked_at_limits >= LIMITS_EVERY_S:
            self._looked_at_limits = now
            self._take(self._limits.look(state, self.book.open_subjects()))

    def _tell_of_the_start(self, state: State) -> None:
        names = ", ".join(label(state, account_id) for account_id in sorted(state.accounts))
        now, text = self._clock.now(), f"the daemon is running and guards {names}"
        if self.book.find(DOWN) is not None:
            self.book.take(Ended(subject=DOWN, at=now, text=text))
        else:
            self.book.take(
                Notice(
                    subject=RUNNING,
                    at=now,
                    severity=Severity.INFO,
                    title="The guard is running",
                    text=text,
                    lasts=False,
                )
            )

    # --- the channels ---

    def hand_out(self) -> list[Message]:
        """Give the messages that are due to the channels. Returns them."""
        due = self.book.due(self._clock.now())
        for message in due:
            wanted = [d for d in self.deliveries if d.wants(message)]
            for delivery in wanted:
                delivery.offer(message)
            if not wanted:
                self.book.reached(message.number, message.at)
        return due

    def _look_at_the_channels(self) -> None:
        """Report a channel through which nothing gets, as somebody relies on it."""
        for name, reason in self.broken.items():
            self._say(name, f"alerts to {name} cannot be sent: {reason}")
        failing = [(d.name, d.failing_s, f"alerts to {d.name}", d.reason) for d in self.deliveries]
        if (beat := self._heartbeat) is not None:
            failing.append(("heartbeat", beat.failing_s, "the outside heartbeat", beat.reason))
        for name, failing_s, what, reason in failing:
            if failing_s < FAILING_TOLD_AFTER_S:
                self._say(name, "")
            elif not self._said.get(name):
                why = reason or "it does not answer"
                self._say(name, f"{what} has not got through for minutes: {why}")

    def _say(self, name: str, reason: str) -> None:
        if self._said.get(name, "") == reason or not self._is_running():
            return
        self._said[name] = reason
        self._put(
            HealthIssueChanged(
                at=self._clock.now(),
                doubt=IssueKind.ALERTS_FAILING,
                subject=name,
                reason=reason,
            )
        )

    # --- people ---

    def acknowledge(self, number: int | None, by: str) -> list[Alert]:
        """Acknowledge one alert or all. Returns those that had not been acknowledged."""
        done = self.book.acknowledge(number, by, self._clock.now())
        self._noted.set()
        return done

    # --- keeping and ending ---

    async def _keep(self) -> None:
        if self._kept_version == self.book.version:
            return
        version, text = self.book.version, text_of(self.book.alerts)
        try:
            await asyncio.to_thread(write_alerts, self._data_dir, text)
        except OSError as error:
            if not self._keeping_failed:
                log.warning("alerts_not_kept", reason=str(error))
            self._keeping_failed = True
            return
        self._keeping_failed = False
        self._kept_version = version

    async def ended(self, failure: str, *, asked: bool) -> None:
        """Tell that the daemon has ended, within a few seconds.

        `failure` says why, and is empty after a clean stop. `asked`: somebody stopped it.
        """
        try:
            self._take_up()
        except Exception as error:  # what follows must be told all the same
            log.error("alerts_failed", exc_info=error)
        state = self._state()
        now, held = self._clock.now(), exposed(state)
        still = f" Still open: {', '.join(held)}." if held else ""
        is_grave = bool(failure) or bool(held)
        why = "it was stopped" if asked else failure
        self.book.take(
            Notice(
                subject=DOWN,
                at=now,
                severity=Severity.CRITICAL if is_grave else Severity.WARNING,
                title="Nobody guards: the daemon has ended"
                if asked
                else "Nobody guards: the daemon has FAILED",
                text=f"{why}. Locks and limits are not enforced until it runs again.{still}",
                is_money=is_grave,
                stage=0 if asked else 1,
            )
        )
        self.hand_out()
        within_s = SENT_AT_THE_END_S if asked else SENT_AFTER_A_CRASH_S
        ends = [asyncio.to_thread(d.stop, within_s) for d in self.deliveries]
        if self._heartbeat is not None:
            ends.append(asyncio.to_thread(self._heartbeat.stop, within_s, failure))
        await asyncio.gather(*ends)
        await asyncio.sleep(0)  # what has reached a channel is noted by a call into the loop
        await self._keep()


def on_reached(
    loop: asyncio.AbstractEventLoop, book: AlertBook, now: Callable[[], datetime]
) -> Callable[[Message], None]:
    """Return a callback for the threads that notes in the loop what has reached a channel."""

    def reached(message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(book.reached, message.number, now())

    return reached
