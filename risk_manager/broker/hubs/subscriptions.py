"""The subscriptions of one link: made as wanted, and requested again where they were refused."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from risk_manager.broker.hubs.link import Call, HubLink
from risk_manager.broker.hubs.reports import HubReports
from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.clock import Clock

log = logging.getLogger(__name__)


@dataclass
class ServerTraits:
    """Properties of the gateway that both hubs of a login have found out.

    `acknowledges`: whether the gateway answers invocations, on any link; None: not known yet. If it
    does, a link that has never answered is mute, even the first link of its hub.
    """

    acknowledges: bool | None = None


@dataclass(slots=True)
class _Refusal:
    """A refused subscription: the last error, how often, and when it is requested again."""

    error: str
    times: int
    ask_again_at: float


class Subscriptions:
    """Keeps the subscriptions of a link as they are wanted.

    `on_granted` is called when a subscription refused at first is granted: messages until then
    were missed, so a snapshot is needed.
    """

    def __init__(
        self,
        link: HubLink,
        clock: Clock,
        timings: HubTimings,
        traits: ServerTraits,
        reports: HubReports,
        *,
        wanted: Callable[[], frozenset[Call]],
        on_granted: Callable[[], None],
    ) -> None:
        self._link = link
        self._clock = clock
        self._timings = timings
        self._traits = traits
        self._reports = reports
        self._wanted = wanted
        self._on_granted = on_granted
        self._requested: set[Call] = set()
        self._refusals: dict[Call, _Refusal] = {}

    async def update(self, *, wait: bool = False) -> None:
        """Bring the subscriptions in line with those wanted. Raises OpenFailed.

        `wait`: wait for the answers, as far as this gateway gives any.
        """
        wanted = self._wanted()
        if wanted == self._requested:
            return
        answers: dict[Call, asyncio.Future[str | None]] = {}
        for call in sorted(wanted - self._requested, key=_precedence):
            answers[call] = await self._link.invoke(call, seconds=self._timings.open)
            self._requested.add(call)
        for call in self._requested - wanted:
            method, arguments = call
            await self._link.invoke((f"Un{method[0].lower()}{method[1:]}", arguments), seconds=1)
        self._requested &= wanted
        self._refusals = {call: one for call, one in self._refusals.items() if call in wanted}
        for call, answer in answers.items():
            answer.add_done_callback(partial(self._answered, call))
        if wait and answers and self._traits.acknowledges is not False:
            await self._acknowledged(answers.values())

    def retry_refused(self) -> None:
        """Have refused subscriptions requested by the next update, once their pause is over."""
        now = self._clock.monotonic()
        for call, refusal in self._refusals.items():
            if now >= refusal.ask_again_at:
                refusal.ask_again_at = now + self._pause_seconds(refusal.times)
                self._requested.discard(call)

    async def _acknowledged(self, answers: Collection[asyncio.Future[str | None]]) -> None:
        """Wait for answers to a new link's subscriptions. A link that gives none may be mute."""
        # A REST read begun after the answers leaves no gap before the stream's first message.
        if not self._traits.acknowledges:
            done, _ = await asyncio.wait(answers, timeout=self._timings.acknowledge)
            if not done and self._traits.acknowledges is None:
                self._traits.acknowledges = False
            return
        done, _ = await asyncio.wait(answers, timeout=self._timings.answer)
        if not done and not self._link.frames:
            self._link.mark_suspect("mute since it was opened")

    def _answered(self, call: Call, answer: asyncio.Future[str | None]) -> None:
        if answer.cancelled():
            return
        self._traits.acknowledges = True
        error = answer.result()
        before = self._refusals.pop(call, None)
        if error is not None:
            times = before.times + 1 if before is not None else 1
            ask_again_at = self._clock.monotonic() + self._pause_seconds(times)
            self._refusals[call] = _Refusal(error, times, ask_again_at)
            if before is None or before.error != error:
                self._reports.refused_subscription(call, error)
        elif before is not None:
            log.info("the %s hub granted %s after %d refusals", self._link.hub, call, before.times)
            self._on_granted()

    def _pause_seconds(self, refusals: int) -> float:
        pauses = self._timings.ask_again
        return pauses[min(refusals, len(pauses)) - 1]


def _precedence(call: Call) -> tuple[int, str, str]:
    """Sort key: accounts and positions first, as they matter most to enforcement."""
    method, arguments = call
    first = ("SubscribeAccounts", "SubscribePositions")
    rank = first.index(method) if method in first else len(first)
    return rank, method, repr(arguments)
