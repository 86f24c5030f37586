"""The admin channel: requests and replies over one connection, in order.

`{"id": 1, "method": "status", "params": {}}` is answered by `{"id": 1, "result": {...}}` or
`{"id": 1, "error": {"code": "...", "message": "..."}}`. The verbs themselves are the daemon's.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from websockets.asyncio.server import ServerConnection

MAX_ADMIN_FRAME = 65_536

log = structlog.get_logger(__name__)


class AdminError(Exception):
    """A request is refused. `code` is stable, for scripts; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class AdminSession:
    """One administrator's connection. The `login` verb sets `logged_in` until it closes."""

    peer: str
    logged_in: bool = False


AdminHandle = Callable[[str, dict[str, Any], AdminSession], Awaitable[dict[str, Any]]]
"""Carries out one verb: (method, params, session) -> result. Raises AdminError to refuse."""


def _no_password() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class AdminChannel:
    """The handler, and the verbs allowed before `login` while a password is set."""

    handle: AdminHandle
    login_required: Callable[[], bool] = _no_password
    open_methods: frozenset[str] = frozenset({"login"})
    _asking: set[ServerConnection] = field(default_factory=set)

    def is_asking(self, ws: ServerConnection) -> bool:
        """Whether a request of this connection is being carried out."""
        return ws in self._asking

    async def serve(self, ws: ServerConnection) -> None:
        """Answer requests one after the other until the connection ends."""
        session = AdminSession(peer=_peer(ws))
        async for frame in ws:
            self._asking.add(ws)
            try:
                answer = await self._answer(frame, session)
            finally:
                self._asking.discard(ws)
            await ws.send(orjson.dumps(answer, default=str), text=True)

    async def _answer(self, frame: str | bytes, session: AdminSession) -> dict[str, Any]:
        request_id: int | str | None = None
        try:
            request = _request(frame)
            request_id = request["id"]
            method, params = request["method"], request.get("params") or {}
            if method not in self.open_methods and self.login_required() and not session.logged_in:
                raise AdminError("login_required", "an admin password is set: log in first")
            return {"id": request_id, "result": await self.handle(method, params, session)}
        except AdminError as error:
            return {"id": request_id, "error": {"code": error.code, "message": error.message}}
        except Exception as error:  # an error in one verb must not end the channel or the daemon
            log.exception("admin_verb_failed", request_id=request_id)
            message = f"the daemon failed on this request ({type(error).__name__}); see its log"
            return {"id": request_id, "error": {"code": "internal", "message": message}}


def _request(frame: str | bytes) -> dict[str, Any]:
    try:
        request = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise AdminError("bad_request", f"not JSON: {error}") from None
    if not isinstance(request, dict):
        raise AdminError("bad_request", "a request is an object with id, method and params")
    if not isinstance(request.get("id"), int | str):
        raise AdminError("bad_request", "`id` must be a number or a string")
    if not isinstance(request.get("method"), str):
        raise AdminError("bad_request", "`method` must be a string")
    if not isinstance(request.get("params") or {}, dict):
        raise AdminError("bad_request", "`params` must be an object")
    return request


def _peer(ws: ServerConnection) -> str:
    address = ws.remote_address
    return f"{address[0]}:{address[1]}" if address else "unknown"
