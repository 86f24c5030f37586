"""Setting and trying the admin password, through the daemon or while it is stopped."""

import asyncio
from pathlib import Path

from risk_manager.admin.daemon_line import ToDaemon, ask_daemon
from risk_manager.admin.password import (
    HASH_FILE,
    fits,
    hashed,
    problem_with,
    read_hash,
    write_hash,
)
from risk_manager.feed.client import AdminRefused, FeedUnreachable


class NotChanged(Exception):
    """The password cannot be set. Nothing was changed; the message says why."""


def kept_hash(data: Path) -> str | None:
    """Return the hash in the data folder; None if no password is set. Raises NotChanged."""
    try:
        return read_hash(data / HASH_FILE)
    except PermissionError:
        raise
    except OSError as error:
        raise NotChanged(f"{data / HASH_FILE} cannot be read: {error.strerror}") from None


def problem_with_new(old: str | None, new: str) -> str | None:
    """Return why this cannot be the new password; None if it can. `old` is None for the first."""
    if (problem := problem_with(new)) is not None:
        return problem
    return "the new password is the old one; nothing was changed" if new == old else None


async def give_password(data: Path, daemon: ToDaemon, old: str | None, new: str) -> str:
    """Set a password. Returns in a sentence from when it counts. `old` is None for the first.

    Raises AdminRefused or NotChanged.
    """
    try:
        await ask_daemon(daemon, "set_password", {"old": old, "new": new})
    except FeedUnreachable:
        return await asyncio.to_thread(_give_without_daemon, data, old, new)
    return "the admin password is set" if old is None else "the admin password is changed"


def _give_without_daemon(data: Path, old: str | None, new: str) -> str:
    """Set a password while the daemon is stopped. A first one counts from the next start, a
    changed one only after a reset."""
    path = data / HASH_FILE
    try:
        kept = read_hash(path)
        if kept is not None and not fits(old or "", kept):
            raise NotChanged("that is not the admin password")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_hash(path, hashed(new))
    except OSError as error:
        raise NotChanged(f"{path} cannot be written: {error.strerror}") from None
    if kept is None:
        return "the admin password is set; it counts from the daemon's next start"
    return (
        "the admin password is changed; as the daemon does not run, the old one counts until a "
        "start after the next reset"
    )


async def is_password_set(data: Path, daemon: ToDaemon) -> bool:
    """Whether the daemon, or without one the data folder, has an admin password.

    Raises AdminRefused or NotChanged.
    """
    try:
        async with daemon.line() as line:
            return await line.needs_password()
    except FeedUnreachable:
        return await asyncio.to_thread(kept_hash, data) is not None


async def try_password(data: Path, daemon: ToDaemon, password: str) -> None:
    """Check the admin password. With a daemon a wrong one is counted and recorded there.

    Raises AdminRefused; its code is `wrong_password` for a wrong one. Raises NotChanged if it
    cannot be checked.
    """
    try:
        async with daemon.line() as line:
            await line.log_in(password)
    except FeedUnreachable:
        kept = await asyncio.to_thread(kept_hash, data)
        if kept is not None and not await asyncio.to_thread(fits, password, kept):
            raise AdminRefused("wrong_password", "that is not the admin password") from None
