"""Whether this user may read a data folder, what to do if not, and whether a daemon holds it."""

import os
from pathlib import Path

from filelock import FileLock, Timeout


def closed_to_us(data: Path) -> str | None:
    """Return why this user cannot read a folder, with the fix; None if readable or missing.

    Files inside may still be unreadable, which shows when they are read.
    """
    try:
        os.stat(data / "daemon.json")
    except PermissionError:
        return denied(data)
    except OSError:
        return None
    return None


def is_in_use(data: Path) -> bool:
    """Whether a daemon holds the data folder."""
    lock = data / "daemon.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def denied(data: Path, path: Path | None = None) -> str:
    """Return one line on what this user may not read; `path` is the file or folder concerned."""
    owner, is_ours = _owner(data)
    what = f"the data folder {data}" if path is None else f"{path} in the data folder {data}"
    if is_ours:
        fix = f"its mode does not let its own owner in; run: chmod -R u+rwX {data}"
    else:
        fix = f"run this as {owner}, or give --data a folder of your own"
    return f"{what} is closed to this user; {fix}"


def _owner(data: Path) -> tuple[str, bool]:
    """Return the owner of the folder, in words, and whether it is this user."""
    unknown = "the user who runs the daemon"
    try:
        uid = os.stat(data).st_uid
    except OSError:
        return unknown, False
    if os.name != "posix":
        return unknown, False
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"user {uid}"
    return f"{name} (who owns it)", uid == os.geteuid()
