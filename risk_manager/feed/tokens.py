"""The access tokens of readers and administrators, made anew at each start."""

import contextlib
import os
import secrets
from pathlib import Path

FEED_TOKEN = "feed.token"
ADMIN_TOKEN = "admin.token"


def issue_token(path: Path) -> str:
    """Write a new token to a file that only its owner may read, and return it.

    The token is 32 random bytes as url-safe text, behind a prefix such as "risk-manager-feed-". By
    the prefix people, secret scanners and the masking of the log recognise it wherever it stands.
    The file is replaced atomically, so a reader never sees half a token. On Windows the mode has no
    meaning, and the folder's own permissions decide.
    """
    token = f"risk-manager-{path.stem}-{secrets.token_urlsafe(32)}"
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return token


def read_token(path: Path) -> str:
    """The token in a file. Raises OSError where it cannot be read."""
    return path.read_text(encoding="ascii", errors="replace").strip()
