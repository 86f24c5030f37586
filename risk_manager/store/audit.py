"""The audit chain: each row's hash covers the hash of the row before it and its own columns."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

GENESIS = "0" * 64
ANCHOR = "audit_anchor"
_BEFORE_ALL = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of the chain; seq 0 before the first."""

    seq: int = 0
    hash: str = GENESIS

    def followed_by(self, text: str) -> "Head":
        digest = hashlib.sha256(self.hash.encode() + text.encode("utf-8", "surrogatepass"))
        return Head(self.seq + 1, digest.hexdigest())


@dataclass(frozen=True, slots=True)
class AuditBreak:
    """The first row at which the chain is broken, and why."""

    seq: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One audit entry. `at` is in microseconds since 1970 UTC."""

    at: int
    actor: str
    action: str
    target: str
    old: Mapping[str, Any] | None = None
    new: Mapping[str, Any] | None = None
    ok: bool = True


Columns = tuple[int, str, str, str, str | None, str | None, int]


def columns_of(entry: Entry) -> Columns:
    """Return the columns stored for an entry."""
    old = None if entry.old is None else canonical(entry.old)
    new = None if entry.new is None else canonical(entry.new)
    return (entry.at, entry.actor, entry.action, entry.target, old, new, int(entry.ok))


def _text(columns: Columns) -> str:
    """Return the text that is hashed for a row, built from the stored columns only."""
    at, actor, action, target, old, new, ok = columns
    return canonical(
        {
            "at": at,
            "actor": actor,
            "action": action,
            "target": target,
            "old": old,
            "new": new,
            "ok": ok,
        }
    )


def canonical(value: Any) -> str:
    """Return the canonical JSON of a value: sorted keys, no blanks, other types as their `str`."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # an integer beyond 64 bits, or text that is no valid Unicode
        return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"))


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def followed(head: Head, columns: Columns) -> Head:
    """Return the head of the chain after a row with these columns."""
    return head.followed_by(_text(columns))


def append(connection: sqlite3.Connection, head: Head, columns: Columns) -> Head:
    """Add a row inside the open transaction. Returns the new head."""
    head = followed(head, columns)
    connection.execute(
        "INSERT INTO audit (at, actor, action, target, old, new, ok, id, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*columns, head.seq, head.hash),
    )
    return head


def head_of(connection: sqlite3.Connection) -> Head:
    """Return the head of the chain in the database."""
    row = connection.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    return anchor_of(connection) if row is None else Head(row[0], row[1])


def anchor_of(connection: sqlite3.Connection) -> Head:
    """Return the last pruned row, after which the chain begins; seq 0 if none was pruned."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (ANCHOR,)).fetchone()
    if row is None:
        return Head()
    stored = json.loads(row[0])
    return Head(int(stored["seq"]), str(stored["hash"]))


def set_anchor(connection: sqlite3.Connection, head: Head) -> None:
    """Let the chain begin after this row."""
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
        (ANCHOR, canonical({"seq": head.seq, "hash": head.hash})),
    )


def verify(
    connection: sqlite3.Connection, mirror: Head | None = None, after: int = 0
) -> AuditBreak | None:
    """Return the first row that was edited, removed or moved; None when the chain is intact.

    `mirror` is the head as last written outside the database, which shows rows missing at the end.
    Read it before the database. Rows up to `after` are not checked.
    """
    head, skipped = anchor_of(connection), _BEFORE_ALL
    if after > head.seq:
        skipped = after
        row = connection.execute("SELECT hash FROM audit WHERE id = ?", (after,)).fetchone()
        if row is None:
            return AuditBreak(after, f"row {after} is missing")
        head = Head(after, row[0])
    first = head.seq
    rows = connection.execute(
        "SELECT id, at, actor, action, target, old, new, ok, hash FROM audit"
        " WHERE id > ? ORDER BY id",
        (skipped,),
    )
    for seq, at, actor, action, target, old, new, ok, digest in rows:
        if seq != head.seq + 1:
            return AuditBreak(head.seq + 1, f"row {head.seq + 1} is missing")
        head = followed(head, (at, actor, action, target, old, new, ok))
        if digest != head.hash:
            return AuditBreak(seq, f"row {seq} does not follow from the row before it")
        if mirror is not None and mirror.seq == seq and mirror.hash != head.hash:
            return AuditBreak(seq, f"row {seq} is not the row the mirror file remembers")
    if mirror is not None and mirror.seq > max(head.seq, first):
        return AuditBreak(head.seq + 1, f"rows {head.seq + 1} to {mirror.seq} are missing")
    return None
