"""Watches the link in use: marks it suspect when it is silent, and keeps its subscriptions."""

import asyncio
import contextlib
from collections.abc import Callable

from risk_manager.broker.hubs.link import Call, HubLink, OpenFailed
from risk_manager.broker.hubs.reports import HubCounters
from risk_manager.broker.hubs.subscriptions import ServerTraits, Subscriptions
from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.clock import Clock


class LinkWatch:
    """Watches one link until it is in doubt.

    `wake` is set when other subscriptions are wanted or a link is in doubt. `probe` returns a
    harmless call that the server must answer, or None. `is_exposed` says whether any account has
    exposure; a silent link is then probed earlier.
    """

    def __init__(
        self,
        link: HubLink,
        subscriptions: Subscriptions,
        clock: Clock,
        timings: HubTimings,
        traits: ServerTraits,
        counters: HubCounters,
        *,
        wake: asyncio.Event,
        probe: Callable[[], Call | None],
        is_exposed: Callable[[], bool],
    ) -> None:
        self._link = link
        self._subscriptions = subscriptions
        self._clock = clock
        self._timings = timings
        self._traits = traits
        self._counters = counters
        self._wake = wake
        self._probe = probe
        self._is_exposed = is_exposed

    async def run(self) -> None:
        """Watch the link until it is in doubt. Closing it puts it in doubt as well."""
        link, times = self._link, self._timings
        monotonic = self._clock.monotonic
        checked_at, silent_since = monotonic(), link.last_frame
        probed_at: float | None = None
        while link.doubt is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(times.check):
                    await self._wake.wait()
            self._wake.clear()
            now = monotonic()
            if now - checked_at > times.check + times.overslept:
                silent_since, probed_at = now, None
            checked_at = now
            with contextlib.suppress(OpenFailed):  # the link has been marked suspect
                self._subscriptions.retry_refused()
                await self._subscriptions.update()
                silence = now - max(link.last_frame, silent_since)
                if silence >= times.silent:
                    link.mark_suspect(f"nothing was received for {silence:.0f} s")
                elif probed_at is None or link.last_frame >= probed_at:
                    probed_at = await self._probe_if_silent(silence)
                elif now - probed_at >= times.answer:
                    link.mark_suspect(
                        f"no answer to a sign of life asked for, silent {silence:.1f} s"
                    )

    async def _probe_if_silent(self, silence: float) -> float | None:
        """Probe a silent link. Returns when it was probed; None if not needed or not possible."""
        times = self._timings
        patience = times.probe_after if self._is_exposed() else times.probe_after_idle
        call = self._probe()
        if silence < patience or not self._traits.acknowledges or call is None:
            return None
        self._counters.probes += 1
        probed_at = self._clock.monotonic()
        await self._link.invoke(call, seconds=times.answer)
        return probed_at
