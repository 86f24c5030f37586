"""Access control: each HTTP request is checked before anything is sent over the feed."""

from collections.abc import Mapping
from hmac import compare_digest
from http import HTTPStatus
from typing import Protocol

FEED_PATH = "/feed"
ADMIN_PATH = "/admin"


class Headers(Protocol):
    def get_all(self, key: str) -> list[str]: ...


Refusal = tuple[HTTPStatus, str]


def refusal(
    path: str, headers: Headers, *, hosts: frozenset[str], tokens: Mapping[str, str]
) -> Refusal | None:
    """Return why this request is refused; None when it is accepted.

    `tokens` maps each existing path to its secret.
    """
    if headers.get_all("Origin"):
        # Browsers are refused, so that a web page the trader visits cannot connect.
        return HTTPStatus.FORBIDDEN, "web pages may not connect\n"
    given = headers.get_all("Host")
    if len(given) != 1 or given[0].lower() not in hosts:
        return HTTPStatus.FORBIDDEN, "this host name is not served here\n"
    token = tokens.get(path)
    if token is None:
        return HTTPStatus.NOT_FOUND, "no such path; there is /feed\n"
    shown = headers.get_all("Authorization")
    if len(shown) != 1 or not compare_digest(shown[0].encode(), f"Bearer {token}".encode()):
        return HTTPStatus.UNAUTHORIZED, "the token is missing or is not the one of this run\n"
    return None


def host_names(port: int) -> frozenset[str]:
    """Return the accepted Host headers: names of this machine, with this port."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
