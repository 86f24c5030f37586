"""Keeping the user hub and the market hub alive for ever, and saying at once when one is not.

The SDK's realtime client is used as a transport only. Its own recovery ends in dead hubs whose
flags say connected, so on any doubt a client is thrown away and a new one built. Each hub has a
client of its own (one socket each, as many as one client would open): neither can blind the other.
"""

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from project_x_py.realtime import ProjectXRealtimeClient
from pysignalr.exceptions import AuthorizationError, ServerError
from pysignalr.exceptions import ConnectionError as HubRefusedError
from pysignalr.messages import CloseMessage

from risk_manager.broker.normalize import MOST_RECORDS, USER_TARGETS, Read, read_quote
from risk_manager.broker.sdk_logging import quieten_sdk_logging
from risk_manager.broker.session import (
    CredentialsRefused,
    GatewayAddress,
    GatewayUnavailable,
    Login,
)
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, Hub, HubChanged, HubState, Unreadable
from risk_manager.right_of_way import RightOfWay

quieten_sdk_logging()

log = logging.getLogger(__name__)

NEVER_STALE = 1e9
LOGOUT = "GatewayLogout"
UNASKED_MARKET_TARGETS = ("GatewayTrade", "GatewayDepth")
LONGEST_REASON = 200
QUOTES_PER_TURN = 16

