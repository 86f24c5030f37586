"""Finds keys and session tokens of the practice gateway in whatever a test run has written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

KEY = re.compile(rb"practice-key-[0-9a-f]{12}")
TOKEN = re.compile(rb"eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}")
KEEPS_ONE = ("gateway.key", "api.key")
"""Files that exist to hold a key."""


class Found(NamedTuple):
    file: Path
    kind: str


def secrets_in(folder: Path) -> Iterator[Found]:
    """Yield each file below a folder that has a key or a token in it."""
    for file in sorted(folder.rglob("*")):
        if file.name in KEEPS_ONE or file.is_symlink() or not file.is_file():
            continue
        try:
            content = file.read_bytes()
        except OSError:
            continue  # closed to everybody by its test
        for kind, pattern in (("key", KEY), ("token", TOKEN)):
            if pattern.search(content):
                yield Found(file, kind)
