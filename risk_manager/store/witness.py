"""What the user's state folder keeps of each account, whatever becomes of the data folder.

One small file per gateway and account, beside the account lock files: the locks in force, the
limits agreed to, and how far the record of the database was. It follows the database, so it may be
behind it and is never ahead: a database that continues from there needs nothing of it.
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
    """How far a database was: its last audit row, and its last seal."""

    seq: int
    digest: str
    seal_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What is known of one account. `database_id` is the database that said so last.

    `reached` are that one and those before it, the newest last. `limits` is the text of a
    commitment. `had_locks`: something that was in force may be lost, and nobody can tell what.
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
    """The files of the accounts that are guarded; reads what is there before it writes any."""

    def __init__(self, folder: Path, gateway: str) -> None:
        self._folder = folder
        self._gateway = gateway
        self._known: dict[int, Witness] = {}
        self._account_ids: set[int] = set()
        self.limits = ""
        """What is in force by now; empty until that is known, and none is written before."""

    def path(self, account_id: int) -> Path:
        return self._folder / f"{self._gateway}-{account_id}.json"

    def read(self, account_id: int) -> Witness | None:
        """None where there is none. Raises ValueError or OSError for one that cannot be read."""
        try:
            text = self.path(account_id).read_text("utf-8")
        except FileNotFoundError:
            found = None
        else:
            found = self._known[account_id] = _WITNESS.validate_json(text)
        return found

    def follow(self, account_ids: Iterable[int]) -> None:
        """From now on what is known of these accounts is kept."""
        self._account_ids |= set(account_ids)

    def due(
        self, database_id: str, reached: Reached, locks: Iterable[Lock], *, had_locks: bool
    ) -> dict[int, Witness]:
        """The files that do not say so yet, how far the record is aside."""
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
        """Every file as it is, with how far the record is by now."""
        return {
            account_id: replace(known, reached=_with(known, database_id, reached))
            for account_id, known in self._known.items()
            if known.database_id == database_id and known.reached.get(database_id) != reached
        }

    def write(self, fresh: Mapping[int, Witness]) -> None:
        """Replace these files, each in one step. Raises OSError."""
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
