"""Makes sure that an address with a secret in it is masked wherever it may appear."""

import re
from urllib.parse import unquote, urlsplit

from risk_manager.redaction import conceal

_SHORTEST = 5
_PLAIN_HOST = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+)$")


def conceal_address(url: str) -> None:
    """Mask the address, and each of its parts that may be a token, from now on in every log."""
    for part in secret_parts(url):
        conceal(part)


def secret_parts(url: str) -> set[str]:
    """Return the whole address and its parts, without plain host names and numbers of ports."""
    parts = {url}
    _, _, rest = url.partition("://")
    if rest:
        parts.add(rest)
    path = rest.partition("?")
    login, has_login, behind = path[0].rpartition("@")
    if has_login:
        parts |= {login, *login.split(":")}
    host, _, tail = behind.partition("/")
    if not _PLAIN_HOST.fullmatch(host.partition(":")[0]):
        parts |= {host, *host.split(":")}
    if tail:
        parts |= {tail, *tail.split("/")}
    for pair in re.split(r"[&;]", path[2]):
        parts.add(pair.partition("=")[2])
    try:
        fragment = urlsplit(url).fragment
    except ValueError:
        fragment = ""
    parts.add(fragment)
    parts |= {unquote(part) for part in parts}
    return {part for part in parts if len(part) >= _SHORTEST}
