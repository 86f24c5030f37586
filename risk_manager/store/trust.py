"""Whether the database is the one that was left, and which sources are believed if it is not."""

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from risk_manager.domain.locks import Lock
from risk_manager.store import audit
from risk_manager.store.batch import PUT_META
from risk_manager.store.finding import (
    ALL_LOCKED,
    STAYS_LOCKED,
    UNRECONCILED,
    OpenedAs,
    unreconciled,
)
from risk_manager.store.lock_sources import put_back, readable_locks, strictest_of_each
from risk_manager.store.opening import Opened
from risk_manager.store.tamper_digest import SealedTables, digest_of_note
from risk_manager.store.witness import Reached, Witness
from risk_manager.store.writer import Writer


class Trust:
    """The findings of the opening, and the knowledge of sources other than the database.

    `needs_reconciling`: the state must be rebuilt from the broker before it is trusted.
    `had_locks`: unknown locks that were in force may have been lost.
    """

    def __init__(self, path: Path) -> None:
        self.opened_as = OpenedAs.FRESH
        self.opened_why = ""
        self.had_locks = False
        self.needs_reconciling = False
        self.last_clean_stop: datetime | None = None
        self._path = path
        self._database_id = ""
        self._seal_number = 0
        self._last_seal: SealedTables | None = None
        self._notes_put: dict[str, str] = {}

    def take_up(self, opened: Opened) -> None:
        """Take over the findings about a database that was opened."""
        self.opened_as = opened.opened_as
        self.opened_why = opened.why
        self.had_locks = opened.had_locks
        self.last_clean_stop = opened.last_clean_stop
        self.needs_reconciling = not opened.opened_as.is_trusted
        self._database_id = opened.database_id
        self._seal_number = opened.seal_number
        if self._last_seal is None:
            self._last_seal = opened.last_seal

    def note_was_put(self, key: str, value: str) -> None:
        """Note that this run has written the note itself."""
        self._notes_put[key] = value

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        """Whether a note in a suspicious database is the one last sealed, as far as known."""
        if self._last_seal is None or not self._last_seal.sums:
            return True
        if key in self._notes_put:
            return value == self._notes_put[key]
        known = self._last_seal.sums.get(f"note:{key}")
        if not value:
            return known in (None, digest_of_note(key, ""))
        return known == digest_of_note(key, value)

    def believe(
        self, known: Mapping[int, Witness], unread: Iterable[int], now: datetime, writer: Writer
    ) -> tuple[list[str], tuple[Lock, ...]]:
        """Put locks in force that only these witnesses know. To be run inside `Writer.once`.

        Returns the limits that the witnesses hold, and all locks then in force.
        """
        lost: list[Lock] = []
        limits: list[str] = []
        for account_id, witness in known.items():
            own = witness.reached.get(self._database_id)
            is_older = own is not None and not self._continues(writer.connection, own)
            if not is_older and witness.database_id == self._database_id:
                continue
            limits.append(witness.limits)
            lost += witness.locks_in_force()
            if is_older:
                lasting = "it had locks in force; " * bool(witness.locks)
                self._suspect(
                    OpenedAs.ROLLED_BACK,
                    f"{self._path} is older than it was when it guarded account {account_id}: "
                    f"{lasting}{STAYS_LOCKED}",
                    had_locks=witness.had_locks or bool(witness.locks),
                )
            elif witness.locks:
                self._suspect(
                    OpenedAs.ELSEWHERE,
                    f"account {account_id} was last guarded with another data folder than "
                    f"{self._path.parent}; its locks hold here as well",
                    had_locks=witness.had_locks,
                )
        names = ", ".join(map(str, unread))
        if names and self.opened_as.knows_nothing:
            why = f"what is kept of account {names} beside its lock file cannot be read"
            self._suspect(OpenedAs.ELSEWHERE, f"{why}; {ALL_LOCKED}", had_locks=True)
        if lost:
            held = readable_locks(writer.connection)
            put_back(writer, strictest_of_each([*held, *lost]), now)
        if self.needs_reconciling:
            note = unreconciled(self.opened_as, self.opened_why, self.had_locks, self._last_seal)
            writer.connection.execute(PUT_META, (UNRECONCILED, note))
        return list(dict.fromkeys(limits)), tuple(readable_locks(writer.connection))

    def _continues(self, connection: sqlite3.Connection, reached: Reached) -> bool:
        """Whether this database contains the state reached then and continues from it."""
        head = audit.head_of(connection)
        if head.seq < reached.seq or self._seal_number < reached.seal_number:
            return False
        row = connection.execute("SELECT hash FROM audit WHERE id = ?", (reached.seq,)).fetchone()
        return row is None or bool(row[0] == reached.digest)

    def _suspect(self, opened_as: OpenedAs, why: str, *, had_locks: bool) -> None:
        """Mark the database as suspicious, unless it is so already for another reason."""
        if not self.needs_reconciling:
            self.opened_as, self.opened_why, self.had_locks = opened_as, why, False
        elif why not in self.opened_why:
            self.opened_why += f"; {why}"
        self.needs_reconciling = True
        self.had_locks |= had_locks
