"""The daemon: its life from start to stop."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog

from risk_manager import __version__, logs
from risk_manager.broker.reading.reconciler import FEW_ACCOUNTS
from risk_manager.broker.request_budget import Limits
from risk_manager.clock import Clock, SystemClock, tick
from risk_manager.daemon.downtime import UnguardedSince, last_sign_of_life
from risk_manager.daemon.drill_watch import DrillWatch
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminError
from risk_manager.feed.server import FeedUnavailable
from risk_manager.instance_lock import CannotStart, InstanceLock
from risk_manager.settings.configuration import Configuration

if TYPE_CHECKING:
    from risk_manager.practice.gateway import PracticeGateway

from risk_manager.daemon.assembly import Parts, Wishes, assemble, watch
from risk_manager.daemon.data_place import HEARTBEAT, Announce, DataPlace
from risk_manager.daemon.exits import EXIT_CONFIGURATION, EXIT_DONE, exit_hard_after
from risk_manager.daemon.guarded_accounts import GuardedAccounts
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.daemon.preset_expiry import PresetExpiry
from risk_manager.daemon.release_file_watch import ReleaseFileWatch
from risk_manager.daemon.service_notices import ServiceNotices
from risk_manager.daemon.start_steps import start_step
from risk_manager.daemon.startup import Startup
from risk_manager.daemon.status import Progress, Status, in_one_line, troubles, vitals

log = structlog.get_logger("risk_manager.daemon")

DRAIN_LIMIT_S = 8.0
STOP_LIMIT_S = 15.0


class Daemon:
    """One process, one event loop, all accounts of one login."""

    def __init__(
        self,
        configuration: Configuration,
        data_dir: Path,
        *,
        clock: Clock | None = None,
        debug: bool = False,
        announce: Announce = lambda _: None,
        gateway: "PracticeGateway | None" = None,
        console: bool = True,
        limits: Limits | None = None,
        instance_lock: InstanceLock | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.run_id = secrets.token_hex(4)
        self.running = asyncio.Event()
        self.progress = Progress()
        self._configuration = configuration
        self._data_dir = data_dir
        self._debug = debug
        self._announce = announce
        self._practice = gateway
        self._console = console
        self._lane_limits = limits
        self._instance_lock = instance_lock or InstanceLock()
        self._drills = DrillWatch(data_dir)
        self._tasks: list[asyncio.Task[None]] = []
        # `run` sets the logs, `_guard` the attributes below them, in this order.
        self._logs: logs.Logs
        self.parts: Parts
        self.status: Status
        self.limits: LimitsInForce
        self.accounts: GuardedAccounts
        self.startup: Startup
        self._notices: ServiceNotices

    @property
    def state(self) -> State:
        return self.parts.state

    @property
    def is_open(self) -> bool:
        """Whether the accounts are watched, under limits that are known."""
        return hasattr(self, "accounts") and self.accounts.is_open

    # --- life ---

    async def run(self, stop: asyncio.Event) -> int:
        """Guard the accounts until `stop` is set. Raises CannotStart."""
        async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._instance_lock)  # taken first, released last
            self._instance_lock.hold_the_folder(self._data_dir)
            self._logs = stack.enter_context(
                logs.running(
                    self._configuration.settings.logging,
                    self._data_dir,
                    debug=self._debug,
                    run_id=self.run_id,
                    console=logs.terminal() if self._console else None,
                )
            )
            log.info("starting", run_id=self.run_id, version=__version__)
            for warning in self._configuration.warnings:
                self._announce(f"warning: {warning}")
            try:
                await self._guard(stack, last, stop)
            except BaseExceptionGroup as group:
                first = _innermost(group)
                if not isinstance(first, CannotStart):
                    log.critical("crashed", exc_info=group)
                raise first from group
            finally:
                # Also after a crash: a process that neither guards nor ends would never be
                # restarted.
                last.enter_context(exit_hard_after(STOP_LIMIT_S))
        return EXIT_DONE

    async def _guard(
        self,
        stack: contextlib.AsyncExitStack,
        last: contextlib.AsyncExitStack,
        stop: asyncio.Event,
    ) -> None:
        self.status = Status(self._data_dir, self.run_id, self.progress)
        self.status.write_file()
        stack.push(self._say_stopped)
        self._notices = await stack.enter_async_context(
            ServiceNotices.from_environment(
                os.environ, is_guarding=self.running.is_set, in_a_line=self._in_one_line
            )
        )
        last_alive_at = last_sign_of_life(self._data_dir / HEARTBEAT)
        where = DataPlace.find(self._data_dir, self._configuration.settings.gateway, self._announce)
        self.status.database = where.database
        with start_step("database and parts"):
            self.parts = await assemble(
                stack,
                self._configuration,
                where,
                self._wishes(stop),
                clock=self.clock,
                run_id=self.run_id,
                announce=self._announce,
                limits=self._lane_limits,
                practice=self._practice,
            )
        self.limits = LimitsInForce(self.parts, self._configuration, where, self._announce)
        self._preset_expiry = PresetExpiry(self.parts, self.limits)
        self.accounts = GuardedAccounts(
            self.parts, self.limits, self._instance_lock, self._announce
        )
        self.startup = Startup(
            self.parts,
            self.limits,
            self.accounts,
            self.status,
            where,
            running=self.running,
            unguarded_since=UnguardedSince.found(
                where.unguarded, self.parts.store.last_clean_stop, last_alive_at
            ),
            announce=self._announce,
        )
        self.status.feed = self.parts.feed
        await self.parts.outside.open(stack, self._announce)
        try:
            with start_step("feed"):
                await stack.enter_async_context(self.parts.feed)
        except FeedUnavailable as error:
            raise CannotStart(EXIT_CONFIGURATION, str(error)) from None
        self.status.write_file()
        self._announce(f"risk_manager {__version__} starting; feed {self.parts.feed.url}")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        stack.callback(stopping.cancel)
        if not await _until(stopping, self.startup.log_in()):
            return
        await stack.enter_async_context(self.parts.contracts)
        await stack.enter_async_context(self.parts.reconciler)
        await stack.enter_async_context(self.parts.enforcer)
        async with asyncio.TaskGroup() as group:
            self._start_tasks(group)
            await _until(stopping, self.startup.arm())
            await stopping
            last.enter_context(exit_hard_after(STOP_LIMIT_S))
            await self._stop()
        log.info("stopped", run_id=self.run_id)

    def _wishes(self, stop: asyncio.Event) -> Wishes:
        return Wishes(
            on_accounts=lambda records: self.accounts.listed(records),
            vitals=lambda: vitals(self.parts),
            reload=self.reload,
            preview=self.preview,
            config=self._configuration.folder,
            log_level=self._logs.set_level,
            shut_down=stop.set,
            status=lambda: {"status": self.progress.status, "run_id": self.run_id},
            waiting=lambda: self.limits.waiting(),
            drill=lambda: self._drills.told(self.limits.configuration.digest),
            is_open=lambda: self.is_open,
            is_running=self.running.is_set,
        )

    def _start_tasks(self, group: asyncio.TaskGroup) -> None:
        parts = self.parts
        for name, work in (
            ("pipeline", parts.pipeline.run()),
            ("session", parts.session.run()),
            ("hubs", parts.hubs.run()),
            ("reconciler", self.startup.reading.run()),
            ("ticker", tick(parts.clock, parts.put, parts.lead)),
            ("status", self._watch_status()),
            ("watchdog", parts.watchdog.run()),
            ("maintenance", parts.maintenance.run()),
            ("day curves", parts.day_curves.run()),
            ("audit of calls", parts.calls.run()),
            ("fire drill", self._drills.run()),
            ("release files", self._release_files().run()),
            *parts.outside.tasks(),
        ):
            self._tasks.append(group.create_task(work, name=name))
        watch(parts.contracts, parts.hubs, frozenset(parts.state.roots))

    def _release_files(self) -> ReleaseFileWatch:
        return ReleaseFileWatch(lambda: self.limits.configuration, self.parts.put, self.parts.clock)

    async def _watch_status(self) -> None:
        """Set RUNNING or DEGRADED each second, by the state of the parts."""
        while True:
            await asyncio.sleep(1.0)
            await self.limits.adopt_what_waited()
            self._preset_expiry.look()
            self.accounts.follow_those_found()
            if self.running.is_set():
                found = troubles(self.parts)
                if sum(self.parts.reconciler.owed().values()) > FEW_ACCOUNTS:
                    found.append(self.startup.reading.what_waits(0))
                self.status.set("DEGRADED" if found else "RUNNING", "; ".join(found))

    async def reload(self) -> dict[str, Any]:
        """Read the files again. Changes nothing if it raises ConfigurationErrors or AdminError."""
        self._require_open()
        return await self.limits.reload()

    async def preview(self) -> dict[str, Any]:
        """Return what a reload would do now. Raises ConfigurationErrors or AdminError."""
        self._require_open()
        return await self.limits.preview()

    def _require_open(self) -> None:
        if not self.is_open:
            # Before the login the trading day is not known, and with it what may be loosened.
            raise AdminError(
                "starting", "the daemon is still logging in to the gateway; try again once it has"
            )

    # --- stopping ---

    async def _stop(self) -> None:
        self._announce("stopping")
        self.status.set("STOPPING")
        self._notices.stopping()
        await self.parts.enforcer.drain(DRAIN_LIMIT_S)
        await self.parts.pipeline.inbox.join()
        for task in self._tasks:
            task.cancel()

    def _in_one_line(self) -> str:
        if not self.is_open:
            return in_one_line(self.progress, 0, 0)
        guarded = self.accounts.watched - self.accounts.missing
        known = self.parts.state.accounts
        locked = sum(bool(known[i].locks) for i in guarded if i in known)
        return in_one_line(self.progress, len(guarded), locked)

    def _say_stopped(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the last status to daemon.json. After a crash the previous one is kept."""
        if exc is None or isinstance(_innermost(exc), CannotStart):
            self.status.write_file(status="STOPPED")


async def _until(stopping: asyncio.Task[bool], work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` until it ends or a stop is asked for.

    Returns True if it ended before a stop was asked for. Its errors are raised.
    """
    task = asyncio.create_task(work, name="starting")
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
        return not stopping.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


def _innermost(error: BaseException) -> BaseException:
    """Return the first exception inside an exception group: the real cause."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
