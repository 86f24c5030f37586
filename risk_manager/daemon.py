"""The composition root: builds every part, starts them in order, stops them in reverse."""

import asyncio
import contextlib
import gc
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from risk_manager import __version__, logs
from risk_manager.admin.password import AdminPassword
from risk_manager.admin.verbs import WITHOUT_PASSWORD, AdminDesk
from risk_manager.broker.contracts import ContractBook
from risk_manager.broker.enforcer import Enforcer
from risk_manager.broker.hubs import HubSupervisor
from risk_manager.broker.lanes import Call, Lane, Lanes, Limits, SdkGateway
from risk_manager.broker.reconcile import FEW_ACCOUNTS, Part, Reconciler, is_exposed
from risk_manager.broker.session import (
    CredentialsRefused,
    GatewayAddress,
    GatewaySession,
    GatewayUnavailable,
)
from risk_manager.clock import CLOCK_IS_WRONG, Clock, SystemClock, VenueTime, tick
from risk_manager.domain.decisions import Action
from risk_manager.domain.events import (
    AccountOpened,
    AdminAsked,
    AnyEvent,
    GuardResumed,
    HealthIssueChanged,
    Hub,
    HubState,
    RulebookReplaced,
    Tick,
)
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.holdings import Position
from risk_manager.domain.read_budget import in_minutes, reading_time, time_for
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.state import State
from risk_manager.enforcement_log import EnforcementLog
from risk_manager.engine.account_updates import is_for_news
from risk_manager.feed.admin import AdminChannel, AdminError
from risk_manager.feed.messages import DatabaseRow, RestRow, Vitals
from risk_manager.feed.server import FeedServer, FeedUnavailable
from risk_manager.instance_lock import (
    EXIT_DATABASE,
    CannotStart,
    InstanceLock,
    accounts_folder,
    gateway_name,
)
from risk_manager.maintenance import CallAudit, Gap, Maintenance, last_sign_of_life
from risk_manager.pipeline import Pipeline
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings.changes import changes
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.settings.settings_file import is_same_site
from risk_manager.store import journal, place
from risk_manager.store.opening import OpenedAs
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store
from risk_manager.store.witness import Witnesses
from risk_manager.watchdog import Watchdog, missing_from_login

if TYPE_CHECKING:
    from risk_manager.practice.gateway import PracticeGateway

log = structlog.get_logger("risk_manager.daemon")
api_log = structlog.get_logger("risk_manager.broker.lanes")

HEARTBEAT = "heartbeat"
JOURNAL = "journal"

EXIT_DONE = 0
EXIT_CREDENTIALS = 4
EXIT_CONFIGURATION = 5
EXIT_INTERNAL = 70

LIMITS_NOTE = "limits"
LIMITS_FILE = "limits.json"
LOGIN_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
DRAIN_LIMIT_S = 8.0
STOP_LIMIT_S = 15.0
STREAM_FIRST_S = 3.0

TOLD_OTHERWISE = (
    IssueKind.HUB_DOWN,
    IssueKind.READS_FAILING,
    IssueKind.ACCOUNT_NOT_GUARDED,  # nobody asked for it to be guarded: an alarm, once
)

Announce = Callable[[str], None]


