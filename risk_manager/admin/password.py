"""The administrator's password: stored as an argon2id hash and checked in the daemon, with growing
pauses after failures.

The hash is in the data folder (`admin.hash`, mode 0600), with a copy in the database. Removing or
replacing the file while the daemon is stopped gains nothing: the copy counts until the next reset.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol

import structlog

from risk_manager.clock import Clock
from risk_manager.feed.admin import AdminError

HASH_FILE = "admin.hash"
SHORTEST = 12
LONGEST_BYTES = 1024
LONGEST_WAIT = timedelta(minutes=15)
FREE_TRIES = 3
NOBODY = "!"
"""Stored in place of a hash that is lost. No password matches it."""

log = structlog.get_logger("risk_manager.admin")


class Notes(Protocol):
    """The notes of the store."""

    async def get(self, key: str) -> str | None: ...

    def is_as_sealed(self, key: str, value: str | None) -> bool: ...

    async def put(self, key: str, value: str) -> bool: ...


class PasswordStore(Protocol):
    """The part of the store that is used here."""

    @property
    def notes(self) -> Notes: ...

    async def audit(
        self,
        actor: str,
        action: str,
        target: str,
        *,
        new: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class PasswordKind:
    """The place of a password, the words about it, and the codes of its refusals.

    `notes` begins the keys of its notes, `actor` is who gives it, `given_as` its audit action.
    """

    file: str
    notes: str
    name: str
    actor: str
    given_as: str
    changed_as: str
    missing: tuple[str, str]
    wrong: str
    too_soon: str

    @property
    def hash_note(self) -> str:
        return f"{self.notes}_hash"

    @property
    def failures_note(self) -> str:
        return f"{self.notes}_failures"

    @property
    def waiting_note(self) -> str:
        return f"{self.notes}_hash_waiting"


ADMIN = PasswordKind(
    file=HASH_FILE,
    notes="admin",
    name="admin password",
    actor="admin",
    given_as="login",
    changed_as="password",
    missing=("password_missing", "no password was given"),
    wrong="wrong_password",
    too_soon="too_many_tries",
)


def problem_with(password: str) -> str | None:
    """Return why this is not acceptable as a password; None if it is."""
    if len(password) < SHORTEST:
        return f"a password has at least {SHORTEST} characters"
    if len(password.encode("utf-8", "surrogatepass")) > LONGEST_BYTES:
        return f"a password has at most {LONGEST_BYTES} bytes"
    return None


def hashed(password: str) -> str:
    """Return the argon2id hash. Takes a tenth of a second, so not to be run on the event loop."""
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def fits(password: str, kept: str) -> bool:
    """Whether the password matches a hash. Takes as long as hashing."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def read_hash(path: Path) -> str | None:
    """The hash in a file; None where there is none. Raises OSError."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except FileNotFoundError:
        return None


def write_hash(path: Path, kept: str) -> None:
    """Replace the file, for its owner only. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(kept + "\n")
    fresh.replace(path)


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int = 0
    last_at: datetime | None = None

    def wait(self) -> timedelta:
        """The pause after the last failure: none at first, then one second, doubling."""
        if self.count < FREE_TRIES:
            return timedelta(0)
        return min(timedelta(seconds=2 ** min(self.count - FREE_TRIES, 20)), LONGEST_WAIT)


