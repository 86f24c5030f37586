"""Keeps the files outside the database in step with what is durable in it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from risk_manager.clock import Clock
from risk_manager.store.connection import Connection
from risk_manager.store.memory import Memory
from risk_manager.store.sidecar_files import Marker, write_marker, written_lock
from risk_manager.store.trouble import Trouble
from risk_manager.store.trust import Trust
from risk_manager.store.witness import Reached, Witness, Witnesses

MIRROR_SEAL_EVERY = timedelta(seconds=10)
WITNESS_EVERY = timedelta(minutes=5)
"""How often the witness files are updated while no lock and no limit changes."""


class Mirror:
    """Writes the marker beside the database, and the witness files in the user's state folder.

    `gateway` is the one that the data comes from.
    """

    def __init__(
        self, connection: Connection, memory: Memory, trust: Trust, clock: Clock, trouble: Trouble
    ) -> None:
        self.gateway = ""
        self._connection = connection
        self._memory = memory
        self._trust = trust
        self._clock = clock
        self._trouble = trouble
        self._mirrored: Marker | None = None
        self._mirrored_at = 0.0
        self._witnesses: Witnesses | None = None
        self._witnessed_at = 0.0
        self._witness_trouble = ""

    # --- the marker ---

    async def write_marker(self) -> None:
        """Write the files beside the database if they are out of date."""
        marker = self.marker()
        if self._is_mirrored(marker):
            return
        try:
            await self._connection.aside(partial(write_marker, self._connection.path, marker))
        except OSError as error:
            path = self._connection.path
            self._trouble.report(f"the marker beside {path} cannot be written: {error}")
            return
        self._mirrored = marker
        self._mirrored_at = self._clock.monotonic()

    def marker(self) -> Marker:
        """Return the content that the files beside the database must have now."""
        head, sealed = self._connection.head, self._connection.sealed
        return Marker(
            database_id=self._connection.database_id,
            last_audit_seq=head.seq,
            last_audit_hash=head.hash,
            had_locks=self._may_have_locks(),
            seal_number=sealed.number,
            seal_content=sealed.content,
            locks=tuple(sorted(map(written_lock, self._memory.locks_in_force()))),
            gateway=self.gateway,
        )

    def _may_have_locks(self) -> bool:
        latest = self._memory.latest
        if latest is None:
            return self._trust.needs_reconciling or self._trust.had_locks
        locked = any(account.locks for account in latest.accounts.values())
        return locked or self._trust.needs_reconciling

    def _is_mirrored(self, marker: Marker) -> bool:
        """Whether the files are up to date enough. Locks count at once; a mere fill may wait."""
        known = self._mirrored
        if known is None or marker == known:
            return known is not None
        differs_beyond_the_seal = replace(marker, seal_number=0, seal_content="") != replace(
            known, seal_number=0, seal_content=""
        )
        waited_s = self._clock.monotonic() - self._mirrored_at
        return not differs_beyond_the_seal and waited_s < MIRROR_SEAL_EVERY.total_seconds()

    # --- the witnesses ---

    async def follow(
        self, witnesses: Witnesses, account_ids: Iterable[int]
    ) -> tuple[dict[int, Witness], list[int]]:
        """Keep the witness files of these accounts from now on.

        Returns their present content, and the accounts whose file cannot be read.
        """
        known: dict[int, Witness] = {}
        unread: list[int] = []
        for account_id in sorted(account_ids):
            try:
                found = await self._connection.aside(partial(witnesses.read, account_id))
            except (OSError, ValueError) as error:
                unread.append(account_id)
                self._trouble.report(f"{witnesses.path(account_id)} cannot be read: {error}")
            else:
                if found is not None:
                    known[account_id] = found
        witnesses.follow(account_ids)
        self._witnesses = witnesses
        return known, unread

    def now_in_force(self, limits: str) -> None:
        """Set the limits to store in the witness files, which are written from now on."""
        if self._witnesses is not None:
            self._witnesses.limits = limits

    async def write_witnesses(self, *, at_the_end: bool = False) -> None:
        """Update the witness files: at once after a change of locks or limits, else at times."""
        witnesses = self._witnesses
        if witnesses is None:
            return
        database_id, head = self._connection.database_id, self._connection.head
        reached = Reached(head.seq, head.hash, self._connection.sealed.number)
        due = witnesses.due(
            database_id,
            reached,
            self._memory.locks_in_force(),
            had_locks=self._trust.needs_reconciling,
        )
        waited_s = self._clock.monotonic() - self._witnessed_at
        if at_the_end or waited_s >= WITNESS_EVERY.total_seconds():
            self._witnessed_at = self._clock.monotonic()
            due = {**witnesses.moved_on(database_id, reached), **due}
        if not due:
            return
        trouble = ""
        try:
            await self._connection.aside(partial(witnesses.write, due))
        except OSError as error:
            trouble = (
                f"what is kept of the accounts outside the data folder cannot be written: {error}"
            )
        if trouble and trouble != self._witness_trouble:
            self._trouble.report(trouble)
        self._witness_trouble = trouble