type Handler = Callable[..., Awaitable[None]]
type BuildRealtime = Callable[[GatewayAddress, str], ProjectXRealtimeClient]
type Call = tuple[str, tuple[int | str, ...]]
"""A hub method and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTimings:
    """All in seconds.

    A silent hub is probed after `probe_after` while an account is exposed, and after
    `probe_after_idle` otherwise. It must answer within `answer`. A server that never acknowledged
    an invocation is not probed; for it only `silent` counts (no frame at all, pings included). With
    exposure, silence is noticed within probe_after + answer + 2 check = 4.5 s. Once a server has
    acknowledged an invocation, a new link counts as up only after an answer on it, within `answer`.
    """

    check: float = 0.5
    open: float = 8.0
    acknowledge: float = 1.0
    probe_after: float = 1.5
    probe_after_idle: float = 10.0
    answer: float = 2.0
    silent: float = 35.0
    retries: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    jitter: float = 0.2
    ask_again: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0, 60.0)
    """The pauses before a refused subscription is asked for again."""
    steady: float = 30.0
    """After a hub was up for this long, `retries` starts again at the first step."""
    close: float = 5.0
    overslept: float = 1.0
    """A check this late means that this process was suspended: the silence is counted anew."""
    logout_memory: float = 600.0
    between_renewals: float = 30.0
    unreadable_quotes: float = 60.0


@dataclass(slots=True)
class HubCounters:
    """The history of a hub, for the status display. `reason` is why it last went down."""

    state: HubState = HubState.CONNECTING
    since: datetime | None = None
    reason: str = ""
    opens: int = 0
    failed_opens: int = 0
    drops: int = 0
    frames: int = 0
    probes: int = 0
    unreadable: int = 0
    logouts: int = 0


@dataclass(slots=True)
class Refusal:
    """A refused subscription: the last error, how often, and when it is asked for again."""

    error: str
    times: int
    ask_again_at: float


@dataclass
class ServerTraits:
    """Properties of the gateway that both hubs of a login have found out.

    `acknowledges`: whether the gateway answers invocations, on any link; None: not known yet. If it
    does, a link that has never answered is mute, even the first link of its hub.
    """

    acknowledges: bool | None = None


class OpenFailed(Exception):
    """A hub could not be opened. `refused_token` is set if the hub did not accept that token."""

    def __init__(self, reason: str, *, refused_token: str | None = None) -> None:
        super().__init__(reason)
        self.refused_token = refused_token


def build_realtime(address: GatewayAddress, token: str) -> ProjectXRealtimeClient:
    """A realtime client with explicit addresses."""
    return ProjectXRealtimeClient(
        token,
        "0",  # accounts are subscribed by id, not through the client's own one
        user_hub_url=address.user_hub_url,
        market_hub_url=address.market_hub_url,
    )


class HubLink:
    """One connection of one hub. Only this class uses the internals of the realtime client.

    A link is opened once and closed once. Once it is in doubt it is never trusted again.
    """

    def __init__(
        self,
        hub: Hub,
        realtime: ProjectXRealtimeClient,
        token: str,
        *,
        monotonic: Callable[[], float],
        on_doubt: Callable[["HubLink"], None],
    ) -> None:
        self.hub = hub
        self.token = token
        self.doubt: str | None = None
        self.refused = False
        self.signed_out = False
        self.last_frame = monotonic()
        self.frames = 0
        self.subscribed: set[Call] = set()
        self.refusals: dict[Call, Refusal] = {}
        self._realtime = realtime
        self._monotonic = monotonic
        self._on_doubt = on_doubt
        self._opened = asyncio.Event()
        self._doubted = asyncio.Event()
        self._connection: Any = None
        self._client: Any = None
        self._run: asyncio.Task[None] | None = None
        self._keepalives: list[asyncio.Task[Any]] = []

    # ---- life ---------------------------------------------------------------------------------

    async def open(self, handlers: dict[str, Handler], *, seconds: float) -> None:
        """Connect and wait until the handshake is done. Raises OpenFailed."""
        try:
            async with asyncio.timeout(seconds):
                await self._start(handlers)
                await self._opened_or_doubted()
        except TimeoutError:
            self.mark_suspect(f"no answer within {seconds:g} s")
        except Exception as error:  # any error of the SDK is a reason to try again
            self.mark_suspect(self._describe(error))
        self.raise_doubt()
        self.last_frame = self._monotonic()

    async def _start(self, handlers: dict[str, Handler]) -> None:
        realtime = self._realtime
        realtime.stale_feed_seconds = NEVER_STALE
        await realtime.setup_connections()
        connection: Any = (
            realtime.user_connection if self.hub is Hub.USER else realtime.market_connection
        )
        self._connection = connection
        # The SDK's own handlers start a task per event and merge quotes. Ours run in the receive
        # loop, in the order of arrival.
        connection._event_handlers.clear()
        for target, handler in handlers.items():
            connection.on(target, handler)
        connection.on(LOGOUT, self._on_logout)
        connection.on_open(self._opened.set)
        connection.on_close(partial(self.mark_suspect, "the connection was lost"))
        await connection.start()
        self._tap(connection)

    def _tap(self, connection: Any) -> None:
        """Observe every frame of the transport. Must run before the transport's task starts."""
        self._client = connection._client
        transport = self._client._transport
        deliver = transport._callback
        keep_alive = transport._keepalive

        async def observed(message: Any) -> None:
            self.last_frame = self._monotonic()
            self.frames += 1
            if type(message) is CloseMessage:
                why = f": {message.error}" if message.error else ""
                self.mark_suspect(f"the server closed the hub{why}")
            await deliver(message)

        async def owned_keep_alive(conn: Any) -> None:
            # If the receive task ends, this task would run on without an owner until the next ping.
            task = asyncio.current_task()
            if task is not None:
                self._keepalives.append(task)
            await keep_alive(conn)

        transport._callback = observed
        transport._keepalive = owned_keep_alive
        self._run = connection._run_task
        if self._run is not None:
            self._run.add_done_callback(self._run_ended)

    async def _opened_or_doubted(self) -> None:
        waits = [
            asyncio.create_task(event.wait(), name=f"{self.hub}-hub-{name}")
            for name, event in (("opened", self._opened), ("doubted", self._doubted))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def close(self, *, seconds: float) -> None:
        """Close the socket. Tasks that do not end in time are cancelled."""
        self.mark_suspect("closed by us")
        socket = getattr(getattr(self._client, "_transport", None), "_ws", None)
        try:
            async with asyncio.timeout(seconds):
                if self._connection is not None:
                    await self._connection.stop()
                if socket is not None:
                    await socket.close()
        except Exception as error:  # the link is discarded, so an error in closing it is harmless
            log.debug("closing a %s hub link: %s", self.hub, self._describe(error))
        finally:
            for task in self._keepalives:
                task.cancel()
            if self._run is not None:
                self._run.cancel()
            wire = getattr(socket, "transport", None)
            if wire is not None:
                wire.abort()

    # ---- doubt --------------------------------------------------------------------------------

    def mark_suspect(self, reason: str) -> None:
        """Mark this link as no longer trusted. Only the first reason counts."""
        if self.doubt is None:
            self.doubt = reason[:LONGEST_REASON]
            self._doubted.set()
            self._on_doubt(self)

    async def doubted(self, *, seconds: float) -> None:
        """Wait until the link is in doubt, but no longer than `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._doubted.wait()

    def raise_doubt(self) -> None:
        """Raise OpenFailed if the link is in doubt."""
        if self.doubt is not None:
            raise OpenFailed(self.doubt, refused_token=self.token if self.refused else None)

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.mark_suspect("its task was cancelled")
            return
        error = task.exception()
        if error is None:
            self.mark_suspect("its task ended")
            return
        self.refused = isinstance(error, AuthorizationError)
        self.mark_suspect(self._describe(error))

    async def _on_logout(self, *arguments: Any) -> None:
        self.signed_out = True
        self.mark_suspect("the gateway signed this login out; is it in use elsewhere?")

    def _describe(self, error: BaseException) -> str:
        match error:
            case AuthorizationError():
                return "the hub refused the token (HTTP 401)"
            case HubRefusedError(status=status):
                return f"the hub answered HTTP {status}"
            case ServerError(message=message):
                text = f"the server closed the hub: {message}"
            case ValueError() | TypeError() | KeyError():
                text = f"a frame could not be understood ({type(error).__name__}: {error})"
            case _:
                text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return without_token(text, self.token)[:LONGEST_REASON]

    # ---- speaking -----------------------------------------------------------------------------

    async def invoke(self, call: Call, *, seconds: float) -> asyncio.Future[str | None]:
        """Invoke a hub method. The future resolves to None for success, or to the server's error.

        The invocation carries an id, which the SDK's own `send` does not give, so that the server
        answers. If it cannot be written, the link is marked suspect and OpenFailed is raised.
        """
        method, arguments = call
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        async def completed(message: Any) -> None:
            if not answer.done():
                answer.set_result(message.error or None)

        try:
            async with asyncio.timeout(seconds):
                await self._client.send(method, list(arguments), on_invocation=completed)
        except Exception as error:  # a socket that cannot be written to is dead
            self.mark_suspect(f"{method} could not be sent: {self._describe(error)}")
            raise OpenFailed(self.doubt or method) from error
        return answer


def without_token(text: str, token: str) -> str:
    """Remove the token from an error text: HTTP libraries quote the URL, which contains it."""
    if token:
        text = text.replace(token, "***")
    return re.sub(r"(access_token=|Bearer )[^\s'\"&)]+", r"\1***", text)


class HubLine:
    """Keeps one hub alive: opens links, supervises the one in use, and replaces it."""

    def __init__(
        self,
        hub: Hub,
        *,
        address: GatewayAddress,
        login: Login,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        handlers: dict[str, Handler],
        probe: Callable[[], Call | None],
        on_open: Callable[[Hub], None],
        exposed: Callable[[], bool],
        timings: HubTimings,
        build: BuildRealtime,
        dice: random.Random,
        traits: ServerTraits,
    ) -> None:
        self.hub = hub
        self.counters = HubCounters()
        self.wanted: frozenset[Call] = frozenset()
        self._address = address
        self._login = login
        self._clock = clock
        self._put = put
        self._handlers = handlers
        self._probe = probe
        self._on_open = on_open
        self._exposed = exposed
        self._timings = timings
        self._build = build
        self._dice = dice
        self._link: HubLink | None = None
        self._wake = asyncio.Event()
        self._reported: HubState | None = None
        self._logged_out_at: float | None = None
        self._renewed_at: float | None = None
        self._traits = traits
        self._closing: set[asyncio.Task[None]] = set()

    # ---- from outside -------------------------------------------------------------------------

    def want(self, calls: Iterable[Call]) -> None:
        """Subscribe to exactly these calls, now and after every reopening."""
        self.wanted = frozenset(calls)
        self._wake.set()

    def last_frame_age(self) -> float | None:
        """Return the seconds since the last frame of any kind; None while there is no link."""
        if self._link is None:
            return None
        return max(self._clock.monotonic() - self._link.last_frame, 0.0)

    def counted(self) -> HubCounters:
        frames = self.counters.frames + (self._link.frames if self._link is not None else 0)
        return replace(self.counters, frames=frames)

    def mark_suspect(self, reason: str) -> None:
        """Have the link replaced, as another source shows that it cannot be trusted."""
        if self._link is not None:
            self._link.mark_suspect(reason)

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the hub alive until cancelled."""
        self._report(HubState.CONNECTING)
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
                link = await self._open()
            except OpenFailed as failed:
                failures = await self._after_failure(failed, failures)
                continue
            opened_at = self._clock.monotonic()
            self._take_over(link)
            # In a task of its own, so that the link is watched while the next one is being opened.
            watches.create_task(self._watch(link), name=f"{self.hub}-hub-watch")
            await self._while_good(link)
            if link.doubt is None:
                continue  # there is a newer token: open the new link before closing this one
            if self._clock.monotonic() - opened_at >= self._timings.steady:
                failures = 0
            self._let_go()
            # A link that was up shows that opening works. With exposure the next attempt therefore
            # does not wait for seconds, however short-lived the last links were.
            delay = self._delay(min(failures, 1) if self._exposed() else failures)
            if link.signed_out:
                delay = await self._after_logout(link, delay)
            failures += 1
            await asyncio.sleep(delay)

    async def _while_good(self, link: HubLink) -> None:
        """Wait until the link is in doubt or its token is no longer the newest."""
        while link.doubt is None and self._login.token == link.token:
            await link.doubted(seconds=self._timings.check)

    async def _open(self) -> HubLink:
        """Return a new link, connected and subscribed but not in use yet. Raises OpenFailed."""
        token = self._login.token
        link = HubLink(
            self.hub,
            self._build(self._address, token),
            token,
            monotonic=self._clock.monotonic,
            on_doubt=self._link_doubted,
        )
        try:
            await link.open(self._handlers, seconds=self._timings.open)
            quieten_sdk_logging()
            await self._subscribe(link, wait=True)
            link.raise_doubt()
        except BaseException:
            self._dispose(link)
            raise
        return link

    def _take_over(self, link: HubLink) -> None:
        previous, self._link = self._link, link
        if previous is not None:
            self._dispose(previous)
        self.counters.opens += 1
        self._report(HubState.UP)
        self._on_open(self.hub)

    def _let_go(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            self._dispose(link)

    def _dispose(self, link: HubLink) -> None:
        self.counters.frames += link.frames
        task = asyncio.create_task(
            link.close(seconds=self._timings.close), name=f"{self.hub}-hub-close"
        )
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _after_failure(self, failed: OpenFailed, failures: int) -> int:
        self.counters.failed_opens += 1
        log.info("the %s hub could not be opened: %s", self.hub, failed)
        if self._link is None or self._link.doubt is not None:
            self._let_go()
            self._report(HubState.DOWN, str(failed))
        if failed.refused_token is not None:
            await self._renew(failed.refused_token)
        delay = self._delay(failures)
        if self._link is not None:
            # The old link still works: wait, unless the old one fails as well.
            await self._link.doubted(seconds=delay)
        else:
            await asyncio.sleep(delay)
        return failures + 1

    async def _after_logout(self, link: HubLink, delay: float) -> float:
        """Log in again, but only once: repeated logins would sign the trader out each time."""
        self.counters.logouts += 1
        now = self._clock.monotonic()
        before, self._logged_out_at = self._logged_out_at, now
        if before is not None and now - before < self._timings.logout_memory:
            return self._timings.retries[-1]
        await self._renew(link.token)
        return delay

    async def _renew(self, stale_token: str) -> None:
        """Have the token replaced, but not again at once if a hub refuses even a fresh token."""
        now = self._clock.monotonic()
        if self._renewed_at is not None and now - self._renewed_at < self._timings.between_renewals:
            return
        self._renewed_at = now
        try:
            await self._login.renew(stale_token)
        except (CredentialsRefused, GatewayUnavailable) as error:
            log.warning("the %s hub needs a new token: %s", self.hub, error)

    def _delay(self, failures: int) -> float:
        ladder = self._timings.retries
        return ladder[min(failures, len(ladder) - 1)] * (
            1 + self._timings.jitter * self._dice.random()
        )

    # ---- subscriptions ------------------------------------------------------------------------

    async def _subscribe(self, link: HubLink, *, wait: bool = False) -> None:
        """Bring the link's subscriptions in line with those wanted. Raises OpenFailed."""
        wanted = self.wanted
        answers: dict[Call, asyncio.Future[str | None]] = {}
        for call in sorted(wanted - link.subscribed, key=_subscription_order):
            answers[call] = await link.invoke(call, seconds=self._timings.open)
            link.subscribed.add(call)
        for call in link.subscribed - wanted:
            method, arguments = call
            await link.invoke((f"Un{method[0].lower()}{method[1:]}", arguments), seconds=1)
        link.subscribed &= wanted
        link.refusals = {call: one for call, one in link.refusals.items() if call in wanted}
        for call, answer in answers.items():
            answer.add_done_callback(partial(self._subscription_answered, link, call))
        if wait and answers and self._traits.acknowledges is not False:
            await self._acknowledged(link, answers.values())

    async def _acknowledged(
        self, link: HubLink, answers: Collection[asyncio.Future[str | None]]
    ) -> None:
        """Wait for answers to a new link's subscriptions. A link that gives none may be mute."""
        # A REST read begun after the answers leaves no gap before the stream's first message.
        if not self._traits.acknowledges:
            done, _ = await asyncio.wait(answers, timeout=self._timings.acknowledge)
            if not done and self._traits.acknowledges is None:
                self._traits.acknowledges = False
            return
        done, _ = await asyncio.wait(answers, timeout=self._timings.answer)
        if not done and not link.frames:
            link.mark_suspect("mute since it was opened")

    def _subscription_answered(
        self, link: HubLink, call: Call, answer: asyncio.Future[str | None]
    ) -> None:
        if answer.cancelled():
            return
        self._traits.acknowledges = True
        error = answer.result()
        before = link.refusals.pop(call, None)
        if error is not None:
            times = before.times + 1 if before is not None else 1
            ask_again_at = self._clock.monotonic() + self._pause(times)
            link.refusals[call] = Refusal(error, times, ask_again_at)
            if before is None or before.error != error:
                self._tell_refusal(call, error)
        elif before is not None:
            log.info("the %s hub granted %s after %d refusals", self.hub, call, before.times)
            self._on_open(self.hub)  # messages until now were missed, so a snapshot is needed

    def _pause(self, refusals: int) -> float:
        pauses = self._timings.ask_again
        return pauses[min(refusals, len(pauses)) - 1]

    def _ask_again(self, link: HubLink) -> None:
        """Mark refused subscriptions as missing once their pause is over."""
        now = self._clock.monotonic()
        for call, refusal in link.refusals.items():
            if now >= refusal.ask_again_at:
                refusal.ask_again_at = now + self._pause(refusal.times)
                link.subscribed.discard(call)

    def _tell_refusal(self, call: Call, error: str) -> None:
        method, arguments = call
        detail = f"{method}{list(arguments)} was refused: {error}"
        account_id = next((one for one in arguments if isinstance(one, int)), None)
        self.tell_unreadable(
            Unreadable(
                at=self._clock.now(),
                source=f"the {self.hub} hub",
                detail=detail[:LONGEST_REASON],
                account_id=account_id,
            )
        )

    def tell_unreadable(self, event: Unreadable) -> None:
        self.counters.unreadable += 1
        self._put(event)

    # ---- supervision --------------------------------------------------------------------------

    async def _watch(self, link: HubLink) -> None:
        """Supervise the link until it is in doubt. Closing it puts it in doubt as well."""
        times = self._timings
        monotonic = self._clock.monotonic
        looked_at, judged_from = monotonic(), link.last_frame
        asked_at: float | None = None
        while link.doubt is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(times.check):
                    await self._wake.wait()
            self._wake.clear()
            now = monotonic()
            if now - looked_at > times.check + times.overslept:
                judged_from, asked_at = now, None
            looked_at = now
            with contextlib.suppress(OpenFailed):  # the link has been marked suspect
                self._ask_again(link)
                if self.wanted != link.subscribed:
                    await self._subscribe(link)
                silence = now - max(link.last_frame, judged_from)
                if silence >= times.silent:
                    link.mark_suspect(f"nothing was received for {silence:.0f} s")
                elif asked_at is None or link.last_frame >= asked_at:
                    asked_at = await self._ask_for_a_sign(link, silence)
                elif now - asked_at >= times.answer:
                    link.mark_suspect(
                        f"no answer to a sign of life asked for, silent {silence:.1f} s"
                    )

    async def _ask_for_a_sign(self, link: HubLink, silence: float) -> float | None:
        """Probe a silent link. Returns when it was probed; None if not needed or not possible."""
        patience = self._timings.probe_after if self._exposed() else self._timings.probe_after_idle
        call = self._probe()
        if silence < patience or not self._traits.acknowledges or call is None:
            return None
        self.counters.probes += 1
        asked_at = self._clock.monotonic()
        await link.invoke(call, seconds=self._timings.answer)
        return asked_at

    # ---- reporting ----------------------------------------------------------------------------

    def _link_doubted(self, link: HubLink) -> None:
        # Report at once and not at the next check, as a replacement may take seconds.
        self._wake.set()
        if link is self._link and link.doubt is not None:
            self.counters.drops += 1
            log.warning("the %s hub is down: %s", self.hub, link.doubt)
            self._report(HubState.DOWN, link.doubt)

    def _report(self, state: HubState, reason: str = "") -> None:
        """Report a change of state once. The hub stays DOWN through all attempts until it is UP."""
        if reason:
            self.counters.reason = reason
        if state is self._reported:
            return
        self._reported = state
        self.counters.state = state
        self.counters.since = self._clock.now()
        self._put(HubChanged(at=self._clock.now(), hub=self.hub, state=state, reason=reason))


def _subscription_order(call: Call) -> tuple[int, str, str]:
    """Sort key: accounts and positions first, as they matter most to enforcement."""
    method, arguments = call
    first = ("SubscribeAccounts", "SubscribePositions")
    rank = first.index(method) if method in first else len(first)
    return rank, method, repr(arguments)


class HubSupervisor:
    """Both hubs of one login.

    `run` keeps them alive until cancelled. `put` receives the events. `on_open(hub)` is called
    after every opening, once everything is subscribed, and when a subscription refused at first is
    granted. `on_unreadable(account_id)` is called when a user message could not be read (None: its
    account is unknown). In each case a snapshot should be taken. `exposed` says whether any account
    has exposure; the hubs are then watched more closely. Quotes are not read while the
    `right_of_way` is taken.
    """

    def __init__(
        self,
        address: GatewayAddress,
        login: Login,
        *,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        account_ids: Collection[int] = (),
        on_open: Callable[[Hub], None] = lambda _: None,
        on_unreadable: Callable[[int | None], None] = lambda _: None,
        exposed: Callable[[], bool] = lambda: True,
        right_of_way: RightOfWay | None = None,
        timings: HubTimings | None = None,
        build: BuildRealtime = build_realtime,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._put = put
        self._on_unreadable = on_unreadable
        self._timings = timings or HubTimings()
        self._right_of_way = right_of_way or RightOfWay()
        self._quotes_read = 0
        self._quotes_complained: dict[str, float] = {}

        traits = ServerTraits()

        def line(
            hub: Hub, handlers: dict[str, Handler], probe: Callable[[], Call | None]
        ) -> HubLine:
            return HubLine(
                hub,
                address=address,
                login=login,
                clock=clock,
                put=put,
                handlers=handlers,
                probe=probe,
                on_open=on_open,
                exposed=exposed,
                timings=self._timings,
                build=build,
                dice=dice or random.Random(),
                traits=traits,
            )

        self._user = line(
            Hub.USER,
            {target: self._user_handler(read) for target, read in USER_TARGETS.items()},
            lambda: ("SubscribeAccounts", ()),
        )
        self._market = line(
            Hub.MARKET,
            {"GatewayQuote": self._quote, **dict.fromkeys(UNASKED_MARKET_TARGETS, _ignore)},
            lambda: min(self._market.wanted, default=None),
        )
        self.follow(account_ids)

    # ---- what is wanted -----------------------------------------------------------------------

    def follow(self, account_ids: Collection[int]) -> None:
        """Subscribe to all messages about exactly these accounts."""
        self._user.want(
            [
                ("SubscribeAccounts", ()),
                *(
                    (f"Subscribe{subject}", (account_id,))
                    for account_id in account_ids
                    for subject in ("Positions", "Orders", "Trades")
                ),
            ]
        )

    def watch(self, contract_ids: Collection[str]) -> None:
        """Subscribe to quotes (no trades, no depth) of exactly these contracts."""
        self._market.want(("SubscribeContractQuotes", (one,)) for one in contract_ids)

    def mark_suspect(self, hub: Hub, reason: str) -> None:
        """Have a hub's link replaced, as REST or another source contradicts it."""
        self._line(hub).mark_suspect(reason)

    # ---- status -------------------------------------------------------------------------------

    def last_frame_age(self, hub: Hub) -> float | None:
        """Return the seconds since the hub sent anything, pings included; None while down."""
        return self._line(hub).last_frame_age()

    def counters(self, hub: Hub) -> HubCounters:
        """Return a copy of the hub's counters."""
        return self._line(hub).counted()

    def _line(self, hub: Hub) -> HubLine:
        return self._user if hub is Hub.USER else self._market

    # ---- life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep both hubs alive until cancelled; then close their sockets."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._user.run(), name="user-hub")
            group.create_task(self._market.run(), name="market-hub")

    # ---- what arrives -------------------------------------------------------------------------

    def _user_handler(self, read: Read) -> Handler:
        async def arrived(*payloads: Any) -> None:
            at = self._clock.now()
            for payload in payloads or (None,):
                for event in read(payload, at):
                    if type(event) is Unreadable:
                        self._user.tell_unreadable(event)
                        self._on_unreadable(event.account_id)
                    else:
                        self._put(event)

        return arrived

    async def _quote(self, *arguments: Any) -> None:
        # Runs in the receive loop: while it waits, quotes queue up in the socket.
        await self._right_of_way.give_way()
        self._quotes_read += 1
        if self._quotes_read % QUOTES_PER_TURN == 0:
            await asyncio.sleep(0)  # a long queue is read without a wait: let the user hub run
        if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
            arguments = tuple(arguments[0])
        contract_id, payload = arguments if len(arguments) == 2 else (None, None)
        at = self._clock.now()
        for one in payload[:MOST_RECORDS] if isinstance(payload, list) else (payload,):
            event = read_quote(contract_id, one, at)
            if type(event) is Unreadable:
                self._complain_about_quote(contract_id, event)
            else:
                self._put(event)

    def _complain_about_quote(self, contract_id: Any, event: Unreadable) -> None:
        """Report one unreadable quote a minute per contract, as a broken feed sends hundreds."""
        known = ("SubscribeContractQuotes", (contract_id,))
        key = contract_id if isinstance(contract_id, str) and known in self._market.wanted else ""
        now = self._clock.monotonic()
        told_at = self._quotes_complained.get(key)
        if told_at is None or now - told_at >= self._timings.unreadable_quotes:
            self._quotes_complained[key] = now
            self._market.tell_unreadable(event)
        else:
            self._market.counters.unreadable += 1


async def _ignore(*arguments: Any) -> None:
    """Ignore a message we did not subscribe to. Without a handler the SDK logs a warning each."""
