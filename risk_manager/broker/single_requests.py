"""One request over REST, sent once: enforcement and reads each by connections of their own."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

import orjson

from risk_manager.broker.replies import StatusError
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
    """The part of the gateway session used here: the connections, and the login they share."""

    connections: WarmConnections
    read_connections: WarmConnections

    @property
    def token(self) -> str: ...

    async def renew(self, stale_token: str | None = None) -> str: ...


class SessionGateway:
    """Sends single requests without any retry. Reads never occupy a connection of enforcement.

    `on_date` receives the Date header of every answer.
    """

    def __init__(self, session: Session, on_date: Callable[[str], None] = lambda _: None) -> None:
        self._session = session
        self._on_date = on_date

    @property
    def token(self) -> str:
        return self._session.token

    async def request(self, lane: Lane, path: str, body: Body) -> object:
        session = self._session
        connections = session.connections if lane is Lane.FAST else session.read_connections
        answered = await connections.post(path, body, session.token)
        if answered.date is not None:
            self._on_date(answered.date)
        status = answered.status
        if 200 <= status < 300:
            return answered.body
        raise StatusError(status, _said(status, answered.text), answered.retry_after)

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
