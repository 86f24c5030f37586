"""Alerts and metrics of the daemon: built here, and connected to the parts by four calls."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog

from risk_manager import __version__
from risk_manager.alerts.alerting import Alerting
from risk_manager.alerts.assembly import alerting
from risk_manager.clock import Clock
from risk_manager.daemon.data_place import Announce
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.instance_lock import CannotStart
from risk_manager.metrics.sources import AlertFigures, Sources
from risk_manager.pipeline import Feed
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings.configuration import Configuration

log = structlog.get_logger("risk_manager.daemon")

if TYPE_CHECKING:
    from risk_manager.metrics.figures import Figures


@dataclass(frozen=True, slots=True)
class Outside:
    """Those outside who are told, where configured. Nothing here can delay enforcement."""

    alerting: Alerting | None
    figures: "Figures | None"
    metrics_port: int
    right_of_way: RightOfWay

    def listening(self, feed: Feed) -> Feed:
        """Return a feed that also notes each step here; the same one where nothing is wanted."""
        return feed if self.alerting is None and self.figures is None else _Listening(feed, self)

    def after_cycle(self, lag_s: float) -> None:
        """Called by the watchdog after each completed cycle. Never raises."""
        try:
            if self.figures is not None:
                self.figures.lagged(lag_s)
            if self.alerting is not None:
                self.alerting.after_cycle()
        except Exception as error:  # the watchdog goes on, whatever those outside miss
            log.error("outside_failed", exc_info=error)

    def note(self, event: AnyEvent, outcome: Step) -> None:
        """Called with each step once it has been published. Never raises."""
        try:
            if self.figures is not None:
                self.figures.count(event, outcome)
            if self.alerting is not None:
                self.alerting.note(event, outcome)
        except Exception as error:  # enforcement goes on, whatever those outside miss
            log.error("outside_failed", exc_info=error)

    def tasks(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield the tasks to run with those of the daemon, by name."""
        if self.alerting is not None:
            yield "alerts", self.alerting.run()

    async def open(self, stack: contextlib.AsyncExitStack, announce: Announce) -> None:
        """Start. `stack` tells at its end that the daemon has ended."""
        if self.alerting is not None:
            self.alerting.start()
            stack.push_async_exit(self._ended)
        if self.figures is not None:
            from risk_manager.metrics.server import MetricsServer, MetricsUnavailable

            server = MetricsServer(self.figures.text, self.metrics_port, self.right_of_way)
            try:
                await stack.enter_async_context(server)
            except MetricsUnavailable as error:
                announce(f"warning: {error}; no metrics are served")
                log.error("metrics_unavailable", reason=str(error))
            else:
                announce(f"metrics at {server.url}")

    async def _ended(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.alerting is not None
        try:
            await self.alerting.ended(_failure(exc), asked=exc is None)
        except Exception as error:  # the end itself goes on, with the cause that it has
            log.error("outside_failed", exc_info=error)


def outside(
    configuration: Configuration,
    data_dir: Path,
    *,
    clock: Clock,
    sources: Sources,
    put: Callable[[AnyEvent], None],
    is_running: Callable[[], bool],
    announce: Announce,
    right_of_way: RightOfWay,
) -> Outside:
    """Build what the settings want. `sources` are asked only once the parts exist."""
    alerts = alerting(
        configuration,
        os.environ,
        data_dir,
        clock=clock,
        state=sources.state,
        put=put,
        is_running=is_running,
        announce=announce,
        right_of_way=right_of_way,
    )
    port = configuration.settings.metrics.port
    return Outside(
        alerting=alerts,
        figures=None if port is None else _figures(sources, alerts),
        metrics_port=port or 0,
        right_of_way=right_of_way,
    )


class _Listening:
    """A `Feed` that passes each step on, and then notes it for those outside."""

    def __init__(self, feed: Feed, told: Outside) -> None:
        self._feed = feed
        self._told = told

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self._feed.publish(event, before, outcome)
        self._told.note(event, outcome)


def _figures(sources: Sources, alerts: Alerting | None) -> "Figures":
    # Imported only here: prometheus_client is an extra.
    from risk_manager.metrics.figures import Figures

    return Figures(sources, lambda: _of_alerts(alerts), version=__version__)


def _of_alerts(alerts: Alerting | None) -> AlertFigures:
    if alerts is None:
        return AlertFigures()
    return AlertFigures(
        open=sum(not a.is_over or a.waits_for_somebody for a in alerts.book.alerts),
        sent=sum(d.sent for d in alerts.deliveries),
        waiting=sum(d.waiting for d in alerts.deliveries),
        dropped=sum(d.dropped for d in alerts.deliveries),
    )


def _failure(error: BaseException | None) -> str:
    """Return why the daemon ended, in words; empty after a stop that was asked for."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None:
        return ""
    if isinstance(error, CannotStart):
        return f"it could not start: {error}"
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "it was interrupted"
    return f"it crashed ({type(error).__name__}); data/logs/error.log says where"
