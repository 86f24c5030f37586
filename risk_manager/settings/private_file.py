"""Files written whole or not at all, and files that only their owner may read."""

import contextlib
import os
import re
import secrets
import stat
import subprocess
import tempfile
from pathlib import Path

OWNER_ONLY = 0o600
# Everyone, the signed-in users, all users of the machine, and guests, by their short and long names
# in a security descriptor.
_MANY = {
    "WD": "everyone", "S-1-1-0": "everyone",
    "AU": "every signed-in user", "S-1-5-11": "every signed-in user",
    "BU": "every user of this machine", "S-1-5-32-545": "every user of this machine",
    "BG": "guests", "S-1-5-32-546": "guests",
    "AN": "anonymous users", "S-1-5-7": "anonymous users",
    "IU": "every user at this machine", "S-1-5-4": "every user at this machine",
}  # fmt: skip
_ENTRY = re.compile(r"\(A;[^;]*;([^;]*);[^;]*;[^;]*;([^;)]+)\)")
_MAY_READ = re.compile(r"FA|FR|GA|GR|KA|KR|CC|0x[0-9a-fA-F]+")


def replace_file(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace a file atomically; a link keeps pointing to it. Raises OSError.

    Without `mode` the permissions of the old file are kept.
    """
    path = path.resolve()
    if mode is None:
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(path.stat().st_mode)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None and os.name == "posix":
            fresh.chmod(mode)
        os.replace(fresh, path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, in a folder that is made if needed.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, content, mode=OWNER_ONLY)
    if os.name == "nt":
        user = os.environ.get("USERNAME", "")
        _icacls(str(path), "/inheritance:r", "/grant:r", f"{user}:F")


def who_else_may_read(path: Path) -> str | None:
    """Return who besides the owner may read a file, in words; None if nobody may.

    On Windows administrators and the system always may, and do not count. Raises OSError.
    """
    if os.name == "posix":
        mode = stat.S_IMODE(path.stat().st_mode)
        return "others" if mode & 0o077 else None
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "acl"
        _icacls(str(path), "/save", str(saved))
        return readers_in(saved.read_bytes().decode("utf-16", errors="replace"))


def readers_in(descriptor: str) -> str | None:
    """Return which group of many users a Windows security descriptor lets read; None for none."""
    for rights, who in _ENTRY.findall(descriptor):
        if who in _MANY and _MAY_READ.search(rights):
            return _MANY[who]
    return None


def _icacls(*words: str) -> None:
    done = subprocess.run(["icacls", *words], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, "its access list cannot be read or set with icacls")
