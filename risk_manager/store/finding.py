"""The finding about a database at its opening: whether it is the one that was left, unedited."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from risk_manager.domain.locks import Lock
from risk_manager.store.audit import head_of, verify
from risk_manager.store.lock_sources import audit_has_sealed_locks
from risk_manager.store.sidecar_files import (
    Marker,
    audit_head_path,
    marker_path,
    read_audit_head,
)
from risk_manager.store.tamper_digest import LOCKS, SealedTables

TAIL_CHECKED = 2_000
"""How many of the newest audit rows are checked at each opening."""
CHECKED = "audit_checked"
"""The key of the note that names the last broken audit row already reported."""
UNRECONCILED = "unreconciled"
"""The key of the note that keeps a finding until the state is rebuilt from the broker."""
STAYS_LOCKED = "what was locked stays locked until the next reset"
ALL_LOCKED = "every account stays locked until the next reset"

_IN_USE = ("accounts", "reset_state", "lockouts", "trades")


class OpenedAs(StrEnum):
    """The kind of database found at the start. All but the first two are suspicious.

    ELSEWHERE: intact in itself, but another database has guarded an account since.
    """

    FRESH = "fresh"
    RESTORED = "restored"
    MISSING_BUT_MARKED = "missing_but_marked"
    ROLLED_BACK = "rolled_back"
    ELSEWHERE = "elsewhere"
    CORRUPT = "corrupt"
    EDITED = "edited"

    @property
    def is_trusted(self) -> bool:
        return self in (OpenedAs.FRESH, OpenedAs.RESTORED)

    @property
    def knows_nothing(self) -> bool:
        """Whether the database is new and empty, whatever was there before."""
        return self in (OpenedAs.FRESH, OpenedAs.MISSING_BUT_MARKED, OpenedAs.CORRUPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The database as it was found, and the files beside it.

    `edited` names the parts that do not agree with the seal. `notes` are the rows of `meta`,
    without an earlier finding that was edited. `was_there`: a file existed. `damage` says why that
    file was put aside, unread.
    """

    path: Path
    connection: sqlite3.Connection
    seal: SealedTables
    edited: list[str]
    notes: Mapping[str, str]
    marker: Marker | None
    was_there: bool
    damage: str


@dataclass(slots=True)
class Finding:
    """The kind of database, and what follows.

    `had_locks`: unknown locks that were in force may have been lost. `lost` are locks that must be
    put back in force, as far as they are known. `trades_from`: trades of this trading day and later
    are not to be believed. `last_seal` is the last seal known.
    """

    opened_as: OpenedAs
    why: str
    had_locks: bool
    lost: list[Lock] = field(default_factory=list)
    trades_from: str | None = None
    last_seal: SealedTables | None = None


def examine(evidence: Evidence) -> Finding:
    """Return the kind of database and the reason. An earlier finding stands until reconciled."""
    path, marker, damage = evidence.path, evidence.marker, evidence.damage
    head = audit_head_path(path)
    stated_by = marker_path(path).name if marker is not None else head.name
    mirror = read_audit_head(path)
    # The marker is written before audit.head, so a marker behind it is an older copy.
    is_behind = mirror is not None and marker is not None and mirror.seq > marker.last_audit_seq
    # If the database cannot be read, only the last marker knows the locks.
    had_locks = marker.had_locks or is_behind if marker is not None else bool(damage)
    earlier = _earlier_finding(evidence)
    if earlier is not None:
        return earlier
    if damage:
        return Finding(OpenedAs.CORRUPT, f"{damage}; {STAYS_LOCKED}", had_locks)
    if marker is None and not head.exists() and (not evidence.was_there or _is_unused(evidence)):
        return Finding(OpenedAs.FRESH, f"{path} is new", False)
    if marker is None or not marker.database_id:
        if not evidence.was_there:
            why = f"{path} is missing although {stated_by} says there was one"
            return Finding(OpenedAs.MISSING_BUT_MARKED, f"{why}; {ALL_LOCKED}", True)
        state = "is missing" if marker is None else "cannot be read"
        why = f"{path} may be an older one: {marker_path(path).name} {state}"
        return Finding(OpenedAs.ROLLED_BACK, f"{why}; {ALL_LOCKED}", True)
    if not evidence.was_there:
        return Finding(
            OpenedAs.MISSING_BUT_MARKED,
            f"{path} is missing although {stated_by} says there was one"
            f"{' with locks in force' if marker.had_locks else ''}; {STAYS_LOCKED}",
            had_locks,
        )
    difference = _unlike(evidence, marker)
    if difference:
        return Finding(OpenedAs.ROLLED_BACK, f"{path} is {difference}; {STAYS_LOCKED}", had_locks)
    if mirror is not None and head_of(evidence.connection).seq < mirror.seq:
        why = f"{path} and {stated_by} are older than {head.name}"
        return Finding(OpenedAs.ROLLED_BACK, f"{why}; {ALL_LOCKED}", True)
    return _unless_edited(evidence, marker)


