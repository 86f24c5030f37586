"""The practice gateway: the exchange behind ProjectX's own wire protocol, on an aiohttp server."""

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from types import TracebackType
from typing import Any, Literal, Self

import orjson
from aiohttp import web

from risk_manager.practice import rest
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.faults import Faults, HubName, RestFault
from risk_manager.practice.hubs import (
    GARBLED,
    ODD_FRAMES,
    SEPARATOR,
    TARGETS,
    Connection,
    Hub,
    OddFrame,
    PayloadShape,
    invocation,
)
from risk_manager.practice.market import Market
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Event
from risk_manager.practice.trader import Deed, Trader
from risk_manager.practice.words import Telling, Words

log = logging.getLogger(__name__)

DEFAULT_USERNAME = "practice"
INVALID_CREDENTIALS = 3
LOGOUT = invocation("GatewayLogout", {"reason": "Logged in from another location"})
OPEN_PATHS = frozenset({"/Auth/loginKey", "/Status/ping"})


@dataclass(frozen=True, slots=True)
class Request:
    """A REST request as it arrived. `at` is `time.monotonic_ns()` when its headers were read."""

    at: int
    path: str
    body: Mapping[str, Any]
    account: int | None


class RateLimit:
    """At most `limit` requests in any `window` seconds; None for no limit."""

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self.window = window
        self._times: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Whether one more request is allowed now; a refused one does not count."""
        if self.limit is None:
            return True
        while self._times and self._times[0] <= now - self.window:
            self._times.popleft()
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True

    def reset(self) -> None:
        self._times.clear()


def system_clock() -> datetime:
    return datetime.now(UTC)


class PracticeGateway:
    """A gateway to connect the real SDK to, by URL.

    Everything about it can be changed while it runs: `exchange` (each change is delivered at
    once), `faults`, `words` (how events are reported), `market`, `rate_limit`,
    `user_hub.payload_shape`. `speed` makes market and
    trader time pass faster; `on_deed` hears of each step the trader took, and a trader with
    `trader_waits` begins at `start_trader()`. Without `exchange` it lists the front contracts of
    the clock's date; without `api_key` a throw-away key is made, to be read from
    `gateway.api_key`. Bind it to loopback only. All of it belongs to one event loop: an exchange
    behind a gateway must not be touched from another thread.

    Behaviour not observed at the live gateway has a switch: `payload_shape`, `partial_quotes`
    (only the fields that changed), `single_session` (a login ends the others, with GatewayLogout),
    `expiry_closes_hubs`, `hide_locked_accounts` (from searches for active ones),
    `reuse_connection_ids`, `strict_methods`.
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
        self.speed = speed
        self.faults = faults or Faults()
        self.words = Words(self.exchange, Random(0))
        self.token_life = token_life
        self.rate_limit = RateLimit(rate_limit, rate_window)
        self.bars_limit = RateLimit(bars_limit, bars_window)
        self.hide_locked_accounts = hide_locked_accounts
        self.single_session = single_session
        self.expiry_closes_hubs = expiry_closes_hubs
        self._routes = routes
        self.requests: deque[Request] = deque(maxlen=request_log)
        self.user_hub = Hub(
            "user",
            self.faults,
            self.is_valid_token,
            ping_seconds=ping_seconds,
            strict_methods=strict_methods,
            reuse_connection_ids=reuse_connection_ids,
        )
        self.market_hub = Hub(
            "market",
            self.faults,
            self.is_valid_token,
            ping_seconds=ping_seconds,
            strict_methods=strict_methods,
            reuse_connection_ids=reuse_connection_ids,
        )
        self.user_hub.payload_shape = payload_shape
        self.market_hub.partial_quotes = partial_quotes
        self._host = host
        self._port = port
        self._clock = clock
        self._on_deed = on_deed
        self._tokens: dict[str, datetime] = {}
        self._signing_key = secrets.token_bytes(32)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._request_seen = asyncio.Event()
        self._trader_may = asyncio.Event()
        if not trader_waits:
            self._trader_may.set()

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
        self.exchange.drain_events()  # nobody was connected when these happened
        self.exchange.notify = self.pump
        self._start_task("practice-pings", self._ping_forever())
        if self.market is not None:
            self._start_task("practice-market", self._run_market(self.market))
        if self.trader is not None:
            self._start_task("practice-trader", self._run_trader(self.trader))

    def start_trader(self) -> None:
        """Let a trader that was told to wait begin; its script's clock starts now."""
        self._trader_may.set()

    async def close(self) -> None:
        """Stop the market, cut the hubs, free the port. Safe to call twice."""
        self.exchange.notify = None
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
        app.router.add_route("*", "/api/{path:.+}", self._serve_rest)
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

    def issue_token(self) -> str:
        """A token as a login would get: shaped as a JWT, good for `token_life`."""
        expires = self._clock() + self.token_life
        header = _base64(orjson.dumps({"alg": "HS256", "typ": "JWT"}))
        payload = _base64(
            orjson.dumps(
                {
                    "sub": self.username,
                    "jti": secrets.token_hex(8),
                    "exp": int(expires.timestamp()),
                }
            )
        )
        signed = f"{header}.{payload}"
        seal = hmac.digest(self._signing_key, signed.encode(), hashlib.sha256)
        token = f"{signed}.{_base64(seal)}"
        now = self._clock()
        self._tokens = {old: until for old, until in self._tokens.items() if until > now}
        self._tokens[token] = expires
        return token

    def is_valid_token(self, token: str | None) -> bool:
        if token is None:
            return False
        expires = self._tokens.get(token)
        return expires is not None and self._clock() < expires

    async def revoke_tokens(self, *, close_hubs: bool = False) -> None:
        """Make every token worthless, as another login or a server restart might."""
        self._tokens.clear()
        if close_hubs:
            for hub in self.hubs:
                await hub.drop(clean=True)

    # ---- delivery -----------------------------------------------------------------------------

    def pump(self) -> None:
        """Pass the events of the exchange to the hubs. Called after each change of it."""
        self._tell(self.words.hear(self.exchange.drain_events(), self._clock()))

    def _tell(self, tellings: Sequence[Telling]) -> None:
        at_once = [one.event for one in tellings if not one.after_s]
        self._publish(at_once)
        for one in tellings:
            if one.after_s:
                asyncio.get_running_loop().call_later(one.after_s, self._tell_later, one)

    def _tell_later(self, telling: Telling) -> None:
        event = self.words.due(telling, self._clock())
        if event is not None and self._runner is not None:
            self._publish([event])

    def _publish(self, events: Sequence[Event]) -> None:
        self.user_hub.publish(event for event in events if not event.is_market)
        self.market_hub.publish(event for event in events if event.is_market)

    async def send_user(
        self,
        kind: Literal["order", "trade", "position", "account"],
        data: Mapping[str, Any],
        *,
        action: int = 1,
    ) -> int:
        """Send a made-up user event to every user connection at once, subscribed or not.

        Returns `time.monotonic_ns()` just before the bytes went out; the exchange knows nothing.
        """
        account_id = int(data.get("accountId", data.get("id", 0)))
        event = Event(kind, account_id, str(data.get("contractId", "")), action, data)
        return await self.user_hub.send_now(self.user_hub.frame(event))

    async def send_market(
        self,
        contract_id: str,
        data: Mapping[str, Any],
        *,
        kind: Literal["quote", "market_trade"] = "quote",
    ) -> int:
        """The same for the market hub."""
        return await self.market_hub.send_now(invocation(TARGETS[kind], contract_id, data))

    async def send_raw(self, hub: HubName, frame: bytes, *, separator: bool = True) -> int:
        """Send any bytes as one text frame to every connection of a hub."""
        return await self.hub(hub).send_now(frame + SEPARATOR if separator else frame)

    async def garble(self, hub: HubName) -> int:
        """Send a frame that cannot be decoded."""
        return await self.send_raw(hub, GARBLED)

    async def send_odd(self, hub: HubName, shape: OddFrame) -> int:
        """Send a decodable frame that a client may not expect."""
        return await self.send_raw(hub, ODD_FRAMES[shape])

    async def logout(self, hub: HubName = "user") -> int:
        """Tell the clients they were logged out because the user logged in elsewhere."""
        return await self.hub(hub).send_now(LOGOUT)

    async def drop(self, hub: HubName | None = None, *, clean: bool = False) -> int:
        """Cut the connections of one hub or both; how many."""
        chosen = self.hubs if hub is None else (self.hub(hub),)
        return sum([await one.drop(clean=clean) for one in chosen])

    async def wait_for_request(
        self, path: str, *, count: int = 1, after: int = 0, seconds: float = 5.0
    ) -> Request:
        """The `count`-th request for `path` seen since `after` (monotonic ns). TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                found = [one for one in self.requests if one.path == path and one.at >= after]
                if len(found) >= count:
                    return found[count - 1]
                await self._request_seen.wait()

    # ---- REST ---------------------------------------------------------------------------------

    async def _serve_rest(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic_ns()
        path = "/" + request.match_info["path"]
        raw = await request.read()
        body = _parse(raw)
        self._log_request(at, path, body or {})
        fault = self.faults.take(path)
        if fault is not None:
            early = await self._before(fault)
            if early is not None:
                return early
        answer = self._answer(request, path, body)
        if fault is not None:
            if fault.lose_reply is not None:
                return await self._lose(request, fault.lose_reply)
            if fault.garbage:
                return web.Response(body=b'{"success": tru', content_type="application/json")
        return answer

    async def _before(self, fault: RestFault) -> web.Response | None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hang:
            await self.faults.wait_released()
        if fault.status is not None:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return web.Response(status=fault.status, headers=headers)
        if fault.refuse is not None:
            return _json(rest.refused(*fault.refuse))
        return None

    async def _lose(self, request: web.Request, how: Literal["close", "hang"]) -> web.Response:
        if how == "hang":
            await self.faults.wait_released()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _answer(
        self, request: web.Request, path: str, body: Mapping[str, Any] | None
    ) -> web.Response:
        if path == "/Status/ping":
            return _json("pong")
        limit = self.bars_limit if path == "/History/retrieveBars" else self.rate_limit
        if not limit.take(time.monotonic()):
            return web.Response(status=429, headers={"Retry-After": str(int(limit.window))})
        if request.method != "POST":
            return web.Response(status=405)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if path not in OPEN_PATHS and not self.is_valid_token(token):
            return web.Response(status=401)
        if path.startswith("/Auth/"):
            return self._answer_auth(path, token, body or {})
        if path not in rest.ENDPOINTS:
            return web.Response(status=404)
        if body is None:
            return _bad_request("the body is not a JSON object")
        try:
            answered = self.words.answer(path, body, self._clock())
        except rest.BadRequestError as error:
            return _bad_request(str(error))
        self._tell(answered.tellings)
        reply = answered.reply
        if path == "/Account/search" and body.get("onlyActiveAccounts"):
            reply["accounts"] = [
                account
                for account in reply["accounts"]
                if account["canTrade"] or not self.hide_locked_accounts
            ]
        return _json(reply)

    def _answer_auth(self, path: str, token: str, body: Mapping[str, Any]) -> web.Response:
        match path:
            case "/Auth/loginKey":
                user, key = str(body.get("userName")), str(body.get("apiKey"))
                is_right = user.casefold() == self.username.casefold() and hmac.compare_digest(
                    key.encode(), self.api_key.encode()
                )
                if not is_right:
                    return _json(
                        rest.refused(INVALID_CREDENTIALS, "invalid credentials", token=None)
                    )
                if self.single_session:
                    self._log_others_out()
                return _json(rest.succeeded(token=self.issue_token()))
            case "/Auth/validate":
                return _json(rest.succeeded(newToken=self.issue_token()))
            case "/Auth/logout":
                self._tokens.pop(token, None)
                return _json(rest.succeeded())
            case _:
                return web.Response(status=404)

    def _log_others_out(self) -> None:
        self._tokens.clear()
        for hub in self.hubs:
            hub.broadcast(LOGOUT)

    def _log_request(self, at: int, path: str, body: Mapping[str, Any]) -> None:
        shown = {key: "***" if key == "apiKey" else value for key, value in body.items()}
        account = body.get("accountId")
        self.requests.append(
            Request(at, path, shown, account if isinstance(account, int) else None)
        )
        seen, self._request_seen = self._request_seen, asyncio.Event()
        seen.set()

    # ---- tasks --------------------------------------------------------------------------------

    async def _ping_forever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.user_hub.ping_seconds / 4))
            for hub in self.hubs:
                hub.ping()
                if self.expiry_closes_hubs:
                    hub.drop_expired()

    async def _run_market(self, market: Market) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += market.step_seconds / self.speed
            late = loop.time() - due
            if late > 1.0:
                due = loop.time()  # the machine was suspended: go on from here, do not catch up
            await asyncio.sleep(max(0.0, due - loop.time()))
            market.step(self._clock())

    async def _run_trader(self, trader: Trader) -> None:
        await self._trader_may.wait()
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not trader.is_done:
            for step in trader.due((loop.time() - start) * self.speed):
                deed = trader.perform(step, now=self._clock())
                if self._on_deed is not None:
                    self._on_deed(deed)
            await asyncio.sleep(0.05 / self.speed)


def _report_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s stopped: %s", task.get_name(), error, exc_info=error)


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _bad_request(why: str) -> web.Response:
    problem = {"title": "One or more validation errors occurred.", "status": 400, "detail": why}
    return web.Response(
        status=400, body=orjson.dumps(problem), content_type="application/problem+json"
    )


def _parse(raw: bytes) -> Mapping[str, Any] | None:
    """The body as an object; empty counts as one without fields, None for anything else."""
    if not raw or raw == b"null":
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
