"""The composition root: builds every part and gives each its dependencies."""

import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr

from risk_manager import __version__
from risk_manager.admin.alert_verbs import AlertVerbs
from risk_manager.admin.file_verbs import FileVerbs
from risk_manager.admin.key_age import note_key
from risk_manager.admin.password import AdminPassword
from risk_manager.admin.second_passphrase import SecondPassphrase
from risk_manager.admin.second_verbs import SecondVerbs
from risk_manager.admin.verbs import WITHOUT_PASSWORD, AdminDesk
from risk_manager.broker.contracts import ContractBook
from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.hubs.supervisor import HubSupervisor
from risk_manager.broker.lanes import Call, Lanes
from risk_manager.broker.reading.pacing import is_exposed
from risk_manager.broker.reading.reconciler import Reconciler
from risk_manager.broker.request_budget import Limits
from risk_manager.broker.session import GatewayAddress, GatewaySession
from risk_manager.broker.single_requests import Lane, SessionGateway
from risk_manager.clock import Clock, SystemClock, VenueTime
from risk_manager.daemon.day_curves import FILE as DAY_CURVES
from risk_manager.daemon.day_curves import DayCurves
from risk_manager.daemon.earlier_runs import read_earlier_runs
from risk_manager.daemon.enforcement_log import EnforcementLog
from risk_manager.daemon.feed_history import FeedHistory
from risk_manager.daemon.maintenance import CallAudit, Maintenance
from risk_manager.daemon.outside import Outside, outside
from risk_manager.daemon.running_verbs import RunningVerbs
from risk_manager.daemon.slow_actions import log_call, warn_if_slow
from risk_manager.daemon.time_clock import StoredTimeClock
from risk_manager.daemon.watchdog import Watchdog
from risk_manager.domain.decisions import Action
from risk_manager.domain.events import AnyEvent, Hub
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.state import State
from risk_manager.engine.disputes import is_for_news
from risk_manager.feed.admin import AdminChannel
from risk_manager.feed.day_curve import DayCurve
from risk_manager.feed.messages import LastDrill, Vitals, Waiting
from risk_manager.feed.outlook import OutlookBook
from risk_manager.feed.server import FeedServer
from risk_manager.instance_lock import EXIT_DATABASE, CannotStart
from risk_manager.metrics.sources import Sources
from risk_manager.pipeline import Pipeline
from risk_manager.redaction import conceal
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.store import journal
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

if TYPE_CHECKING:
    from risk_manager.practice.gateway import PracticeGateway

from risk_manager.daemon.data_place import Announce, DataPlace
from risk_manager.daemon.exits import EXIT_CREDENTIALS