class AdminPassword:
    """The password check of the daemon. `load` must run before the admin channel opens."""

    kind: ClassVar[PasswordKind] = ADMIN

    def __init__(
        self,
        store: PasswordStore,
        data_dir: Path,
        clock: Clock,
        trading_date: Callable[[], date | None],
    ) -> None:
        self._store = store
        self._notes = store.notes
        self._path = data_dir / self.kind.file
        self._clock = clock
        self._trading_date = trading_date
        self._hash: str | None = None
        self._failures = _Failures()
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_set(self) -> bool:
        return self._hash is not None

    async def load(self) -> None:
        """Load the hash in force. Raises StoreError or OSError."""
        async with self._one_at_a_time:
            await self._load()

    async def _load(self) -> None:
        self._failures = _failures_of(await self._notes.get(self.kind.failures_note))
        kept = await self._notes.get(self.kind.hash_note) or None
        found = await asyncio.to_thread(read_hash, self._path)
        if not self._notes.is_as_sealed(self.kind.hash_note, kept):
            kept = await self._instead_of_edited(found)
        self._hash = kept if kept is not None else found
        if kept is None:
            if found is not None:
                await self._notes.put(self.kind.hash_note, found)
                await self._note("set")
        elif found != kept:
            await self._file_differs(kept, found)

    async def _instead_of_edited(self, found: str | None) -> str:
        """Return the hash to use when the stored copy was edited by another program.

        It is the file's hash if that is unchanged, else one that no password matches.
        """
        kept = found if found and self._notes.is_as_sealed(self.kind.hash_note, found) else NOBODY
        log.warning("password_note_edited", of=self.kind.actor, file_counts=kept is not NOBODY)
        await self._notes.put(self.kind.hash_note, kept)
        await self._note("edited", ok=False)
        return kept

    async def _file_differs(self, kept: str, found: str | None) -> None:
        """Handle a file that is not the stored copy."""
        await self._wait_for_the_reset(found)

    async def _wait_for_the_reset(self, found: str | None) -> None:
        """Make a changed hash file wait for the reset, as any loosening does."""
        today = self._trading_date()
        if today is None:
            return  # the trading date is not known yet; `load` runs again once it is
        text = await self._notes.get(self.kind.waiting_note)
        is_ours = self._notes.is_as_sealed(self.kind.waiting_note, text)
        waiting = json.loads(text) if text and is_ours else None
        if waiting is not None and waiting["hash"] == found:
            if today > date.fromisoformat(waiting["since"]):
                await self._keep(found, "changed_by_file")
            return
        log.warning("password_file_changed", of=self.kind.actor, removed=found is None)
        await self._notes.put(
            self.kind.waiting_note, json.dumps({"hash": found, "since": str(today)})
        )
        await self._note("file_changed", ok=False)

    async def log_in(self, password: object) -> None:
        """Check a password. Raises AdminError if it is wrong or tried too soon."""
        async with self._one_at_a_time:
            await self._check(password)

    async def change(self, old: object, new: object) -> None:
        """Set another password, or the first one. Raises AdminError."""
        async with self._one_at_a_time:
            if self._hash is not None:
                await self._check(old)
            if not isinstance(new, str):
                raise AdminError("bad_password", "the new password is missing")
            if (problem := problem_with(new)) is not None:
                raise AdminError("bad_password", problem)
            fresh = await asyncio.to_thread(hashed, new)
            try:
                await asyncio.to_thread(write_hash, self._path, fresh)
            except OSError as error:
                raise AdminError(
                    "unwritable", f"{self._path} cannot be written: {error.strerror}"
                ) from None
            await self._keep(fresh, "set")

    async def _check(
        self, password: object, *, target: str = "", about: dict[str, Any] | None = None
    ) -> None:
        kept, kind = self._hash, self.kind
        if kept is None:
            return
        if password is None or password == "":
            # A missing password does not count as a try.
            raise AdminError(*kind.missing)
        now, failures = self._clock.now(), self._failures
        if failures.last_at is not None:
            left = failures.last_at + failures.wait() - now
            if left > timedelta(0):
                raise AdminError(
                    kind.too_soon,
                    f"{failures.count} wrong {kind.name}s in a row; "
                    f"wait {left.total_seconds():.0f} s before the next try",
                )
        # Counted before the check, so that killing the process in between gains nothing.
        await self._count(_Failures(failures.count + 1, now))
        is_right = isinstance(password, str) and await asyncio.to_thread(fits, password, kept)
        await self._store.audit(
            kind.actor, kind.given_as, target or kind.actor, new=about, ok=is_right
        )
        if not is_right:
            log.warning("wrong_password_given", of=kind.actor, failures=self._failures.count)
            raise AdminError(kind.wrong, f"that is not the {kind.name}")
        await self._count(_Failures())

    async def _count(self, failures: _Failures) -> None:
        self._failures = failures
        at = failures.last_at.isoformat() if failures.last_at else None
        await self._notes.put(
            self.kind.failures_note, json.dumps({"count": failures.count, "at": at})
        )

    async def _keep(self, fresh: str | None, told_as: str) -> None:
        self._hash = fresh
        await self._notes.put(self.kind.hash_note, fresh or "")
        await self._notes.put(self.kind.waiting_note, "")
        await self._note(told_as)

    async def _note(self, told_as: str, *, ok: bool = True) -> None:
        """Audit what has become of the hash."""
        kind = self.kind
        await self._store.audit("admin", f"{kind.changed_as}.{told_as}", kind.actor, ok=ok)


def _failures_of(text: str | None) -> _Failures:
    if not text:
        return _Failures()
    try:
        stored = json.loads(text)
        at = stored["at"]
        return _Failures(int(stored["count"]), datetime.fromisoformat(at) if at else None)
    except (ValueError, KeyError, TypeError):
        return _Failures()
