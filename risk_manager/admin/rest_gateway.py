"""The gateway by REST alone, without the daemon and the SDK: one request, one classified answer.

Nothing is repeated here except after a refused token, which is replaced once.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from risk_manager.domain.call_codes import (
    GONE,
    LOGIN_UNKNOWN_ERROR,
    PENDING,
    error_code,
    words_of_login,
    words_of_refusal,
)
from risk_manager.settings.configuration import Credentials

REQUEST_S = 6.0
CONNECT_S = 4.0
_LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
_LOGIN = "/Auth/loginKey"


class Outcome(StrEnum):
    """How a call ended. Only DONE, PENDING and UNKNOWN can have changed anything."""

    DONE = "done"
    GONE = "gone"  # nothing is left to act on
    PENDING = "pending"  # an earlier call is still being carried out
    REFUSED = "refused"
    LIMITED = "too many requests"
    UNSENT = "no connection"
    UNKNOWN = "no answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `why` is for people; `retry_after_s` is the gateway's advice after LIMITED."""

    outcome: Outcome
    body: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    why: str = ""
    retry_after_s: float | None = None

    @property
    def is_done(self) -> bool:
        return self.outcome is Outcome.DONE


class LoginRefused(Exception):
    """The gateway refuses this user name and key. Trying again will not help."""


class RestGateway:
    """Single requests to the gateway. An async context manager; logs in when first asked."""

    def __init__(
        self, api_url: str, credentials: Credentials, *, request_s: float = REQUEST_S
    ) -> None:
        self.host = urlsplit(api_url).hostname or api_url
        self._url = api_url.rstrip("/")
        self._credentials = credentials
        self._request_s = request_s
        self._proxy = _proxy_for(self._url)
        self._token = ""
        self._renewing = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._request_s, connect=CONNECT_S),
                headers={"Accept": "application/json", "Content-Type": "application/json"},
            )
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def ask(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Send one request. A refused token is replaced and the request sent once more.

        Raises LoginRefused; every other trouble is a value.
        """
        used = self._token
        if not used:
            answer = await self._log_in(used)
            if not answer.is_done:
                return answer
            used = self._token
        answer = await self._post(path, body, used)
        if answer.code != 401:
            return answer
        renewed = await self._log_in(used)
        return await self._post(path, body, self._token) if renewed.is_done else renewed

    async def _log_in(self, refused: str) -> Answer:
        """Get a token in place of a refused one. Concurrent callers share one login."""
        async with self._renewing:
            if self._token != refused:
                return Answer(outcome=Outcome.DONE)
            key = self._credentials.api_key.get_secret_value()
            login = {"userName": self._credentials.username, "apiKey": key}
            answer = await self._post(_LOGIN, login, "")
            token = answer.body.get("token")
            if answer.is_done and isinstance(token, str) and token:
                self._token = token
                return answer
            if answer.code in (401, 403):
                raise LoginRefused(f"{self.host} refuses the login ({answer.code})")
            code = answer.code
            if answer.outcome is Outcome.REFUSED and code and code >= 400:
                raise LoginRefused(
                    f"{self.host} answers the login with HTTP {code}; check gateway.api_url"
                )
            if answer.outcome is Outcome.REFUSED and code and code != LOGIN_UNKNOWN_ERROR:
                raise LoginRefused(
                    f"{self.host} refuses the login (error {code}): {words_of_login(code)}"
                )
            # Nothing that was asked for after the login has been sent.
            outcome = Outcome.LIMITED if answer.outcome is Outcome.LIMITED else Outcome.UNSENT
            why = f"the login got no answer: {answer.why}"
            return Answer(outcome=outcome, why=why, retry_after_s=answer.retry_after_s)

    async def _post(self, path: str, body: Mapping[str, Any], token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._http.post(
                self._url + path,
                data=json.dumps(body),
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                status, advice = response.status, response.headers.get("Retry-After")
                raw = await response.content.read(_LARGEST_ANSWER_BYTES)
                while not response.content.at_eof():
                    more = await response.content.read(_LARGEST_ANSWER_BYTES)
                    raw += more
                    if len(raw) > _LARGEST_ANSWER_BYTES:
                        return Answer(outcome=Outcome.UNKNOWN, why="the answer is too large")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL):
            return Answer(outcome=Outcome.UNSENT, why=f"{self.host} cannot be reached")
        except TimeoutError:
            return Answer(outcome=Outcome.UNKNOWN, why=f"no answer within {self._request_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(
                outcome=Outcome.UNKNOWN, why=f"the connection broke ({type(error).__name__})"
            )
        if 200 <= status < 300:
            return _read(path, raw)
        return _by_status(status, advice)


def _read(path: str, raw: bytes) -> Answer:
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.get("success") not in (True, False):
        return Answer(outcome=Outcome.UNKNOWN, why="the answer cannot be read")
    if body["success"] is True:
        return Answer(outcome=Outcome.DONE, body=body, code=0)
    code = error_code(body.get("errorCode"))
    outcome = Outcome.REFUSED
    if (path, code) in GONE:
        outcome = Outcome.GONE
    elif (path, code) in PENDING:
        outcome = Outcome.PENDING
    return Answer(outcome=outcome, body=body, code=code, why=words_of_refusal(path, body))


def _by_status(status: int, advice: str | None) -> Answer:
    if status == 429:
        seconds = float(advice) if advice is not None and advice.isdigit() else None
        return Answer(
            outcome=Outcome.LIMITED, code=status, why="too many requests", retry_after_s=seconds
        )
    if 400 <= status < 500 and status != 408:
        return Answer(outcome=Outcome.REFUSED, code=status, why=f"refused with HTTP {status}")
    return Answer(outcome=Outcome.UNKNOWN, code=status, why=f"answered with HTTP {status}")


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
