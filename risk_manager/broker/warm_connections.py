"""HTTP connections to the gateway for enforcement, opened before a close needs one."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson

from risk_manager.broker.answer_size import LARGEST_ANSWER_BYTES
from risk_manager.broker.surrogates import without_surrogates_in

KEPT_OPEN = 4
"""This many positions can be closed at the same time without a new handshake."""
MOST_CONNECTIONS = 200
CONNECT_SECONDS = 5.0


class UnreadableAnswer(Exception):
    """An answer with a success status whose body is not JSON or is too large."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. `body` is decoded for a success status, and None otherwise.

    `text` is the beginning of the body for any other status.
    """

    status: int
    retry_after: str | None
    date: str | None
    body: Any = None
    text: str = ""


class WarmConnections:
    """POSTs to the gateway over kept-open connections. An async context manager.

    The SDK's HTTP client takes twice as long from the call to the wire. These connections follow no
    redirects, keep no cookies and retry nothing. A request on an open connection is handed to the
    operating system before `post` first waits. Proxies are taken from the environment at the start,
    as the SDK does. `answer_seconds` limits the wait for each part of an answer.
    """

    def __init__(self, api_url: str, *, answer_seconds: float) -> None:
        self._url = api_url.rstrip("/")
        self._answer_seconds = answer_seconds
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self._urls: dict[str, str] = {}
        self._proxy = _proxy_for(self._url)

    async def __aenter__(self) -> "WarmConnections":
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MOST_CONNECTIONS, keepalive_timeout=300.0, ttl_dns_cache=300
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=CONNECT_SECONDS, sock_read=self._answer_seconds
                ),
                headers={"Accept": "application/json", "Content-Type": "application/json"},
                max_field_size=64 * 1024,
            )
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def post(self, path: str, body: Mapping[str, Any], token: str) -> Answered:
        """Send one request, once.

        Raises `UnreadableAnswer` and the exceptions of aiohttp; see `replies.reply_of_error`.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else None
        async with self._http.post(
            self._url + path,
            data=orjson.dumps(body),
            headers=headers,
            proxy=self._proxy,
            allow_redirects=False,
        ) as response:
            raw = await _whole(response)
            status, got = response.status, response.headers
            answered = (status, got.get("Retry-After"), got.get("Date"))
            if status == 204:
                return Answered(*answered, body={})
            if status in (200, 201):
                return Answered(*answered, body=_decoded(raw))
            return Answered(*answered, text=raw[:800].decode("utf-8", "replace"))

    async def keep_warm(self) -> None:
        """Use each connection once, so that neither side closes it. Errors go to the caller."""
        async with asyncio.TaskGroup() as group:
            for number in range(KEPT_OPEN):
                group.create_task(self._ping(), name=f"keep-warm-{number}")

    async def _ping(self) -> None:
        url = f"{self._url}/Status/ping"
        async with self._http.get(url, proxy=self._proxy, allow_redirects=False) as response:
            await _whole(response)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            response.close()
            limit_mb = LARGEST_ANSWER_BYTES // 1024**2
            raise UnreadableAnswer(f"the answer is larger than {limit_mb} MB")
        parts.append(part)
    return b"".join(parts)


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:  # orjson rejects lone surrogates; json accepts them
        return without_surrogates_in(json.loads(raw))
    except ValueError as error:
        raise UnreadableAnswer(str(error)) from None


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
