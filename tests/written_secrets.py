"""Finds keys and tokens of the practice gateway and of the feed in what a test run has written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ALERT_SECRET = "Zq7-planted-9981-token"
"""Stands in each address that alerts of a test go to."""
PATTERNS = {
    "key": re.compile(rb"practice-key-[0-9a-f]{12}"),
    "token": re.compile(rb"eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}"),
    "access token": re.compile(rb"risk-manager-(?:feed|admin)-[\w-]{43}"),
    "alert address": re.compile(re.escape(ALERT_SECRET.encode())),
}
KEEPS_ONE = ("gateway.key", "api.key", "feed.token", "admin.token")
"""Files that exist to hold a key or a token."""


class Found(NamedTuple):
    file: Path
    kind: str


def kinds_in(content: bytes) -> list[str]:
    """The kinds of secrets that stand in a text."""
    return [kind for kind, pattern in PATTERNS.items() if pattern.search(content)]


def masked(content: str) -> str:
    """The text without the secrets in it."""
    kept = content.encode(errors="surrogateescape")
    for kind, pattern in PATTERNS.items():
        kept = pattern.sub(f"<{kind}>".encode(), kept)
    return kept.decode(errors="surrogateescape")


def secrets_in(folder: Path) -> Iterator[Found]:
    """Yield each file below a folder that has a secret in it."""
    for file in sorted(folder.rglob("*")):
        if file.name in KEEPS_ONE or file.is_symlink() or not file.is_file():
            continue
        try:
            content = file.read_bytes()
        except OSError:
            continue  # closed to everybody by its test
        for kind in kinds_in(content):
            yield Found(file, kind)
