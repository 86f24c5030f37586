"""Decides at the handshake whether a connection is let in, and counts the connections."""

from collections.abc import Mapping

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from risk_manager.feed.access import ADMIN_PATH, refusal
from risk_manager.feed.admin import MAX_ADMIN_FRAME, AdminChannel
from risk_manager.feed.connection_closing import ConnectionCloser
from risk_manager.feed.messages import CLOSED_SLOW

MAX_READERS = 16
MAX_ADMINS = 16

log = structlog.get_logger(__name__)


class Admission:
    """Refuses strangers, and keeps the connections of each path within their limit."""

    def __init__(self, admin: AdminChannel | None, closer: ConnectionCloser) -> None:
        self._admin = admin
        self._closer = closer
        self._hosts: frozenset[str] = frozenset()
        self._tokens: Mapping[str, str] = {}
        self._admitted: dict[ServerConnection, None] = {}  # the oldest first

    def begin(self, hosts: frozenset[str], tokens: Mapping[str, str]) -> None:
        """Accept these Host headers and the secret of each path. Before, all are refused."""
        self._hosts = hosts
        self._tokens = tokens

    @property
    def admitted(self) -> list[ServerConnection]:
        """The connections let in and not yet ended, the oldest first."""
        return list(self._admitted)

    def answer(self, ws: ServerConnection, request: Request) -> Response | None:
        """Return the refusal of a handshake; None when the connection is let in."""
        path = path_of(request)
        turned_away = refusal(path, request.headers, hosts=self._hosts, tokens=self._tokens)
        if turned_away is not None:
            log.warning("feed_refused", status=int(turned_away[0]), path=path[:64])
            return ws.respond(*turned_away)
        same = [c for c in self._admitted if path_of(c.request) == path]
        if path == ADMIN_PATH:
            ws.protocol.max_message_size = MAX_ADMIN_FRAME
            self._make_room_for_an_order(same)
        elif len(same) >= MAX_READERS:
            return ws.respond(503, f"there are {MAX_READERS} connections already\n")
        # Counted from the handshake on, so that a burst of handshakes cannot exceed the limit.
        self._admitted[ws] = None
        ws.connection_lost_waiter.add_done_callback(lambda _: self.ended(ws))
        return None

    def ended(self, ws: ServerConnection) -> None:
        """Free the place of a connection that has ended."""
        self._admitted.pop(ws, None)

    def _make_room_for_an_order(self, admins: list[ServerConnection]) -> None:
        """Close one admin connection, so that an order to close everything always gets in.

        The oldest connection is closed, preferably one without a running request. A request it has
        made is still carried out.
        """
        admin = self._admin
        if len(admins) < MAX_ADMINS or admin is None:
            return
        oldest = next((c for c in admins if not admin.is_asking(c)), admins[0])
        self.ended(oldest)
        log.warning("admin_connection_let_go")
        self._closer.close_soon(
            oldest, CLOSED_SLOW, "a newer connection needs the place", name="admin end"
        )


def path_of(request: Request | None) -> str:
    """Return the path of a request without its query."""
    return request.path.partition("?")[0] if request is not None else ""