log = structlog.get_logger("risk_manager.daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Callbacks to the daemon, which exists before the parts and outlives them.

    `is_open`: the accounts are watched, under limits that are known.
    """

    on_accounts: Callable[[tuple[AccountRecord, ...]], None]
    vitals: Callable[[], Vitals]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    preview: Callable[[], Awaitable[dict[str, Any]]]
    config: Path
    log_level: Callable[[str], None]
    shut_down: Callable[[], None]
    status: Callable[[], dict[str, Any]]
    waiting: Callable[[], Waiting | None]
    drill: Callable[[], LastDrill | None]
    is_open: Callable[[], bool]
    is_running: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Every part of a running daemon."""

    clock: Clock
    venue: VenueTime | None
    store: Store
    password: AdminPassword
    second: SecondPassphrase
    session: GatewaySession
    calls: CallAudit
    lanes: Lanes
    reconciler: Reconciler
    enforcer: Enforcer
    contracts: ContractBook
    hubs: HubSupervisor
    feed: FeedServer
    day_curves: DayCurves
    pipeline: Pipeline
    watchdog: Watchdog
    maintenance: Maintenance
    outside: Outside

    @property
    def state(self) -> State:
        return self.pipeline.state

    def put(self, event: AnyEvent) -> None:
        """Enqueue a fact."""
        self.pipeline.inbox.put_nowait(event)

    async def take(self, *events: AnyEvent) -> None:
        """Enqueue facts, and return once the last one has been judged and stored."""
        await self.pipeline.inbox.take(*events)

    def lead(self) -> timedelta:
        """Return how far the gateway's clock is ahead of ours."""
        return self.venue.lead if self.venue is not None else timedelta(0)


async def assemble(
    stack: contextlib.AsyncExitStack,
    configuration: Configuration,
    where: DataPlace,
    wishes: Wishes,
    *,
    clock: Clock,
    run_id: str,
    announce: Announce,
    limits: Limits | None = None,
    practice: "PracticeGateway | None" = None,
) -> Parts:
    """Build the parts on the stored state. `stack` closes what is opened. Raises CannotStart."""
    venue = VenueTime(clock) if isinstance(clock, SystemClock) else None
    store = await _open_store(stack, where, clock)
    try:
        await store.belongs_to(where.gateway)
        restored = await store.restore(configuration.rulebook(), clock.now())
    except StoreError as error:
        raise CannotStart(EXIT_DATABASE, str(error)) from None
    earlier = await read_earlier_runs(store, restored, clock.now())
    await _keep_journal(store, where)

    def state() -> State:
        return pipeline.state

    def put(event: AnyEvent) -> None:
        pipeline.inbox.put_nowait(event)

    def settle(event: AnyEvent) -> None:
        warn_if_slow(event)
        put(event)

    def trading_date() -> date | None:
        return state().day.date if wishes.is_open() else None

    password = AdminPassword(store, where.data_dir, clock, trading_date)
    second = SecondPassphrase(store, where.data_dir, clock, trading_date)
    try:
        await password.load()
        await second.load()
    except (StoreError, OSError) as error:
        raise CannotStart(EXIT_DATABASE, f"a password hash cannot be read: {error}") from None
    address = await _address(stack, configuration, practice, where, announce)
    session = await stack.enter_async_context(GatewaySession(address, clock=clock))
    stack.push_async_exit(_log_out_after_a_stop(session))
    calls = CallAudit(store)
    stack.push_async_callback(calls.write)
    gateway = SessionGateway(session, on_date=venue.note if venue else _ignore)
    right_of_way = RightOfWay()
    lanes = await stack.enter_async_context(
        Lanes(
            gateway,
            clock,
            limits=limits,
            on_call=partial(_note_call, calls),
            right_of_way=right_of_way,
        )
    )
    lanes.take_up(clock.now() - at for a in restored.accounts.values() for at in a.brake.calls)
    reconciler = Reconciler(lanes, clock, put, state, on_accounts=wishes.on_accounts)
    enforcer = Enforcer(
        lanes,
        reconciler,
        clock,
        settle,
        lambda account_id: state().accounts.get(account_id),
        run_id=run_id,
        is_for_news=lambda action: _is_for_news(state(), action, clock.now()),
    )
    contracts = ContractBook(lanes, clock, put)
    hubs = HubSupervisor(
        address,
        session,
        clock=clock,
        put=put,
        on_open=lambda hub: reconciler.ask() if hub is Hub.USER else None,
        on_unreadable=reconciler.ask,
        exposed=lambda: any(is_exposed(a) for a in state().accounts.values()),
        right_of_way=right_of_way,
    )

    told = outside(
        configuration,
        where.data_dir,
        clock=clock,
        sources=Sources(
            state=state,
            status=lambda: wishes.status()["status"],
            inbox=lambda: len(pipeline.inbox),
            reads_left=lambda: lanes.reads_left,
            looks_left=lambda: lanes.looks_left,
            hub_ages_s=lambda: {str(hub): hubs.last_frame_age(hub) for hub in Hub},
            database_ok=lambda: not store.trouble,
            token_expires_at=lambda: session.token_expires_at,
        ),
        put=put,
        is_running=wishes.is_running,
        announce=announce,
        right_of_way=right_of_way,
    )

    async def take(*events: AnyEvent) -> None:
        await pipeline.inbox.take(*events)

    desk = AdminDesk(
        take,
        state,
        clock,
        password=password,
        second=second,
        shut_down=wishes.shut_down,
        reload=wishes.reload,
        status=wishes.status,
        is_open=wishes.is_open,
        read=reconciler.look_again,
        more={
            **FileVerbs(wishes.preview, wishes.config).verbs(),
            **SecondVerbs(second, state).verbs(),
            **RunningVerbs(
                hubs, session, store, clock, state, take, set_log_level=wishes.log_level
            ).verbs(),
        },
        alerts=None if told.alerting is None else AlertVerbs(told.alerting, store),
    )

    def read_whole(account_id: int) -> bool:
        return reconciler.status(account_id).last_ok_at is not None

    async def complete_summary(account_id: int, curve: DayCurve) -> None:
        await store.side_records.note_open_extremes(
            account_id, curve.trading_date, curve.open_low, curve.open_high
        )

    day_curves = DayCurves(
        where.folder / DAY_CURVES,
        state,
        read_whole=read_whole,
        right_of_way=right_of_way,
        on_day_over=complete_summary,
    )
    day_curves.load()
    stack.push_async_callback(day_curves.save)
    time_clock = StoredTimeClock(store, clock)
    await time_clock.load()
    feed = FeedServer(
        feed_source=state,
        clock=clock,
        data_dir=where.data_dir,
        run_id=run_id,
        version=__version__,
        port=configuration.settings.feed.port,
        vitals=wishes.vitals,
        enforcements=earlier.enforcements,
        alarms=earlier.alarms,
        right_of_way=right_of_way,
        read_whole=read_whole,
        history=FeedHistory(where.database, state, day_curves),
        time_clock=time_clock,
        outlooks=OutlookBook(wishes.waiting, wishes.drill),
        admin=AdminChannel(
            desk.handle,
            login_required=lambda: password.is_set,
            open_methods=WITHOUT_PASSWORD,
        ),
    )

    pipeline = Pipeline(
        restored,
        store=store,
        enforcer=enforcer,
        feed=told.listening(EnforcementLog(feed)),
        watch=partial(watch, contracts, hubs),
        read=reconciler.look_again,
        right_of_way=right_of_way,
    )
    watchdog = Watchdog(
        clock=clock,
        put=put,
        state=state,
        reads=reconciler,
        mark_suspect=hubs.mark_suspect,
        heartbeat=where.heartbeat,
        venue=venue,
        after_cycle=told.after_cycle,
    )
    maintenance = Maintenance(
        store,
        state,
        clock,
        is_running=wishes.is_running,
        prune_more=lambda _: journal.prune(where.journal, state().day.date),
    )
    return Parts(
        clock=clock,
        venue=venue,
        store=store,
        password=password,
        second=second,
        session=session,
        calls=calls,
        lanes=lanes,
        reconciler=reconciler,
        enforcer=enforcer,
        contracts=contracts,
        hubs=hubs,
        feed=feed,
        day_curves=day_curves,
        pipeline=pipeline,
        watchdog=watchdog,
        maintenance=maintenance,
        outside=told,
    )


def _log_out_after_a_stop(session: GatewaySession) -> Callable[..., Awaitable[None]]:
    """Return the end of a session: a logout, but not after a crash, which is restarted at once.

    It runs when everything that sends requests has been closed.
    """

    async def end(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await session.log_out()

    return end


def watch(contracts: ContractBook, hubs: HubSupervisor, contract_ids: frozenset[str]) -> None:
    """Request the records and the quotes of these contracts."""
    contracts.want(contract_ids)
    hubs.watch(contract_ids)


async def _open_store(stack: contextlib.AsyncExitStack, where: DataPlace, clock: Clock) -> Store:
    try:
        return await stack.enter_async_context(
            Store.open(where.database, clock, on_trouble=_log_trouble)
        )
    except StoreError as error:
        raise CannotStart(EXIT_DATABASE, str(error)) from None


async def _keep_journal(store: Store, where: DataPlace) -> None:
    try:
        await store.keep_journal(where.journal, __version__)
    except (StoreError, OSError) as error:
        # Enforcement does not need the journal.
        log.error("journal_unavailable", reason=str(error))


async def _address(
    stack: contextlib.AsyncExitStack,
    configuration: Configuration,
    given: "PracticeGateway | None",
    where: DataPlace,
    announce: Announce,
) -> GatewayAddress:
    gateway = configuration.settings.gateway
    if gateway.kind == "practice":
        # Imported only here, so that a daemon for a real account does not load the practice code.
        from risk_manager.practice.assembly import practice_gateway

        practice = given or practice_gateway()
        await stack.enter_async_context(practice)
        conceal(practice.api_key)
        announce(f"practice gateway at {practice.base_url}")
        return GatewayAddress(
            kind="practice",
            api_url=practice.api_url,
            user_hub_url=practice.user_hub_url,
            market_hub_url=practice.market_hub_url,
            username=practice.username,
            api_key=SecretStr(practice.api_key),
        )
    try:
        credentials = configuration.credentials(os.environ)
    except SecretUnavailable as error:
        raise CannotStart(EXIT_CREDENTIALS, str(error)) from None
    conceal(credentials.api_key.get_secret_value())
    _note_the_key(configuration, credentials.api_key, where, announce)
    return GatewayAddress(
        kind="projectx",
        api_url=gateway.api_url,
        user_hub_url=gateway.user_hub_url,
        market_hub_url=gateway.market_hub_url,
        username=credentials.username,
        api_key=credentials.api_key,
    )


def _note_the_key(
    configuration: Configuration, key: SecretStr, where: DataPlace, announce: Announce
) -> None:
    """Note since when this key has been in use, and say so once it should be renewed."""
    reference, now = configuration.settings.gateway.api_key, datetime.now(UTC)
    try:
        age = note_key(where.data_dir, reference, key, configuration.folder, now)
    except OSError as error:
        log.warning("key_age_unwritable", reason=error.strerror)
        return
    if (reminder := age.reminder(now)) is not None:
        announce(f"warning: {reminder}")
        log.warning("key_is_old", days=age.days(now))


def _is_for_news(state: State, action: Action, now: datetime) -> bool:
    account = state.accounts.get(action.account_id)
    return account is not None and is_for_news(account, action, now)


def _note_call(calls: CallAudit, call: Call) -> None:
    if call.lane is not Lane.FAST:
        return
    calls.note(call)
    log_call(call)


def _ignore(_: str) -> None:
    """Ignore the gateway's time, where the caller gave a clock of its own."""


def _log_trouble(trouble: str | None) -> None:
    if trouble is None:
        log.info("database_writes_again")
    else:
        log.critical("database_trouble", reason=trouble)
