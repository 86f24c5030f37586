"""Access control of the served screen: each HTTP request is checked before anything else is done.

Others than the trader can reach a page on this machine: every user of it, who may open any local
port, and every web page that the trader visits. So the address has a key that nobody can guess,
made anew at each start, and a request must name this very address as its host and, where it has an
origin, as its origin.
"""

from collections.abc import Sequence
from hmac import compare_digest
from http import HTTPStatus
from typing import Protocol

from aiohttp import hdrs

HOST = "127.0.0.1"


class Headers(Protocol):
    def getall(self, key: str, default: Sequence[str]) -> Sequence[str]: ...


Refusal = tuple[HTTPStatus, str]


def refusal(method: str, path: str, headers: Headers, *, port: int, key: str) -> Refusal | None:
    """Return why this request is refused; None when it is accepted."""
    host = f"{HOST}:{port}"
    # A name that an attacker controls may resolve to this machine: only the address is let in.
    if list(headers.getall(hdrs.HOST, ())) != [host]:
        return HTTPStatus.FORBIDDEN, f"open the address as it was printed, at {HOST}\n"
    if any(origin != f"http://{host}" for origin in headers.getall(hdrs.ORIGIN, ())):
        return HTTPStatus.FORBIDDEN, "other web pages may not connect\n"
    if method != hdrs.METH_GET:
        return HTTPStatus.METHOD_NOT_ALLOWED, "there is nothing to write to\n"
    shown = path.removeprefix("/").partition("/")[0]
    if not compare_digest(shown.encode(), key.encode()):
        return HTTPStatus.NOT_FOUND, "not found; the address has a key, see where it was started\n"
    return None


def guarding_headers(port: int) -> dict[str, str]:
    """Headers of every answer: the page loads nothing from elsewhere, tells its address to nobody,
    is framed by nobody, and is kept in no cache."""
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            f"font-src 'self'; img-src 'self' data:; connect-src ws://{HOST}:{port}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
