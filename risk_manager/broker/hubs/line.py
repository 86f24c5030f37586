"""Keeps one hub connected for ever, and reports at once when it is not.

The SDK's own recovery ends in dead hubs whose flags say connected. Therefore a link in any doubt is
discarded and a new one built. Each hub has a client of its own (one socket each, as many as one
client would open): neither can blind the other.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from risk_manager.broker.hubs.link import BuildRealtime, Call, Handler, HubLink, OpenFailed
from risk_manager.broker.hubs.link_watch import LinkWatch
from risk_manager.broker.hubs.reports import HubCounters, HubReports
from risk_manager.broker.hubs.subscriptions import ServerTraits, Subscriptions
from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.broker.hubs.token_renewal import TokenRenewal
from risk_manager.broker.sdk_logging import quieten_sdk_logging
from risk_manager.broker.session import GatewayAddress, Login
from risk_manager.clock import Clock
from risk_manager.domain.events import Hub, HubState

log = logging.getLogger(__name__)


class HubLine:
    """Keeps one hub alive: opens links, has the one in use watched, and replaces it.

    `handlers` receive the messages, by their name. `probe` returns a harmless call that the server
    must answer, or None. `on_open` is called after every opening, once everything is subscribed,
    and when a subscription refused at first is granted. `is_exposed` says whether any account has
    exposure; the hub is then watched more closely.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        address: GatewayAddress,
        login: Login,
        clock: Clock,
        reports: HubReports,
        handlers: dict[str, Handler],
        probe: Callable[[], Call | None],
        on_open: Callable[[], None],
        is_exposed: Callable[[], bool],
        timings: HubTimings,
        build: BuildRealtime,
        dice: random.Random,
        traits: ServerTraits,
    ) -> None:
        self.hub = hub
        self.wanted: frozenset[Call] = frozenset()
        self._address = address
        self._login = login
        self._clock = clock
        self._reports = reports
        self._handlers = handlers
        self._probe = probe
        self._on_open = on_open
        self._is_exposed = is_exposed
        self._timings = timings
        self._build = build
        self._dice = dice
        self._traits = traits
        self._renewal = TokenRenewal(hub, login, clock, timings)
        self._link: HubLink | None = None
        self._wake = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()

    # --- requests and status ---

    def want(self, calls: Iterable[Call]) -> None:
        """Subscribe to exactly these calls, now and after every reopening."""
        self.wanted = frozenset(calls)
        self._wake.set()

    def mark_suspect(self, reason: str) -> None:
        """Have the link replaced, as another source shows that it cannot be trusted."""
        if self._link is not None:
            self._link.mark_suspect(reason)

    def last_frame_age(self) -> float | None:
        """Return the seconds since the last frame of any kind; None while there is no link."""
        if self._link is None:
            return None
        return max(self._clock.monotonic() - self._link.last_frame, 0.0)

    def counters(self) -> HubCounters:
        """Return a copy of the counters, the frames of the present link included."""
        counters = self._reports.counters
        frames = counters.frames + (self._link.frames if self._link is not None else 0)
        return replace(counters, frames=frames)

    # --- keeping it alive ---

    async def run(self) -> None:
        """Keep the hub alive until cancelled."""
        self._reports.state(HubState.CONNECTING)
        try:
            async with asyncio.TaskGroup() as watches:
                await self._keep_alive(watches)
        finally:
            self._let_go()
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _keep_alive(self, watches: asyncio.TaskGroup) -> None:
        failures = 0
        while True:
            try:
                link, watch = await self._open()
            except OpenFailed as failed:
                failures = await self._after_failure(failed, failures)
                continue
            opened_at = self._clock.monotonic()
            self._take_over(link)
            # In a task of its own, so that the link is watched while the next one is being opened.
            watches.create_task(watch.run(), name=f"{self.hub}-hub-watch")
            await self._while_good(link)
            if link.doubt is None:
                continue  # there is a newer token: open the new link before closing this one
            if self._clock.monotonic() - opened_at >= self._timings.steady:
                failures = 0
            self._let_go()
            # A link that was up shows that opening works. With exposure the next attempt therefore
            # does not wait for seconds, however short-lived the last links were.
            delay = self._delay_seconds(min(failures, 1) if self._is_exposed() else failures)
            if link.signed_out:
                self._reports.counters.logouts += 1
                if not await self._renewal.after_logout(link.token):
                    delay = self._timings.retries[-1]
            failures += 1
            await asyncio.sleep(delay)

    async def _while_good(self, link: HubLink) -> None:
        """Wait until the link is in doubt or its token is no longer the newest."""
        while link.doubt is None and self._login.token == link.token:
            await link.doubted(seconds=self._timings.check)

    async def _after_failure(self, failed: OpenFailed, failures: int) -> int:
        """Wait before the next attempt. Returns the number of failures so far."""
        self._reports.counters.failed_opens += 1
        log.info("the %s hub could not be opened: %s", self.hub, failed)
        if self._link is None or self._link.doubt is not None:
            self._let_go()
            self._reports.state(HubState.DOWN, str(failed))
        if failed.refused_token is not None:
            await self._renewal.after_refusal(failed.refused_token)
        delay = self._delay_seconds(failures)
        if self._link is not None:
            # The old link still works: wait, unless the old one fails as well.
            await self._link.doubted(seconds=delay)
        else:
            await asyncio.sleep(delay)
        return failures + 1

    def _delay_seconds(self, failures: int) -> float:
        ladder = self._timings.retries
        return ladder[min(failures, len(ladder) - 1)] * (
            1 + self._timings.jitter * self._dice.random()
        )

    # --- links ---

    async def _open(self) -> tuple[HubLink, LinkWatch]:
        """Return a new link, connected and subscribed but not in use yet. Raises OpenFailed."""
        token = self._login.token
        link = HubLink(
            self.hub,
            self._build(self._address, token),
            token,
            monotonic=self._clock.monotonic,
            on_doubt=self._link_doubted,
        )
        subscriptions = Subscriptions(
            link,
            self._clock,
            self._timings,
            self._traits,
            self._reports,
            wanted=lambda: self.wanted,
            on_granted=self._on_open,
        )
        try:
            await link.open(self._handlers, seconds=self._timings.open)
            quieten_sdk_logging()
            await subscriptions.update(wait=True)
            link.raise_doubt()
        except BaseException:
            self._dispose(link)
            raise
        watch = LinkWatch(
            link,
            subscriptions,
            self._clock,
            self._timings,
            self._traits,
            self._reports.counters,
            wake=self._wake,
            probe=self._probe,
            is_exposed=self._is_exposed,
        )
        return link, watch

    def _take_over(self, link: HubLink) -> None:
        previous, self._link = self._link, link
        if previous is not None:
            self._dispose(previous)
        self._reports.counters.opens += 1
        self._reports.state(HubState.UP)
        self._on_open()

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._dispose(link)

    def _dispose(self, link: HubLink) -> None:
        self._reports.counters.frames += link.frames
        task = asyncio.create_task(
            link.close(seconds=self._timings.close), name=f"{self.hub}-hub-close"
        )
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _link_doubted(self, link: HubLink) -> None:
        # Report at once and not at the next check, as a replacement may take seconds.
        self._wake.set()
        if link is self._link and link.doubt is not None:
            self._reports.counters.drops += 1
            log.warning("the %s hub is down: %s", self.hub, link.doubt)
            self._reports.state(HubState.DOWN, link.doubt)
