"""Whether this user may look into a data folder, and what to do where he may not."""

import os
from pathlib import Path


def closed_to_us(data: Path) -> str | None:
    """Why this user cannot look into a folder, with the fix; None where he can, or there is none.

    Files inside may still be closed: that is found when they are read.
    """
    try:
        os.stat(data / "daemon.json")
    except PermissionError:
        return denied(data)
    except OSError:
        return None
    return None


def denied(data: Path, path: Path | None = None) -> str:
    """One line for what this user may not read; `path` is the part of the folder that it was."""
    owner, is_ours = _owner(data)
    what = f"the data folder {data}" if path is None else f"{path} in the data folder {data}"
    if is_ours:
        fix = f"its mode does not let its own owner in; run: chmod -R u+rwX {data}"
    else:
        fix = f"run this as {owner}, or give --data a folder of your own"
    return f"{what} is closed to this user; {fix}"


def _owner(data: Path) -> tuple[str, bool]:
    """Who owns the folder, in words, and whether it is us."""
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
