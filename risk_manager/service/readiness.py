"""Whether the daemon can work as a service: what its user may not read, and keys it cannot see."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from risk_manager.admin.folder import is_in_use
from risk_manager.service.service import Service
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.secrets import SecretReference

KEEP_IN_A_FILE = "keep it in a file: risk-manager admin credentials set --store file:gateway.key"


def remarks(service: Service, user: str | None, configuration: Configuration) -> list[str]:
    """Return each thing that would keep the service from starting, with what to do.

    `user` runs the service; None where the manager makes one of its own.
    """
    gateway = configuration.settings.gateway
    found: list[str] = []
    places = [service.python, *sorted(service.config.glob("*.yaml"))]
    if gateway.kind == "projectx":
        for key, reference in (("username", gateway.username), ("api_key", gateway.api_key)):
            if isinstance(reference, str):
                continue  # the user name itself
            found.extend(_of_the_secret(f"gateway.{key}", reference))
            if reference.kind == "file":
                places.append(Path(reference.told(service.config)))
    if user is not None and os.name == "posix":
        uid, groups = _identity(user)
        for place in places:
            if place.exists() and (closed := _closed_at(place, uid, groups)) is not None:
                found.append(f"{user} may not read {place}; {_fix(closed, place, user)}")
    if is_in_use(service.data):
        found.append("a daemon holds the data folder now; stop it before the service is started")
    return found


def _of_the_secret(key: str, reference: SecretReference) -> Iterator[str]:
    if reference.kind == "env":
        yield f"{key} is {reference}, and a service does not see your variables; {KEEP_IN_A_FILE}"
    if reference.kind == "keyring":
        yield f"{key} is {reference}, and a key store belongs to one user; {KEEP_IN_A_FILE}"


def _fix(closed: Path, place: Path, user: str) -> str:
    if closed != place.resolve():
        return f"{closed} does not let it through"
    if stat.S_IMODE(closed.stat().st_mode) & 0o077:
        return "change its mode or its group"
    return f"run: chown {user} {place}"


def _identity(user: str) -> tuple[int, set[int]]:
    """Return a user's number and groups; a user still to be made has neither."""
    import grp
    import pwd

    try:
        known = pwd.getpwnam(user)
    except KeyError:
        return -1, set()
    return known.pw_uid, {known.pw_gid, *(g.gr_gid for g in grp.getgrall() if user in g.gr_mem)}


def _closed_at(place: Path, uid: int, groups: set[int]) -> Path | None:
    """Return the file, or the folder above it, whose mode keeps a user from reading the file."""
    if uid == 0:
        return None

    def has(path: Path, right: int) -> bool:
        found = path.stat()
        shift = 6 if found.st_uid == uid else 3 if found.st_gid in groups else 0
        return bool(found.st_mode >> shift & right)

    resolved = place.resolve()
    for folder in reversed(resolved.parents):
        if not has(folder, 1):
            return folder
    return None if has(resolved, 4) else resolved
