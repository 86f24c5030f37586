"""Witness files: facts about each account kept in the user's state folder, in case the data folder
is lost.

There is one small file per gateway and account, beside the account lock files. It holds the locks
in force, the limits agreed to, and how far the database had come. It is written after the database,
so it may be behind but never ahead of it. A database that continues from there does not need it.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from risk_manager.domain.locks import Lock
from risk_manager.store.sidecar_files import locks_of, replace_file, written_lock

HEADS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a database had come: its last audit row and its last seal."""

    seq: int
    digest: str
    seal_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """The facts kept about one account. `database_id` is the database that wrote them last.

    `reached` says how far that database and earlier ones had come, the newest last. `limits` is the
    text of a commitment. `had_locks`: unknown locks that were in force may have been lost.
    """

    database_id: str
    reached: Mapping[str, Reached]
    had_locks: bool = False
    locks: tuple[str, ...] = ()
    limits: str = ""

    def locks_in_force(self) -> list[Lock]:
        return locks_of(self.locks)


_WITNESS = TypeAdapter(Witness)


class Witnesses:
    """The files of the guarded accounts. Existing files are read before any is written."""

    def __init__(self, folder: Path, gateway: str) -> None:
        self._folder = folder
        self._gateway = gateway
        self._known: dict[int, Witness] = {}
        self._account_ids: set[int] = set()
        self.limits = ""
        """The limits in force. Empty until they are known; no file is written before that."""

    def path(self, account_id: int) -> Path:
        return self._folder / f"{self._gateway}-{account_id}.json"

    def read(self, account_id: int) -> Witness | None:
        """Return the witness; None where there is none. Raises ValueError or OSError if it cannot
        be read."""
        try:
            text = self.path(account_id).read_text("utf-8")
        except FileNotFoundError:
            found = None
        else:
            found = self._known[account_id] = _WITNESS.validate_json(text)
        return found

    def follow(self, account_ids: Iterable[int]) -> None:
        """Keep files for these accounts from now on."""
        self._account_ids |= set(account_ids)

    def due(
        self, database_id: str, reached: Reached, locks: Iterable[Lock], *, had_locks: bool
    ) -> dict[int, Witness]:
        """Return new content for the files that are out of date, ignoring `reached`."""
        if not self.limits:
            return {}
        by_account: dict[int, list[str]] = {i: [] for i in self._account_ids}
        for lock in locks:
            if lock.account_id in by_account:
                by_account[lock.account_id].append(written_lock(lock))
        due = {}
        for account_id, own in by_account.items():
            known = self._known.get(account_id)
            fresh = Witness(
                database_id=database_id,
                reached=_with(known, database_id, reached),
                had_locks=had_locks,
                locks=tuple(sorted(own)),
                limits=self.limits,
            )
            if known is None or replace(fresh, reached=known.reached) != known:
                due[account_id] = fresh
        return due

    def moved_on(self, database_id: str, reached: Reached) -> dict[int, Witness]:
        """Return the content of every file with `reached` brought up to date."""
        return {
            account_id: replace(known, reached=_with(known, database_id, reached))
            for account_id, known in self._known.items()
            if known.database_id == database_id and known.reached.get(database_id) != reached
        }

    def write(self, fresh: Mapping[int, Witness]) -> None:
        """Replace these files, each atomically. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for account_id, witness in fresh.items():
            replace_file(self.path(account_id), json.loads(_WITNESS.dump_json(witness)))
            if os.name == "posix":
                self.path(account_id).chmod(0o600)
            self._known[account_id] = witness


def _with(known: Witness | None, database_id: str, reached: Reached) -> dict[str, Reached]:
    before = {} if known is None else known.reached
    heads = {i: r for i, r in before.items() if i != database_id}
    return dict([*heads.items(), (database_id, reached)][-HEADS_KEPT:])
