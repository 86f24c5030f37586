"""One request over REST, sent once: enforcement's by its own connections, the rest by the SDK."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import httpx
import orjson
from project_x_py import ProjectX

from risk_manager.broker.replies import StatusError
from risk_manager.broker.session import ask_once
from risk_manager.broker.warm_connections import WarmConnections


class Lane(StrEnum):
    FAST = "fast"  # closes, cancels, exits, and the reads that belong to them
    SLOW = "slow"  # everything that can wait


type Body = Mapping[str, Any]


class Gateway(Protocol):
    """Sends one request in one attempt, and raises on any failure. `renew` replaces a refused
    token; concurrent callers of `renew` share one login.
    """

    @property
    def token(self) -> str: ...

    async def request(self, lane: Lane, path: str, body: Body) -> object: ...

    async def renew(self, stale_token: str) -> object: ...


class Session(Protocol):
    """The part of the gateway session used here: both HTTP clients, and the login they share."""

    client: ProjectX
    connections: WarmConnections

    @property
    def token(self) -> str: ...

    async def renew(self, stale_token: str | None = None) -> str: ...


@dataclass(slots=True)
class _Seen:
    """Status and headers of one request, as seen on the wire."""

    status: int | None = None
    retry_after: str | None = None
    date: str | None = None


_seen: ContextVar[_Seen | None] = ContextVar("seen", default=None)


async def _note_status(response: httpx.Response) -> None:
    seen = _seen.get()
    if seen is not None:
        seen.status = response.status_code
        seen.retry_after = response.headers.get("Retry-After")
        seen.date = response.headers.get("Date")


class SessionGateway:
    """Sends single requests without any retry. Enforcement uses its own connections, everything
    else the SDK's client.

    The SDK turns 401, 429 and lost answers of an order into one exception, and status codes into
    words. Therefore the status is recorded on the wire here.

    `on_date` receives the Date header of every answer.
    """

    def __init__(self, session: Session, on_date: Callable[[str], None] = lambda _: None) -> None:
        self._session = session
        self._on_date = on_date

    @property
    def token(self) -> str:
        return self._session.token

    async def request(self, lane: Lane, path: str, body: Body) -> object:
        if lane is Lane.FAST:
            return await self._by_connections(path, body)
        return await self._by_sdk(path, body)

    async def _by_connections(self, path: str, body: Body) -> object:
        session = self._session
        answered = await session.connections.post(path, body, session.token)
        if answered.date is not None:
            self._on_date(answered.date)
        status = answered.status
        if 200 <= status < 300:
            return answered.body
        raise StatusError(status, _said(status, answered.text), answered.retry_after)

    async def _by_sdk(self, path: str, body: Body) -> object:
        client = self._session.client
        await _watch_answers(client)
        seen = _Seen()
        token = _seen.set(seen)
        try:
            return await ask_once(client, path, dict(body))
        except Exception as error:
            if seen.status is None or 200 <= seen.status < 300:
                raise
            detail = "" if seen.status in (401, 429) else str(error)
            raise StatusError(seen.status, detail, seen.retry_after) from error
        finally:
            _seen.reset(token)
            if seen.date is not None:
                self._on_date(seen.date)

    async def renew(self, stale_token: str) -> object:
        return await self._session.renew(stale_token)


def _said(status: int, text: str) -> str:
    """Return the gateway's message for a status; empty for 401 and 429."""
    if status in (401, 429):
        return ""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text[:200]
    if isinstance(told, dict):
        told = told.get("message") or told.get("error") or told.get("title") or ""
    return str(told)[:200]


async def _watch_answers(client: Any) -> None:
    # Before each request, as the SDK may have replaced its client. The request runs in a task of
    # its own, which inherits the context and therefore shares `_seen`.
    hooks = (await client._ensure_client()).event_hooks["response"]
    if _note_status not in hooks:
        hooks.append(_note_status)