def run(
    configuration: Configuration, data_dir: Path, claims: InstanceLock, debug: bool = False
) -> int:
    """Run the daemon until it is told to stop; the exit code. Raises CannotStart."""
    try:
        return asyncio.run(_run_until_signalled(configuration, data_dir, claims, debug))
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """What could not be written by now must not become the exit code (120) of a clean stop."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


async def _run_until_signalled(
    configuration: Configuration, data_dir: Path, claims: InstanceLock, debug: bool
) -> int:
    stop = asyncio.Event()
    with stop_on_signals(stop):
        daemon = Daemon(configuration, data_dir, debug=debug, announce=_say, claims=claims)
        return await daemon.run(stop)


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except (OSError, ValueError) as error:  # full, gone, or without such letters
        log.warning("stdout_unwritable", line=line, reason=type(error).__name__)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, a service's stop or a break sets `stop`. Works on Windows, too."""
    loop = asyncio.get_running_loop()

    def told(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    before = {
        number: signal.signal(number, told)
        for number in (getattr(signal, name, None) for name in names)
        if number is not None
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(slots=True)
class Progress:
    """Where the daemon is in its life, for daemon.json and the feed."""

    status: str = "STARTING"
    message: str = ""
    armed: set[int] = field(default_factory=set)


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
        claims: InstanceLock | None = None,
    ) -> None:
        self.configuration = self._started_with = configuration
        self.data_dir = data_dir
        self.place = data_dir  # of what was learnt from this gateway
        self.clock: Clock = clock or SystemClock()
        self.run_id = secrets.token_hex(4)
        self.progress = Progress()
        self.running = asyncio.Event()
        self._debug = debug
        self._announce = announce
        self._practice = gateway
        self._console = console
        self._limits = limits
        self._claims = claims or InstanceLock()
        self._watched: set[int] = set()
        self._unlisted: frozenset[int] = frozenset()
        self._unguarded: set[int] = set()
        self._missing: set[int] = set()  # configured, and never seen in the login yet
        self._limits_in_doubt = False
        self._witnesses: Witnesses | None = None
        self._is_open = False  # the accounts are, under limits that are known
        self.venue = VenueTime(self.clock) if isinstance(self.clock, SystemClock) else None
        self._open = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    # --- life ---

    async def run(self, stop: asyncio.Event) -> int:
        """Guard the accounts until `stop` is set. Raises CannotStart."""
        self._shut_down = stop.set
        async with contextlib.AsyncExitStack() as last, contextlib.AsyncExitStack() as stack:
            stack.enter_context(self._claims)  # first in, last out
            self._claims.hold_the_folder(self.data_dir)
            stack.enter_context(self._logging())
            log.info("starting", run_id=self.run_id, version=__version__)
            for warning in self.configuration.warnings:
                self._announce(f"warning: {warning}")
            try:
                await self._guard(stack, last, stop)
            except BaseExceptionGroup as group:
                first = _innermost(group)
                if not isinstance(first, CannotStart):
                    log.critical("crashed", exc_info=group)
                raise first from group
            finally:
                # Also after a crash: a process that guards nothing and does not end is never
                # started again.
                last.enter_context(_exit_hard_after(STOP_LIMIT_S))
        return EXIT_DONE

    async def _guard(
        self,
        stack: contextlib.AsyncExitStack,
        last: contextlib.AsyncExitStack,
        stop: asyncio.Event,
    ) -> None:
        self._write_daemon_file()
        stack.push(self._say_stopped)
        self._open = stack
        self._last_alive_at = last_sign_of_life(self.data_dir / HEARTBEAT)
        self._find_the_place()
        self.store = await self._open_store(stack)
        book = self.configuration.rulebook()
        await self.store.belongs_to(self.gateway_name)
        state = await self.store.restore(book, self.clock.now())
        await self._keep_journal()
        self.password = AdminPassword(
            self.store,
            self.data_dir,
            self.clock,
            lambda: self._state().day.date if self._is_open else None,
        )
        try:
            await self.password.load()
        except (StoreError, OSError) as error:
            raise CannotStart(
                EXIT_DATABASE, f"the admin password cannot be read: {error}"
            ) from None
        address = await self._address(stack)
        self.session = await stack.enter_async_context(GatewaySession(address, clock=self.clock))
        self.calls = CallAudit(self.store)
        stack.push_async_callback(self.calls.write)
        gateway = SdkGateway(self.session, on_date=self.venue.note if self.venue else _ignore)
        self.lanes = await stack.enter_async_context(
            Lanes(gateway, self.clock, limits=self._limits, on_call=self._note_call)
        )
        self._build_pipeline(state, address)
        try:
            await stack.enter_async_context(self.feed)
        except FeedUnavailable as error:
            raise CannotStart(EXIT_CONFIGURATION, str(error)) from None
        self._write_daemon_file()
        self._announce(f"risk_manager {__version__} starting; feed {self.feed.url}")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        stack.callback(stopping.cancel)
        if not await self._until(stopping, self._log_in()):
            return
        await stack.enter_async_context(self.contracts)
        await stack.enter_async_context(self.reconciler)
        await stack.enter_async_context(self.enforcer)
        async with asyncio.TaskGroup() as group:
            self._start_tasks(group)
            await self._until(stopping, self._arm())
            await stopping
            last.enter_context(_exit_hard_after(STOP_LIMIT_S))
            await self._stop()
        log.info("stopped", run_id=self.run_id)

    async def _until(self, stopping: asyncio.Task[bool], work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work was done before a stop was asked for; its errors are raised."""
        task = asyncio.create_task(work, name="starting")
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return not stopping.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return False

    # --- parts ---

    @contextlib.contextmanager
    def _logging(self) -> Iterator[None]:
        settings = self.configuration.settings.logging
        with logs.running(
            settings,
            self.data_dir,
            debug=self._debug,
            run_id=self.run_id,
            console=logs.terminal() if self._console else None,
        ):
            yield

    def _find_the_place(self) -> None:
        """What was learnt from a gateway is kept with it: another one changes nothing of it."""
        gateway = self.configuration.settings.gateway
        self.gateway_name = place.gateway_name(gateway.kind, gateway.api_url)
        try:
            self.place = place.folder_of(self.data_dir, self.gateway_name)
        except OSError as error:
            raise CannotStart(
                EXIT_DATABASE, f"the data folder {self.data_dir} cannot be used: {error}"
            ) from None
        if self.place != self.data_dir:
            self._announce(
                f"{self.data_dir} belongs to another gateway, whose limits and locks stay as they "
                f"are; what is learnt from {self.gateway_name} is kept in {self.place}"
            )

    @property
    def _is_elsewhere(self) -> bool:
        """Whether this is another real gateway than the one the data folder belongs to."""
        return self.place != self.data_dir and self.gateway_name != place.PRACTICE

    async def _tell_of_the_gateway(self) -> None:
        """What a trader could have the daemon look at instead is not prevented, but told."""
        gateway = self.configuration.settings.gateway
        found = []
        if self._is_elsewhere:
            found.append(
                f"the daemon guards at {self.gateway_name}; at the gateway this data folder "
                "belongs to nobody guards now. For a second gateway give --data another folder"
            )
        if gateway.kind != place.PRACTICE and not all(
            is_same_site(gateway.api_url, url)
            for url in (gateway.user_hub_url, gateway.market_hub_url)
        ):
            found.append(
                "settings.yaml: gateway: the streams come from another place than the answers; "
                "api_url, user_hub_url and market_hub_url must be of one gateway"
            )
        if found:
            self._announce(f"warning: {'; '.join(found)}")
            await self.pipeline.process(
                HealthIssueChanged(
                    at=self.clock.now(),
                    doubt=IssueKind.OTHER_GATEWAY,
                    reason="; ".join(found),
                )
            )

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> Store:
        try:
            return await stack.enter_async_context(
                Store.open(self.place / place.DATABASE, self.clock, on_trouble=_tell_trouble)
            )
        except StoreError as error:
            raise CannotStart(EXIT_DATABASE, str(error)) from None

    async def _keep_journal(self) -> None:
        try:
            await self.store.keep_journal(self.place / JOURNAL, __version__)
        except (StoreError, OSError) as error:
            # A guard without a journal is a guard all the same.
            log.error("journal_unavailable", reason=str(error))

    async def _address(self, stack: contextlib.AsyncExitStack) -> GatewayAddress:
        gateway = self.configuration.settings.gateway
        if gateway.kind == "practice":
            # Only here: a guard of a real account carries no exchange with it.
            from risk_manager.practice.assembly import practice_gateway

            practice = self._practice or practice_gateway()
            await stack.enter_async_context(practice)
            logs.conceal(practice.api_key)
            self._announce(f"practice gateway at {practice.base_url}")
            return GatewayAddress(
                kind="practice",
                api_url=practice.api_url,
                user_hub_url=practice.user_hub_url,
                market_hub_url=practice.market_hub_url,
                username=practice.username,
                api_key=SecretStr(practice.api_key),
            )
        try:
            credentials = self.configuration.credentials(os.environ)
        except SecretUnavailable as error:
            raise CannotStart(EXIT_CREDENTIALS, str(error)) from None
        logs.conceal(credentials.api_key.get_secret_value())
        return GatewayAddress(
            kind="projectx",
            api_url=gateway.api_url,
            user_hub_url=gateway.user_hub_url,
            market_hub_url=gateway.market_hub_url,
            username=credentials.username,
            api_key=credentials.api_key,
        )

    def _build_pipeline(self, state: State, address: GatewayAddress) -> None:
        right_of_way = RightOfWay()
        self.reconciler = Reconciler(
            self.lanes,
            self.clock,
            self._put,
            self._state,
            on_accounts=self._accounts_listed,
        )
        self.enforcer = Enforcer(
            self.lanes,
            self.reconciler,
            self.clock,
            self._put,
            self._position_of,
            run_id=self.run_id,
            is_for_news=self._is_for_news,
        )
        self.contracts = ContractBook(self.lanes, self.clock, self._put)
        self.hubs = HubSupervisor(
            address,
            self.session,
            clock=self.clock,
            put=self._put,
            on_open=lambda hub: self.reconciler.ask() if hub is Hub.USER else None,
            on_unreadable=self.reconciler.ask,
            exposed=lambda: any(is_exposed(a) for a in self._state().accounts.values()),
            right_of_way=right_of_way,
        )
        self.feed = FeedServer(
            feed_source=self._state,
            clock=self.clock,
            data_dir=self.data_dir,
            run_id=self.run_id,
            version=__version__,
            port=self.configuration.settings.feed.port,
            vitals=self._vitals,
            right_of_way=right_of_way,
            read_whole=lambda i: self.reconciler.status(i).last_ok_at is not None,
            admin=AdminChannel(
                AdminDesk(
                    self._take,
                    self._state,
                    self.clock,
                    password=self.password,
                    shut_down=self._shut_down,
                    reload=self.reload,
                    status=lambda: {"status": self.progress.status, "run_id": self.run_id},
                    is_open=lambda: self._is_open,
                    read=self.reconciler.look_again,
                ).handle,
                login_required=lambda: self.password.is_set,
                open_methods=WITHOUT_PASSWORD,
            ),
        )
        self.pipeline = Pipeline(
            state,
            store=self.store,
            enforcer=self.enforcer,
            feed=EnforcementLog(self.feed),
            watch=self._watch,
            read=self.reconciler.look_again,
            right_of_way=right_of_way,
        )
        self.watchdog = Watchdog(
            clock=self.clock,
            put=self._put,
            state=self._state,
            reads=self.reconciler,
            mark_suspect=self.hubs.mark_suspect,
            heartbeat=self.data_dir / HEARTBEAT,
            venue=self.venue,
        )
        self.maintenance = Maintenance(
            self.store,
            self._state,
            self.clock,
            is_running=self.running.is_set,
            prune_more=lambda _: journal.prune(self.place / JOURNAL, self._state().day.date),
        )

    def _put(self, event: AnyEvent) -> None:
        self.pipeline.inbox.put_nowait(event)

    async def _take(self, *events: AnyEvent) -> None:
        await self.pipeline.inbox.take(*events)

    def _state(self) -> State:
        return self.pipeline.state

    def _position_of(self, account_id: int, contract_id: str) -> Position | None:
        account = self._state().accounts.get(account_id)
        return account.positions.get(contract_id) if account is not None else None

    def _is_for_news(self, action: Action) -> bool:
        account = self._state().accounts.get(action.account_id)
        return account is not None and is_for_news(account, action, self.clock.now())

    def _watch(self, contract_ids: frozenset[str]) -> None:
        self.contracts.want(contract_ids)
        self.hubs.watch(contract_ids)

    # --- limits ---

    async def _commit_to_limits(self, before: Commitment | None) -> None:
        """What the files say is in force, but for what they loosen: that waits for the reset."""
        known = before or Commitment(in_force=self.configuration.texts)
        today = known.trading_date(self.clock.now())
        self.commitment = known.after_reading(self.configuration, today)
        if self.commitment != before:
            await self._keep_commitment()
        self.store.now_in_force(self.commitment.text())
        self._tell_what_waits()

    async def _limits_in_force(self, elsewhere: Iterable[str] = ()) -> Commitment | None:
        """Those of the last time; None at the first start, and where nobody can tell them.

        `elsewhere` are those that were in force by the word of another database.
        """
        kept = await self._kept_limits()
        found: Commitment | None = None
        for text in dict.fromkeys((*([] if kept is None else [kept]), *elsewhere)):
            read = self._readable_limits(text)
            if read is None:
                self._limits_in_doubt = True
            elif found is None:
                found = read
            else:
                found = found.beside(read, found.trading_date(self.clock.now()))
        return found

    def _readable_limits(self, text: str) -> Commitment | None:
        try:
            found = Commitment.read(text)
        except (ValueError, KeyError, TypeError) as error:
            log.error("limits_note_unreadable", reason=str(error))
            return None
        if found.is_readable:
            return found
        log.error("limits_unreadable", reason="this version cannot read the limits in force")
        return None

    async def _kept_limits(self) -> str | None:
        """The limits last in force. Another hand may have written what a database says of them."""
        noted, beside = await self.store.note(LIMITS_NOTE), self._limits_beside_the_database()
        for kept in (noted, beside):
            if kept and self.store.is_as_sealed(LIMITS_NOTE, kept):
                return kept
        if self.store.needs_reconciling and not self.store.is_as_sealed(LIMITS_NOTE, noted):
            self._limits_in_doubt = True
        return noted or beside

    def _limits_beside_the_database(self) -> str | None:
        """A deleted database must not make a loosened file count at once, nor another gateway."""
        for folder in (self.place, self.data_dir) if self._is_elsewhere else (self.place,):
            try:
                return (folder / LIMITS_FILE).read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("limits_file_unreadable", reason=str(error))
        return None

    async def _keep_commitment(self) -> None:
        await self.store.put_note(LIMITS_NOTE, self.commitment.text())
        try:
            (self.place / LIMITS_FILE).write_text(self.commitment.text(), encoding="utf-8")
        except OSError as error:
            log.warning("limits_file_unwritable", reason=str(error))
        await self.store.audit(
            "daemon",
            "limits.changed",
            "configuration",
            new={
                "digest": self.configuration.digest,
                "waiting_since": str(self.commitment.since) if self.commitment.since else None,
            },
        )

    def _tell_what_waits(self) -> None:
        if self.commitment.waiting is not None:
            names = ", ".join(self.commitment.kept_today(self.configuration))
            self._announce(
                "the limits were edited: until the next reset the older ones hold as well, where "
                f"they are tighter ({names})"
                if names
                else "the limits were edited: part of that counts from the next reset"
            )
            log.warning("limits_wait_for_the_reset", rules=names)

    async def _adopt_what_waited(self) -> None:
        since = self.commitment.since
        today = self._state().day.date
        if self.commitment.waiting is None or since is None or today <= since:
            return
        # As they were read, not as the files are by now: those may be edited, locked or broken.
        self.commitment = self.commitment.after_reading(self.configuration, today)
        await self._keep_commitment()
        self.store.now_in_force(self.commitment.text())
        self._put_rulebook()
        log.info("limits_in_force", digest=self.configuration.digest)

    def _put_rulebook(self) -> None:
        book = self.commitment.rulebook(self.configuration, self._unlisted)
        self._put(RulebookReplaced(at=self.clock.now(), rulebook=book))

    async def reload(self) -> dict[str, Any]:
        """Read the files again. Raises ConfigurationErrors or AdminError, changing nothing."""
        if not self._is_open:
            # Which day it is, and so what may be loosened, is not known before.
            raise AdminError(
                "starting", "the daemon is still logging in to the gateway; try again once it has"
            )
        before = self.configuration
        self.configuration = await asyncio.to_thread(load, before.folder)
        await self._commit_to_limits(self.commitment)
        self._put_rulebook()
        in_force = self.commitment.rulebook(self.configuration)
        edited = changes(self._started_with, before, self.configuration, in_force)
        for change in edited:
            log.info("configuration_edited", **change.plain())
        waits = self.commitment.waiting is not None
        return {
            "digest": self.configuration.digest,
            "waits_for_reset": list(self.commitment.kept_today(self.configuration)),
            "next_reset": self._state().day.ends_at.isoformat() if waits else None,
            "changes": [change.plain() for change in edited],
        }

    # --- starting ---

    async def _log_in(self) -> None:
        try:
            await self._insist(self.session.log_in)
            await self._agree_on_the_time()
            listed = await self._insist(self._accounts_of_the_login)
        except CredentialsRefused as refused:
            raise CannotStart(EXIT_CREDENTIALS, str(refused)) from None
        await self._open_accounts({a.id: a for a in listed})

    async def _agree_on_the_time(self) -> None:
        """Before anything is judged: where the machine's clock is off, the gateway's counts."""
        if self.venue is None or not isinstance(self.clock, SystemClock):
            return
        with contextlib.suppress(StoreError):
            at, day = await self.store.last_judged()
            limits = await self._limits_in_force()
            began = limits.day_began(day) if limits is not None and day is not None else None
            # A machine's clock turned back makes no patience longer, and no day begin twice.
            for judged_at in filter(None, (at, began)):
                self.clock.correct(judged_at)
        moved = await self.venue.agree(self._ask_the_time)
        if moved is not None:
            seconds = moved.total_seconds()
            off = self.clock.drift().total_seconds()
            self._announce(f"this machine's clock is {off:+.0f} s off; the gateway's counts")
            await self.store.audit("daemon", "clock.corrected", "daemon", new={"by_s": seconds})
        elif self.venue.lead:
            seconds = self.venue.lead.total_seconds()
            self._announce(
                f"the gateway's time is {seconds:.0f} s later than this machine's clock; the "
                "earlier of the two counts"
            )
            await self.store.audit("daemon", "clock.differs", "daemon", new={"by_s": seconds})

    def _lead(self) -> timedelta:
        return self.venue.lead if self.venue is not None else timedelta(0)

    async def _ask_the_time(self) -> bool:
        return (await self.lanes.read("/Account/search", {"onlyActiveAccounts": True})).ok

    def _hold_the_accounts(self, account_ids: set[int]) -> None:
        """Those that accounts.yaml names are held already, where `run` could know the gateway."""
        unusable = self._claims.hold_the_accounts(
            self.session.address.api_url, account_ids, self.configuration.label_of
        )
        for name, reason in unusable.items():
            log.warning("account_lock_unavailable", path=name, reason=reason)

    async def _heed_the_witnesses(self, account_ids: set[int]) -> list[str]:
        """The limits of these accounts by another database's word; its locks are in force then."""
        if self._witnesses is None:
            address = self.session.address
            if address.kind == "practice":
                return []  # never comes back by this name
            self._witnesses = Witnesses(accounts_folder(), gateway_name(address.api_url))
        try:
            return await self.store.heed(self._witnesses, account_ids)
        except StoreError as error:
            raise CannotStart(EXIT_DATABASE, str(error)) from None

    async def _answer_for_what_is_lost(self, account_ids: list[int]) -> None:
        """What was in force is not known any more: locked until the reset, or else an alarm."""
        now = self.clock.now()
        if self.store.needs_reconciling:
            why = self.store.opened_why
            self._announce(f"warning: {why}")
            doubt = HealthIssueChanged(at=now, doubt=IssueKind.DATABASE_LOST, reason=why)
            await self.pipeline.process(doubt)
        if self._limits_in_doubt:
            reason = "nobody can tell which limits were in force; locked until the reset"
            self._announce(f"warning: {reason}")
        elif not self.store.had_locks:
            return
        elif self.store.opened_as is OpenedAs.EDITED:
            reason = "the database was edited behind the daemon's back; locked until the reset"
        else:
            reason = (
                "the database was lost while locks were in force; locked until the reset, as "
                "nobody can tell which"
            )
        for account_id in account_ids:
            await self._lock_for_the_day(account_id, "lost_database", reason)

    async def _answer_for_a_day_that_turned_early(self, account_id: int, at: datetime) -> None:
        """Limits that waited, and what rules remembered of the day, may have gone by it."""
        wall = self.clock.now()
        if isinstance(self.clock, SystemClock):
            wall += self.clock.drift()
        if at - wall <= CLOCK_IS_WRONG:
            return  # this machine says that the instant has come: told, but no proof
        reason = (
            f"the trading day was turned at {at:%Y-%m-%d %H:%M} UTC, which has not come: the "
            "clocks of the gateway and of this machine were ahead; locked until the reset"
        )
        self._announce(f"warning: account {account_id}: {reason}")
        await self._lock_for_the_day(account_id, "clock_ahead", reason)

    async def _lock_for_the_day(self, account_id: int, rule_id: str, reason: str) -> None:
        await self.pipeline.process(
            AdminAsked(
                at=self.clock.now(),
                account_id=account_id,
                verb="lock_day",
                rule_id=rule_id,
                actor="daemon",
                reason=reason,
            )
        )

    async def _reconciled(self) -> None:
        """Every account has been read whole from the broker: say what we slept through."""
        if self.store.needs_reconciling and await self.store.reconciled():
            self._put(HealthIssueChanged(at=self.clock.now(), doubt=IssueKind.DATABASE_LOST))
        began_at = self.store.last_clean_stop or self._last_alive_at
        if began_at is None:
            return
        gap = Gap(
            began_at=began_at,
            ended_at=self.clock.now(),
            clean=self.store.last_clean_stop is not None,
        )
        for account_id in sorted(self._watched):
            traded = gap.traded(self._state().accounts[account_id].ledger)
            await self.store.audit("daemon", "was_down", f"account:{account_id}", new=traded)
            log.info("was_down", account=account_id, **traded)
        if gap.began_at < gap.ended_at:
            resumed = GuardResumed(at=gap.ended_at, since=gap.began_at, clean=gap.clean)
            await self._take(resumed)

    async def _accounts_of_the_login(self) -> tuple[AccountRecord, ...]:
        wanted = [a.id for a in self.configuration.accounts.enabled]
        return await self.session.accounts(also=wanted)

    async def _insist[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the gateway until it answers: a network that is down does not end a guard."""
        attempt = 0
        while True:
            try:
                return await ask()
            except GatewayUnavailable as trouble:
                pause = _pause(attempt)
                attempt += 1
                self._set_status("STARTING", f"{trouble}; trying again")
                self._announce(f"{trouble}; trying again in {pause:.0f} s")
                await asyncio.sleep(pause)

    async def _open_accounts(self, listed: dict[int, AccountRecord]) -> None:
        """Begin to watch: the accounts of accounts.yaml, and the others as it says."""
        wanted = {a.id for a in self.configuration.accounts.enabled}
        self._missing = wanted - listed.keys()
        if self._missing == wanted:
            known = ", ".join(f"{a.id} ({a.name})" for a in listed.values()) or "none"
            names = ", ".join(str(i) for i in sorted(wanted))
            raise CannotStart(
                EXIT_CONFIGURATION,
                f"accounts.yaml: accounts: none of these is in this login: {names}; "
                f"it has: {known}",
            )
        for account_id in sorted(self._missing):
            self._announce(f"CRITICAL: {missing_from_login(account_id)}")
        self.reconciler.expect_absent(self._missing)
        unlisted = {i for i in listed if self.configuration.accounts.find(i) is None} - wanted
        self._unlisted = frozenset(unlisted)
        if self.configuration.accounts.unlisted == "enforce":
            wanted |= unlisted
        # Before anything is read of them: another daemon may be guarding them just now.
        self._hold_the_accounts(wanted)
        elsewhere = await self._heed_the_witnesses(wanted)
        # Only now: the date it goes by is the gateway's.
        await self._commit_to_limits(await self._limits_in_force(elsewhere))
        book = self.commitment.rulebook(self.configuration, self._unlisted)
        # An account taken out of the file stays guarded until the reset, like any loosened limit.
        watched = wanted | (book.accounts.keys() & listed.keys())
        self._watched = watched
        self._hold_the_accounts(watched)
        await self._heed_the_witnesses(watched - wanted)
        now = self.clock.now()
        # An address of the trader's own may lead to the same accounts.
        also = place.locks_of(self.data_dir) if self._is_elsewhere else []
        undone = await self.store.take_back(now, self.commitment.trading_date(now), also)
        self.pipeline.state = await self.store.restore(book, now, only=watched)
        dated_ahead = {
            a.id for a in self._state().accounts.values() if a.trading_date > self._state().day.date
        }
        doubt = self.watchdog.first_doubt_of_time()
        if doubt is not None:
            await self.pipeline.process(doubt)
        await self._tell_of_the_gateway()
        for account_id in sorted(watched):
            await self.pipeline.process(
                AccountOpened(
                    at=now,
                    account_id=account_id,
                    name=self.configuration.label_of(account_id),
                )
            )
        # Not before they are opened: until then what is remembered would be judged.
        await self.pipeline.process(Tick(at=now, lead=self._lead()))
        for account_id in sorted(dated_ahead & undone.turned_at.keys()):
            await self._answer_for_a_day_that_turned_early(account_id, undone.turned_at[account_id])
        if self.store.needs_reconciling or self._limits_in_doubt:
            await self._answer_for_what_is_lost(sorted(watched))
        self._accounts_listed(tuple(listed.values()))
        self.hubs.follow(watched - self._missing)
        self._is_open = True
        # Only now is it known whether the reset a changed file waits for has come.
        try:
            await self.password.load()
        except (StoreError, OSError) as error:
            log.error("password_unreadable", reason=str(error))

    def _start_tasks(self, group: asyncio.TaskGroup) -> None:
        for name, work in (
            ("pipeline", self.pipeline.run()),
            ("session", self.session.run()),
            ("hubs", self.hubs.run()),
            ("reconciler", self._read_accounts()),
            ("ticker", tick(self.clock, self._put, self._lead)),
            ("status", self._watch_status()),
            ("watchdog", self.watchdog.run()),
            ("maintenance", self.maintenance.run()),
            ("audit of calls", self.calls.run()),
        ):
            self._tasks.append(group.create_task(work, name=name))
        self._watch(frozenset(self._state().roots))

    async def _arm(self) -> None:
        """RUNNING once every account has been read from the broker.

        Of many accounts the positions and orders are read first: each is guarded from then on. What
        has been done since midnight is known later, and said to be missing until then.
        """
        self.reconciler.ask()
        wanted = reading_time(len(self._watched - self._missing))
        if not wanted.is_at_once:
            self._announce(
                f"{len(self._watched)} accounts are read one after the other, each is guarded as "
                f"it is read: {wanted}"
            )
        async for _ in self._changes():
            if not (waiting := self._unread()):
                break
            if self.reconciler.owed():
                self._set_status("STARTING", self._what_waits(len(waiting)))
        is_whole = not self.reconciler.owed()
        if is_whole:
            await self._reconciled()
        gc.collect()
        gc.freeze()  # a full collection over everything imported costs 12 ms
        self._set_status("RUNNING")
        self.running.set()
        guarded = sorted(self._watched - self._missing)
        names = ", ".join(self.configuration.label_of(i) for i in guarded)
        self._announce(f"RUNNING: guarding {names}")
        if not is_whole:
            await self._read_whole()

    def _unread(self) -> list[int]:
        """Those of the accounts of the login that nobody has seen yet."""
        found = []
        for account_id in self._watched - self._missing:
            status = self.reconciler.status(account_id)
            waits_for_trades = status.is_seen and Part.TRADES in status.owes
            if status.last_ok_at is None and not waits_for_trades:
                found.append(account_id)
        return found

    async def _read_whole(self) -> None:
        async for _ in self._changes():
            if not self.reconciler.owed():
                break
        await self._reconciled()
        self._announce("today's trades of all accounts are known")

    async def _read_accounts(self) -> None:
        """Of few accounts at once. Many are read once only: when the stream is there to tell what
        comes after it, or after a moment without it."""
        if not reading_time(len(self._watched)).is_at_once:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_FIRST_S):
                    await self._stream_is_up()
        await self.reconciler.run()

    async def _stream_is_up(self) -> None:
        async for state in self._changes():
            user = state.hubs.get(Hub.USER)
            if user is not None and user.state is HubState.UP:
                return

    def _what_waits(self, unread: int) -> str:
        """What is not known yet of how many accounts, and for how long."""
        owed = self.reconciler.owed()
        number, what = next(
            (n, words)
            for part, words in (
                (Part.POSITIONS, "positions"),
                (Part.ORDERS, "working orders"),
                (Part.TRADES, "today's trades"),
                (Part.ACCOUNT, "balances"),
            )
            if (n := owed[part])
        )
        left = sum(n for part, n in owed.items() if part is not Part.ACCOUNT)
        exposed = any(is_exposed(a) for a in self._state().accounts.values())
        within = in_minutes(time_for(left, self.lanes.reads_left, is_exposed=exposed))
        guarded = f"; {unread} of {len(self._watched)} accounts are not guarded yet" * bool(unread)
        return f"{what} of {number} accounts wait to be read, all within {within}{guarded}"

    async def _changes(self) -> AsyncIterator[State]:
        while True:
            yield self._state()
            await asyncio.sleep(0.02)

    # --- status ---

    async def _watch_status(self) -> None:
        """RUNNING or DEGRADED, as the parts say, looked at each second."""
        while True:
            await asyncio.sleep(1.0)
            await self._adopt_what_waited()
            self._follow_those_found()
            if self.running.is_set():
                troubles = self._troubles()
                if sum(self.reconciler.owed().values()) > FEW_ACCOUNTS:
                    troubles.append(self._what_waits(0))
                self._set_status("DEGRADED" if troubles else "RUNNING", "; ".join(troubles))

    def _troubles(self) -> list[str]:
        found = [
            f"{hub} stream {status.state}" + (f" ({status.reason})" if status.reason else "")
            for hub, status in self._state().hubs.items()
            if status.state is not HubState.UP
        ]
        found += [
            doubt.reason
            for doubt in self._state().doubts.values()
            if doubt.stands and doubt.kind not in TOLD_OTHERWISE
        ]
        if self.store.trouble:
            found.append(f"database: {self.store.trouble}")
        if self.session.trouble:
            found.append(f"login: {self.session.trouble}")
        for account_id in self._state().accounts:
            status = self.reconciler.status(account_id)
            if status.failing_since is not None and not status.is_absent:
                found.append(f"account {account_id} cannot be read: {status.reason}")
        return found

    def _set_status(self, status: str, message: str = "") -> None:
        if (status, message) == (self.progress.status, self.progress.message):
            return
        self.progress.status, self.progress.message = status, message
        log.info("status", status=status, message=message)
        self.feed.set_status(status, message)
        self._write_daemon_file()

    def _vitals(self) -> Vitals:
        statuses = [self.reconciler.status(a) for a in self._state().accounts]
        failing = next(
            (s for s in statuses if s.failing_since is not None and not s.is_absent), None
        )
        ages = {str(hub): age for hub in Hub if (age := self.hubs.last_frame_age(hub)) is not None}
        return Vitals(
            rest=RestRow(ok=failing is None, message=failing.reason if failing else ""),
            db=DatabaseRow(ok=not self.store.trouble, message=self.store.trouble or ""),
            token_expires_at=self.session.token_expires_at,
            hub_message_age_s=ages,
        )

    def _say_stopped(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The last word in daemon.json. After a crash it keeps the one before."""
        if exc is None or isinstance(_innermost(exc), CannotStart):
            self._write_daemon_file(status="STOPPED")

    def _write_daemon_file(self, status: str | None = None) -> None:
        feed = getattr(self, "feed", None)
        content = {
            "pid": os.getpid(),
            "run_id": self.run_id,
            "version": __version__,
            "feed_url": feed.url if feed is not None else None,
            "status": status or self.progress.status,
            "database": (self.place / place.DATABASE).relative_to(self.data_dir).as_posix(),
        }
        path = self.data_dir / "daemon.json"
        fresh = path.with_suffix(".json.new")
        try:
            fresh.write_text(json.dumps(content), encoding="utf-8")
            fresh.replace(path)
        except OSError as error:
            log.warning("daemon_file_unwritable", reason=str(error))

    def _accounts_listed(self, records: tuple[AccountRecord, ...]) -> None:
        """Tell of, or guard, what nobody has listed: a reset gives an account a new number."""
        accounts, known = self.configuration.accounts, self._watched | self._unguarded
        for record in records:
            if accounts.find(record.id) is not None or record.id in known:
                continue
            if accounts.unlisted == "enforce":
                self._guard_too(record)
            elif accounts.unlisted == "alarm":
                self._leave_unguarded(record, "is not in accounts.yaml")

    def _leave_unguarded(self, record: AccountRecord, why: str) -> None:
        self._unguarded.add(record.id)
        reason = f"account {record.id} ({record.name}) {why}: it is NOT guarded"
        self._announce(reason)
        log.warning("account_not_guarded", account=record.id)
        self._put(
            HealthIssueChanged(
                at=self.clock.now(),
                doubt=IssueKind.ACCOUNT_NOT_GUARDED,
                account_id=record.id,
                reason=reason,
            )
        )

    def _guard_too(self, record: AccountRecord) -> None:
        """An account that has come into the login since the start, under everybody's rules."""
        try:
            self._hold_the_accounts({record.id})
        except CannotStart:
            self._leave_unguarded(record, "belongs to another daemon on this machine")
            return
        self._watched.add(record.id)
        self._unlisted |= {record.id}
        self._put_rulebook()
        self._put(AccountOpened(at=self.clock.now(), account_id=record.id, name=record.name))
        self.hubs.follow(self._watched - self._missing)
        self._announce(f"guarding {record.id} ({record.name}), which is new in this login")

    def _follow_those_found(self) -> None:
        """An account that was missing at the start has been read: its stream is wanted, too."""
        found = {i for i in self._missing if self.reconciler.status(i).last_ok_at is not None}
        if not found:
            return
        self._missing -= found
        self.hubs.follow(self._watched - self._missing)
        for account_id in sorted(found):
            self.reconciler.ask(account_id)  # what the stream told meanwhile, nobody heard
            self._announce(f"account {account_id} is in the login again: guarded")

    def _note_call(self, call: Call) -> None:
        if call.lane is not Lane.FAST:
            return
        self.calls.note(call)
        api_log.info(
            "call",
            path=call.path,
            body=dict(call.body),
            answer=str(call.answer),
            code=call.code,
            message=call.message,
            took_ms=round(call.took_ms, 1),
            late=call.late,
        )

    # --- stopping ---

    async def _stop(self) -> None:
        self._announce("stopping")
        self._set_status("STOPPING")
        await self.enforcer.drain(DRAIN_LIMIT_S)
        await self.pipeline.inbox.join()
        for task in self._tasks:
            task.cancel()


def _pause(attempt: int) -> float:
    return LOGIN_PAUSES_S[min(attempt, len(LOGIN_PAUSES_S) - 1)]


def _innermost(error: BaseException) -> BaseException:
    """What really happened: the first exception inside, not the group around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _ignore(_: str) -> None:
    """A clock of the caller's own follows nobody."""


def _tell_trouble(trouble: str | None) -> None:
    if trouble is None:
        log.info("database_writes_again")
    else:
        log.critical("database_trouble", reason=trouble)


@contextlib.contextmanager
def _exit_hard_after(seconds: float) -> Iterator[None]:
    """What has not closed by then never will; the service wrapper starts us again."""
    timer = threading.Timer(seconds, os._exit, (EXIT_INTERNAL,))
    timer.name, timer.daemon = "stop limit", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
