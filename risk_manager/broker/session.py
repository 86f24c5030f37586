"""One login at the gateway, shared by REST in both lanes and the hubs."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, Self

import orjson
from project_x_py import ProjectX, ProjectXConfig
from project_x_py.exceptions import ProjectXAuthenticationError
from pydantic import SecretStr, ValidationError

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.answer_size import cap_answers
from risk_manager.broker.sdk_logging import quieten_sdk_logging
from risk_manager.broker.surrogates import without_surrogates, without_surrogates_in
from risk_manager.broker.warm_connections import WarmConnections
from risk_manager.clock import Clock
from risk_manager.domain.call_codes import LOGIN_UNKNOWN_ERROR, words_of_login
from risk_manager.domain.records import AccountRecord

quieten_sdk_logging()

log = logging.getLogger(__name__)

# The SDK's own limiter and token renewal must never act: the lanes keep the budget, and a login
# hidden in the SDK would leave the hubs with an outdated token.
NEVER_THROTTLED = 1_000_000
NEVER_EXPIRES = datetime(9999, 1, 1, tzinfo=UTC)

DEFAULT_TOKEN_LIFE = timedelta(hours=24)


class CredentialsRefused(Exception):
    """The gateway refused this user name and API key. Trying again will not help."""

    def __init__(self, message: str, *, error_code: int | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class GatewayUnavailable(Exception):
    """The gateway gave no usable answer. Trying again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """The addresses of the gateway and the credentials for it."""

    kind: Literal["practice", "projectx"]
    api_url: str
    user_hub_url: str
    market_hub_url: str
    username: str
    api_key: SecretStr

    def config(self, *, timeout_seconds: int) -> ProjectXConfig:
        """Return a complete SDK configuration, so that nothing is taken from the environment."""
        return ProjectXConfig(
            api_url=self.api_url.rstrip("/"),
            user_hub_url=self.user_hub_url,
            market_hub_url=self.market_hub_url,
            timeout_seconds=timeout_seconds,
            requests_per_minute=NEVER_THROTTLED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimings:
    """All in seconds, except `renew_before`."""

    renew_before: timedelta = timedelta(hours=2)
    renew_retries: tuple[float, ...] = (30, 60, 120, 300)
    check: float = 30.0
    """How often the token's age is checked; short enough to notice a changed system clock."""
    keep_warm: float = 45.0
    """How often the connections of enforcement are used so that a close finds them open."""
    request: int = 5
    """How long enforcement's connections wait for each part of an answer."""
    read: int = 10
    """The same for reads that can wait, and for the SDK's client, which logs in."""
    login: float = 15.0
    logout: float = 2.0
    between_logins: float = 1.0
    """The least time between logins, so that a token refused at once does not cause many."""


class Login(Protocol):
    """The part of a session that the hubs use."""

    @property
    def token(self) -> str: ...

    async def renew(self, stale_token: str | None = None) -> str: ...


type BuildClient = Callable[[GatewayAddress, int], ProjectX]


def build_client(address: GatewayAddress, timeout_seconds: int) -> ProjectX:
    """Build a `ProjectX` with explicit settings; `from_env` would always use production."""
    return ProjectX(
        address.username,
        address.api_key.get_secret_value(),
        config=address.config(timeout_seconds=timeout_seconds),
    )


type BuildConnections = Callable[[GatewayAddress, float], WarmConnections]


def build_connections(address: GatewayAddress, answer_seconds: float) -> WarmConnections:
    return WarmConnections(address.api_url, answer_seconds=answer_seconds)


@dataclass(frozen=True, slots=True)
class Token:
    """A session token and when it must be replaced."""

    text: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def read(cls, text: str, now: datetime) -> Self:
        """Make a token with the expiry stated in it, or 24 hours if it states none."""
        expires_at = _expiry(text)
        if expires_at is None or expires_at <= now:
            expires_at = now + DEFAULT_TOKEN_LIFE
        return cls(text, now, expires_at)

    def renew_at(self, before: timedelta) -> datetime:
        """Return when to renew: `before` the expiry, but not in the first half of its life."""
        half = self.issued_at + (self.expires_at - self.issued_at) / 2
        return max(self.expires_at - before, half)


class GatewaySession(AsyncClosing):
    """The login. An async context manager: entering builds the clients, it does not log in.

    `connections` are for enforcement, `read_connections` for reads that can wait, and `client` for
    the login and the list of accounts; they share the token but no connection. Call `log_in` until
    it succeeds, then run `run` in the daemon's task group: it renews the token in time and keeps
    the connections of enforcement open. A caller that gets a 401 calls `renew`.
    """

    def __init__(
        self,
        address: GatewayAddress,
        *,
        clock: Clock,
        timings: SessionTimings | None = None,
        build: BuildClient = build_client,
        connect: BuildConnections = build_connections,
    ) -> None:
        self.address = address
        self.client: ProjectX
        self.connections: WarmConnections
        self.read_connections: WarmConnections
        self.logins = 0
        self.trouble: str | None = None
        """Why the last renewal failed, for the status display; None while all is well."""
        self._clock = clock
        self._timings = timings or SessionTimings()
        self._build = build
        self._connect = connect
        self._token: Token | None = None
        self._logged_in_at: float | None = None
        self._renewal: asyncio.Task[str] | None = None
        self._opened = AsyncExitStack()

    # ---- life ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        # Building an httpx client reads the certificate store, which would delay a close by
        # 20-50 ms.
        self.client = self._build(self.address, self._timings.read)
        self.connections = self._connect(self.address, self._timings.request)
        self.read_connections = self._connect(self.address, self._timings.read)
        try:
            await self._opened.enter_async_context(self.client)
            await self._opened.enter_async_context(self.connections)
            await self._opened.enter_async_context(self.read_connections)
        except BaseException:
            await self._opened.aclose()
            raise
        quieten_sdk_logging()
        return self

    async def close(self) -> None:
        renewal, self._renewal = self._renewal, None
        if renewal is not None:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        await self._opened.aclose()

    async def run(self) -> None:
        """Renew the token in time, and keep the fast connection warm, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_in_time(), name="session-renewal")
            group.create_task(self._keep_warm(), name="session-keep-warm")

    # ---- the login ----------------------------------------------------------------------------

    @property
    def logged_in(self) -> bool:
        return self._token is not None

    @property
    def token(self) -> str:
        """The newest token; empty before the first login. Never to be logged."""
        return self._token.text if self._token is not None else ""

    @property
    def token_expires_at(self) -> datetime | None:
        return self._token.expires_at if self._token is not None else None

    async def log_in(self) -> None:
        """Log in. Raises `CredentialsRefused` or `GatewayUnavailable`."""
        await self.renew()

    async def log_out(self) -> None:
        """Ask the gateway once, for a short time, to make the token worthless. Never raises.

        To be called when nothing needs the token any more.
        """
        token = self._token
        if token is None:
            return
        told = "no answer in time"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timings.logout):
                try:
                    answered = await self.connections.post("/Auth/logout", {}, token.text)
                except Exception as error:  # the stop goes on, whatever the gateway makes of it
                    told = _told(error)
                else:
                    body = answered.body
                    if isinstance(body, dict) and body.get("success") is True:
                        log.info("logged out; the token is worthless")
                        return
                    told = f"refused (HTTP {answered.status})"
        log.warning("not logged out: %s; the token ends at %s", told, token.expires_at.isoformat())

    async def renew(self, stale_token: str | None = None) -> str:
        """Replace the token and return the new one. Concurrent callers share one login.

        `stale_token` is the token that was refused; nothing is done if it was replaced already.
        Raises `CredentialsRefused` or `GatewayUnavailable`.
        """
        if stale_token is not None and self._token is not None and stale_token != self.token:
            return self.token
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._log_in(), name="session-login")
            self._renewal.add_done_callback(self._login_ended)
        # A cancelled caller must not cancel the login that others wait for.
        return await asyncio.shield(self._renewal)

    def _login_ended(self, task: asyncio.Task[str]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.trouble = str(error)
            log.warning("login failed: %s", error)

    async def _log_in(self) -> str:
        await self._pause_between_logins()
        reply = await self._ask_for_token()
        text = reply.get("token")
        code = reply.get("errorCode")
        if reply.get("success") is not True or not isinstance(text, str) or not text:
            raise _refusal(code, reply.get("errorMessage"))
        self._token = Token.read(text, self._clock.now())
        self._logged_in_at = self._clock.monotonic()
        self.logins += 1
        self.trouble = None
        hand_over(self.client, text)
        log.info("logged in, token good until %s", self._token.expires_at.isoformat())
        return text

    async def _pause_between_logins(self) -> None:
        if self._logged_in_at is not None:
            since = self._clock.monotonic() - self._logged_in_at
            await asyncio.sleep(max(0.0, self._timings.between_logins - since))

    async def _ask_for_token(self) -> Mapping[str, Any]:
        body = {
            "userName": self.address.username,
            "apiKey": self.address.api_key.get_secret_value(),
        }
        try:
            async with asyncio.timeout(self._timings.login):
                reply = await ask_once(self.client, "/Auth/loginKey", body)
        except ProjectXAuthenticationError as error:
            raise CredentialsRefused("the gateway refused the login (HTTP 401)") from error
        except TimeoutError as error:
            raise GatewayUnavailable(
                f"no answer to the login within {self._timings.login:g} s"
            ) from error
        except Exception as error:  # transport errors of several libraries; raised as one kind
            told = _told(error).replace(body["apiKey"], "***")
            raise GatewayUnavailable(f"the login got no usable answer: {told}") from None
        if not isinstance(reply, dict):
            raise GatewayUnavailable("the login was answered with something that is no object")
        return reply

    # ---- accounts -----------------------------------------------------------------------------

    async def accounts(self, also: Collection[int] = ()) -> tuple[AccountRecord, ...]:
        """Return the active accounts of this login, and those in `also` even if inactive.

        It is not documented whether a locked account counts as inactive. A configured account that
        is not among the active ones is therefore searched for among all. A 401 renews the token and
        asks once more. Raises `GatewayUnavailable`.
        """
        found = await self._search_accounts(active_only=True)
        if not set(also) <= set(found):
            everything = await self._search_accounts(active_only=False)
            found |= {id_: one for id_, one in everything.items() if id_ in also}
        return tuple(found.values())

    async def _search_accounts(self, *, active_only: bool) -> dict[int, AccountRecord]:
        body = {"onlyActiveAccounts": active_only}
        try:
            async with asyncio.timeout(self._timings.login):
                used = self.token
                try:
                    reply = await ask_once(self.client, "/Account/search", body)
                except ProjectXAuthenticationError:
                    await self.renew(used)
                    reply = await ask_once(self.client, "/Account/search", body)
        except (CredentialsRefused, GatewayUnavailable):
            raise
        except TimeoutError as error:
            raise GatewayUnavailable("no answer to the account search") from error
        except Exception as error:  # as for the login
            raise GatewayUnavailable(f"the account search failed: {_told(error)}") from error
        listed = reply.get("accounts") if isinstance(reply, dict) else None
        if not isinstance(reply, dict) or reply.get("success") is not True:
            told = reply.get("errorMessage") if isinstance(reply, dict) else None
            raise GatewayUnavailable(f"the account search was refused: {told}")
        if not isinstance(listed, list):
            raise GatewayUnavailable("the account search was answered without a list")
        return {one.id: one for one in map(_account, listed) if one is not None}

    # ---- tasks --------------------------------------------------------------------------------

    async def _renew_in_time(self) -> None:
        failures = 0
        while True:
            await asyncio.sleep(self._timings.check)
            if not self._renewal_due():
                failures = 0
                continue
            try:
                await self.renew(self.token)
            except (CredentialsRefused, GatewayUnavailable):
                retries = self._timings.renew_retries
                pause = retries[min(failures, len(retries) - 1)]
                failures += 1
                log.warning("the token could not be renewed, trying again in %g s", pause)
                await asyncio.sleep(pause)

    def _renewal_due(self) -> bool:
        if self._token is None:
            return False
        return self._clock.now() >= self._token.renew_at(self._timings.renew_before)

    async def _keep_warm(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._timings.login):
                    await self.connections.keep_warm()
            except Exception as error:  # not essential; real trouble shows at the next request
                log.debug("keep-warm ping failed: %s", _told(error))
            await asyncio.sleep(self._timings.keep_warm)


async def ask_once(
    client: ProjectX,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    method: Literal["GET", "POST"] = "POST",
) -> Any:
    """Send one request once; return the decoded answer without lone surrogates.

    By itself `_make_request` would try reads three times and sleep a minute on a 429. The
    `retry_count` keeps the SDK from logging in by itself on a 401.
    """
    sdk: Any = client  # its mixins annotate `self` with a protocol no type checker accepts
    await cap_answers(sdk)
    return without_surrogates_in(
        await sdk._execute_http_request(method, path, data=body, retry_count=1)
    )


def hand_over(client: ProjectX, token: str) -> None:
    """Give a client a token that it takes to be valid for ever."""
    client.session_token = token
    client.headers["Authorization"] = f"Bearer {token}"
    client.token_expiry = NEVER_EXPIRES
    client._authenticated = True


def _refusal(code: Any, message: Any) -> CredentialsRefused | GatewayUnavailable:
    said = f": {message}" if isinstance(message, str) and message else ""
    if not isinstance(code, int) or code in (0, LOGIN_UNKNOWN_ERROR):
        return GatewayUnavailable(f"the gateway did not log us in (errorCode {code}){said}")
    return CredentialsRefused(
        f"the gateway refused the login (errorCode {code}): {words_of_login(code)}. Check "
        "gateway.username and gateway.api_key in settings.yaml",
        error_code=code,
    )


def _account(raw: Any) -> AccountRecord | None:
    try:
        return AccountRecord.model_validate(raw)
    except ValidationError as error:
        log.warning("an account could not be read: %s", _first_problem(error))
        return None


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _expiry(token: str) -> datetime | None:
    """Return the `exp` of a JWT, unverified; None if it has no readable one."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None


def _told(error: BaseException) -> str:
    """Return an error in one line."""
    text = without_surrogates(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
