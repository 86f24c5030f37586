"""The record of a failure of the platform in a zip file, with a list of hashes to check it by."""

import contextlib
import gzip
import hashlib
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from risk_manager.admin.exports import AccountMask, ExportRefused
from risk_manager.admin.records import audit_verdict, database_in
from risk_manager.admin.versions import versions
from risk_manager.redaction import redact
from risk_manager.store import audit
from risk_manager.store.rows import instant, micros
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader

AUDIT, CALLS, REFUSALS, GAPS = "audit.jsonl", "api.log", "refusals.jsonl", "stream_gaps.jsonl"
SUMMARY, SUMS = "summary.json", "SHA256SUMS"

_AUDIT = """
SELECT id, at, actor, action, target, old, new, ok, hash FROM audit
WHERE id BETWEEN (SELECT min(id) FROM audit WHERE at BETWEEN ? AND ?)
    AND (SELECT max(id) FROM audit WHERE at BETWEEN ? AND ?) ORDER BY id"""
_BEFORE = "SELECT hash FROM audit WHERE id = ?"
_REFUSALS = """
SELECT at, last_seen, count, account_id, rule_id, subject, action, reason, outcome, details,
    duration_ms
FROM enforcement_log
WHERE at <= ? AND last_seen >= ? AND action <> 'decide' AND outcome <> 'confirmed'
ORDER BY at, id"""
_STREAMS = "SELECT at, hub, to_state, reason FROM connection_log WHERE at <= ? ORDER BY at, id"
_UP = "up"


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another, both included."""

    start: datetime
    end: datetime

    @property
    def micros(self) -> tuple[int, int]:
        return micros(self.start), micros(self.end)


def pack_incident(
    data: Path, to: Path, span: Span, accounts: Mapping[int, str] | None
) -> dict[str, Any]:
    """Pack what the record says of a span into a new file; read-only, also while the daemon runs.

    `accounts` are masked with their names; None: nothing is masked. Keys in the log always are.
    Raises StoreError, or ExportRefused.
    """
    verdict = audit_verdict(data)
    mask = None if accounts is None else AccountMask(accounts).line
    with open_reader(database_in(data)) as connection:
        try:
            connection.execute("BEGIN")  # all tables as they were at one moment
            audit_rows, before = _audit(connection, span)
            parts = {
                AUDIT: [json.dumps(row, ensure_ascii=False) for row in audit_rows],
                REFUSALS: [
                    json.dumps(row, ensure_ascii=False) for row in _refusals(connection, span)
                ],
                GAPS: [json.dumps(row) for row in _stream_gaps(connection, span)],
                CALLS: [line for _, line in sorted(_calls(data / "logs", span), key=_when)],
            }
        except sqlite3.Error as error:
            raise StoreError(f"the rows of the incident cannot be read: {error}") from error
        except (OSError, EOFError) as error:
            raise ExportRefused(f"the log of calls cannot be read: {error}") from None
    summary = {
        "made_at": datetime.now(UTC).isoformat(),
        "version": versions()["package"],
        "from": span.start.isoformat(),
        "to": span.end.isoformat(),
        "is_masked": accounts is not None,
        "lines": {name: len(lines) for name, lines in parts.items()},
        "audit": {
            "is_whole": verdict["ok"],
            "broken_at": verdict["broken_at"],
            "head": {"row": verdict["rows_to"], "hash": verdict["head"]},
            "hash_before": before,
            "hash_last": audit_rows[-1]["hash"] if audit_rows else None,
        },
    }
    files = {name: _joined(lines, mask) for name, lines in parts.items()}
    files[SUMMARY] = json.dumps(summary, indent=2).encode() + b"\n"
    sums = "".join(f"{_sha256(files[name])}  {name}\n" for name in sorted(files)).encode()
    _write(to, {**files, SUMS: sums})
    return {"file": str(to), "sums": _sha256(sums), **summary}


def _write(to: Path, files: Mapping[str, bytes]) -> None:
    try:
        with _new_file(to) as target, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    except FileExistsError:
        raise ExportRefused(f"{to} is there already; give another name with --out") from None
    except OSError as error:
        raise ExportRefused(f"{to} cannot be made: {error.strerror or error}") from None


def _new_file(to: Path) -> BinaryIO:
    """Create a file that only its owner can read."""
    return os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _joined(lines: Iterable[str], mask: Callable[[str], str] | None) -> bytes:
    told = (line if mask is None else mask(line).rstrip("\n") for line in lines)
    return "".join(f"{line}\n" for line in told).encode("utf-8", "replace")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- what is packed -------------------------------------------------------------------------------


def _audit(connection: sqlite3.Connection, span: Span) -> tuple[list[dict[str, Any]], str | None]:
    """Return the rows of the span without a gap, and the hash that the first one follows.

    None where the row before is no longer stored. `old` and `new` stay the stored text, over which
    the hash of each row is formed.
    """
    rows = [
        {
            "id": seq, "at_us": at, "at": instant(at).isoformat(), "actor": actor,
            "action": action, "target": target, "old": old, "new": new, "ok": bool(ok),
            "hash": digest,
        }
        for seq, at, actor, action, target, old, new, ok, digest in connection.execute(
            _AUDIT, span.micros * 2
        )
    ]  # fmt: skip
    return rows, _hash_before(connection, rows[0]["id"]) if rows else None


def _hash_before(connection: sqlite3.Connection, first: int) -> str | None:
    before = connection.execute(_BEFORE, (first - 1,)).fetchone()
    if before is not None:
        return str(before[0])
    anchor = audit.anchor_of(connection)
    return anchor.hash if anchor.seq == first - 1 else None


def _refusals(connection: sqlite3.Connection, span: Span) -> Iterator[dict[str, Any]]:
    """Yield the calls to the broker that were not confirmed."""
    start, end = span.micros
    for row in connection.execute(_REFUSALS, (end, start)):
        yield {
            "at": instant(row[0]).isoformat(),
            "last_seen": instant(row[1]).isoformat(),
            "count": row[2],
            "account_id": row[3],
            "rule_id": row[4],
            "subject": row[5],
            "action": row[6],
            "reason": row[7],
            "outcome": row[8],
            "details": json.loads(row[9]),
            "duration_ms": row[10],
        }


def _stream_gaps(connection: sqlite3.Connection, span: Span) -> Iterator[dict[str, Any]]:
    """Yield the times in which a stream was not up, also those that began before the span.

    `until` None: it was not up again by the end of the span.
    """
    lost: dict[str, tuple[datetime, str]] = {}
    for at_us, hub, state, reason in connection.execute(_STREAMS, (span.micros[1],)):
        at = instant(at_us)
        if state != _UP:
            lost.setdefault(hub, (at, reason))
        elif hub in lost:
            since, why = lost.pop(hub)
            if at >= span.start:
                yield _gap(hub, since, at, why)
    for hub, (since, why) in lost.items():
        yield _gap(hub, since, None, why)


def _gap(hub: str, since: datetime, until: datetime | None, reason: str) -> dict[str, Any]:
    return {
        "hub": hub,
        "from": since.isoformat(),
        "until": None if until is None else until.isoformat(),
        "seconds": None if until is None else (until - since).total_seconds(),
        "reason": reason,
    }


def _calls(folder: Path, span: Span) -> Iterator[tuple[datetime, str]]:
    """Yield the lines of the log of calls, also of its older files, with keys masked."""
    for path in sorted(folder.glob("api.log*")):
        with path.open("rb") as raw:
            source = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            for line in source:
                text = line.decode("utf-8", "replace").rstrip("\n")
                at = _instant_of(text)
                if at is not None and span.start <= at <= span.end:
                    yield at, redact(text)


def _when(call: tuple[datetime, str]) -> datetime:
    return call[0]


def _instant_of(line: str) -> datetime | None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        at = datetime.fromisoformat(json.loads(line)["ts"])
        return at if at.tzinfo is not None else None
    return None
