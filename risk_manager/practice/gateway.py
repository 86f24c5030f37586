"""The practice gateway: the exchange behind ProjectX's own wire protocol, on an aiohttp server."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from risk_manager.practice.connection import Connection
from risk_manager.practice.delivery import Delivery
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.faults import Faults, HubName
from risk_manager.practice.frames import LOGOUT, FrameWriter, PayloadShape
from risk_manager.practice.hubs import Hub
from risk_manager.practice.injection import Injection
from risk_manager.practice.market import Market
from risk_manager.practice.playback import Playback
from risk_manager.practice.products import contracts_on
from risk_manager.practice.rate_limit import RateLimit
from risk_manager.practice.request_log import RequestLog
from risk_manager.practice.rest_server import RestServer
from risk_manager.practice.tokens import Tokens
from risk_manager.practice.trader import Deed, Trader
from risk_manager.practice.words import Words

log = logging.getLogger(__name__)

DEFAULT_USERNAME = "practice"


def system_clock() -> datetime:
    return datetime.now(UTC)


class PracticeGateway:
    """A gateway to which the real SDK connects by URL.

    While it runs, a test can change `exchange` (each change is delivered at once), `faults`,
    `words` (how events are reported), `market`, `rate_limit` and the payload shape
    (`user_hub.frames`). `speed` makes market and trader time pass faster. Without `exchange` the
    gateway lists the front contracts of the clock's date. Without `api_key` it makes a throw-away
    key. Bind it to loopback only. All of it belongs to one event loop: no other thread may touch
    the exchange of a gateway.

    Behaviour not observed at the live gateway has a switch: `payload_shape`, `partial_quotes`
    (only the fields that changed), `single_session` (a login ends the others, with GatewayLogout),
    `expiry_closes_hubs`, `hide_locked_accounts` (from searches for active ones),
    `reuse_connection_ids`, `strict_methods`. See `Playback` for `on_deed` and `trader_waits`.
    """

    def __init__(
        self,
        exchange: Exchange | None = None,
        market: Market | None = None,
        trader: Trader | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        username: str = DEFAULT_USERNAME,
        api_key: str | None = None,
        speed: float = 1.0,
        faults: Faults | None = None,
        clock: Callable[[], datetime] = system_clock,
        token_life: timedelta = timedelta(hours=24),
        rate_limit: int | None = 200,
        rate_window: float = 60.0,
        bars_limit: int | None = 50,
        bars_window: float = 30.0,
        ping_seconds: float = 15.0,
        payload_shape: PayloadShape = "wrapped",
        strict_methods: bool = False,
        reuse_connection_ids: bool = False,
        hide_locked_accounts: bool = False,
        partial_quotes: bool = False,
        single_session: bool = False,
        expiry_closes_hubs: bool = False,
        routes: Callable[[web.Application, "PracticeGateway"], None] | None = None,
        request_log: int = 100_000,
        on_deed: Callable[[Deed], None] | None = None,
        trader_waits: bool = False,
    ) -> None:
        self.exchange = exchange or Exchange(contracts=contracts_on(clock().date()))
        self.market = market
        self.trader = trader
        self.username = username
        self.api_key = api_key or f"practice-key-{secrets.token_hex(6)}"
        self.faults = faults or Faults()
        self.words = Words(self.exchange, Random(0))
        self.tokens = Tokens(username, token_life, clock)
        self.requests = RequestLog(request_log)
        self.rate_limit = RateLimit(rate_limit, rate_window)
        self.user_hub = Hub(
            "user",
            self.faults,
            self.tokens.is_valid,
            FrameWriter(payload_shape),
            ping_seconds=ping_seconds,
            strict_methods=strict_methods,
            reuse_connection_ids=reuse_connection_ids,
        )
        self.market_hub = Hub(
            "market",
            self.faults,
            self.tokens.is_valid,
            FrameWriter(partial_quotes=partial_quotes),
            ping_seconds=ping_seconds,
            strict_methods=strict_methods,
            reuse_connection_ids=reuse_connection_ids,
        )
        self.injection = Injection(self.user_hub, self.market_hub)
        self.delivery = Delivery(self.exchange, self.words, self.user_hub, self.market_hub, clock)
        self.playback = Playback(clock, speed=speed, on_deed=on_deed, trader_waits=trader_waits)
        self._rest = RestServer(
            self.words,
            self.faults,
            self.tokens,
            self.requests,
            username=username,
            api_key=self.api_key,
            rate_limit=self.rate_limit,
            bars_limit=RateLimit(bars_limit, bars_window),
            clock=clock,
            deliver=self.delivery.deliver,
            before_login=self._log_others_out if single_session else None,
            hide_locked_accounts=hide_locked_accounts,
        )
        self._routes = routes
        self._expiry_closes_hubs = expiry_closes_hubs
        self._host = host
        self._port = port
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # ---- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Bind and serve. Raises OSError when the port is taken."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]
        self.delivery.start()
        self._start_task("practice-pings", self._ping_forever())
        if self.market is not None:
            self._start_task("practice-market", self.playback.run_market(self.market))
        if self.trader is not None:
            self._start_task("practice-trader", self.playback.run_trader(self.trader))

    async def close(self) -> None:
        """Stop the market, cut the hubs, free the port. Safe to call twice."""
        self.delivery.stop()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.faults.release()
        for hub in self.hubs:
            await hub.drop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _start_task(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report_crash)
        self._tasks.append(task)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=2**20)
        app.on_response_prepare.append(self._date)
        app.router.add_post("/hubs/user/negotiate", self.user_hub.negotiate)
        app.router.add_post("/hubs/market/negotiate", self.market_hub.negotiate)
        app.router.add_get("/hubs/user", self.user_hub.connect)
        app.router.add_get("/hubs/market", self.market_hub.connect)
        app.router.add_route("*", "/api/{path:.+}", self._rest.serve)
        if self._routes is not None:
            self._routes(app, self)
        return app

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(
            self._clock().astimezone(UTC) + self.faults.date_ahead, usegmt=True
        )

    # ---- where it is --------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api"

    @property
    def user_hub_url(self) -> str:
        return f"{self.base_url}/hubs/user"

    @property
    def market_hub_url(self) -> str:
        return f"{self.base_url}/hubs/market"

    @property
    def hubs(self) -> tuple[Hub, Hub]:
        return (self.user_hub, self.market_hub)

    def hub(self, name: HubName) -> Hub:
        return self.user_hub if name == "user" else self.market_hub

    @property
    def connections(self) -> list[Connection]:
        """Open hub connections, user hub first, oldest first."""
        return [*self.user_hub.connections, *self.market_hub.connections]

    def now(self) -> datetime:
        return self._clock()

    # ---- tokens -------------------------------------------------------------------------------

    async def revoke_tokens(self, *, close_hubs: bool = False) -> None:
        """Make every token worthless, as another login or a server restart might."""
        self.tokens.revoke_all()
        if close_hubs:
            for hub in self.hubs:
                await hub.drop(clean=True)

    # ---- cuts -----------------------------------------------------------------------------

    async def drop(self, hub: HubName | None = None, *, clean: bool = False) -> int:
        """Cut the connections of one hub or both; how many."""
        chosen = self.hubs if hub is None else (self.hub(hub),)
        return sum([await one.drop(clean=clean) for one in chosen])

    def _log_others_out(self) -> None:
        self.tokens.revoke_all()
        for hub in self.hubs:
            hub.broadcast(LOGOUT)

    # ---- tasks --------------------------------------------------------------------------------

    async def _ping_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.user_hub.ping_seconds / 4))
            for hub in self.hubs:
                hub.ping()
                if self._expiry_closes_hubs:
                    hub.drop_expired()


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s stopped: %s", task.get_name(), error, exc_info=error)