def unreconciled(opened_as: OpenedAs, why: str, had_locks: bool, last: SealedTables | None) -> str:
    """Return the note by which the next start comes to the same finding."""
    known = last or SealedTables()
    return json.dumps(
        {"as": opened_as, "why": why, "locks": had_locks, "seal": [known.number, known.content]}
    )


def _earlier_finding(evidence: Evidence) -> Finding | None:
    note = evidence.notes.get(UNRECONCILED)
    if note is None:
        return None
    stored = json.loads(note)
    finding = Finding(OpenedAs(stored["as"]), str(stored["why"]), bool(stored["locks"]))
    if "seal" in stored:
        finding.last_seal = SealedTables(*stored["seal"])
    if evidence.edited:
        finding.had_locks = True
    return finding


def _unless_edited(evidence: Evidence, marker: Marker) -> Finding:
    """Judge a database that is ours. The seal shows whether another program edited rows."""
    path, connection, edited = evidence.path, evidence.connection, evidence.edited
    if edited:
        edit = f"{path} was edited while the daemon was stopped ({', '.join(edited)})"
        if edited == [LOCKS] and audit_has_sealed_locks(connection, evidence.seal):
            return Finding(OpenedAs.EDITED, f"{edit}; the locks are put back as they were", False)
        return Finding(OpenedAs.EDITED, f"{edit}; {ALL_LOCKED}", True)
    head = head_of(connection)
    checked = int(evidence.notes.get(CHECKED, "0"))
    broken = verify(connection, after=max(head.seq - TAIL_CHECKED, checked))
    if broken is not None:
        why = f"the record in {path} was edited: {broken.why}"
        return Finding(OpenedAs.EDITED, f"{why}; {ALL_LOCKED}", True)
    return Finding(OpenedAs.RESTORED, f"{path} was read", marker.had_locks)


def _is_unused(evidence: Evidence) -> bool:
    """Whether the database is still as created, because its first start was interrupted."""
    rows_of = "SELECT EXISTS (SELECT 1 FROM {})".format
    used = (evidence.connection.execute(rows_of(t)).fetchone()[0] for t in _IN_USE)
    return head_of(evidence.connection).seq <= 1 and not any(used)


def _unlike(evidence: Evidence, marker: Marker) -> str:
    """Return how this database differs from the one the marker describes; empty if it does not."""
    head, seal = head_of(evidence.connection), evidence.seal
    row = evidence.connection.execute(
        "SELECT hash FROM audit WHERE id = ?", (marker.last_audit_seq,)
    ).fetchone()
    if evidence.notes.get("database_id") != marker.database_id:
        return "another database than the one last used"
    if head.seq < marker.last_audit_seq:
        return f"older than it was: its record ends at {head.seq}, it had {marker.last_audit_seq}"
    if row is not None and row[0] != marker.last_audit_hash:
        return "not the one last used: its record says something else"
    if seal.number < marker.seal.number:
        return "older than it was: its seal is not the last one"
    if seal.number == marker.seal.number and seal != marker.seal:
        return "not the one last used: its seal says something else"
    return ""
