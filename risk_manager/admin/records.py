"""Reads stored records without the daemon: audit, database, journal and logs."""

import json
import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from risk_manager.domain.decisions import Alarm, Decision, LockCleared, LockSet
from risk_manager.store import audit, reading, recorded_days, schema, upkeep
from risk_manager.store.place import DATABASE, database_of
from risk_manager.store.schema import StoreError
from risk_manager.store.store import verify_audit

RecordsUnreadable = StoreError


def database_in(data: Path) -> Path:
    """The database of a data folder. Raises StoreError."""
    path = database_of(data)
    if not path.is_file():
        raise StoreError(f"there is no {DATABASE} in {data}; is this the daemon's data folder?")
    return path


def audit_verdict(data: Path) -> dict[str, Any]:
    """Check the audit chain and return where it is broken, if it is. Raises StoreError."""
    path = database_in(data)
    broken = verify_audit(path)
    with upkeep.open_reader(path) as connection:
        head = audit.head_of(connection)
    return {
        "ok": broken is None,
        "rows_to": head.seq,
        "head": head.hash,
        "broken_at": None if broken is None else broken.seq,
        "why": None if broken is None else broken.why,
    }


def audit_rows(data: Path, limit: int) -> list[dict[str, Any]]:
    """The newest audit rows, oldest first. Raises StoreError."""
    with upkeep.open_reader(database_in(data)) as connection:
        try:
            return [asdict(row) for row in reversed(reading.audit_tail(connection, limit))]
        except sqlite3.Error as error:
            raise StoreError(f"the audit rows cannot be read: {error}") from error


def check_database(data: Path) -> dict[str, Any]:
    """Run a full integrity check. Raises StoreError if the database cannot be opened."""
    path = database_in(data)
    with upkeep.open_reader(path) as connection:
        try:
            verdict = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            version = schema.version_of(connection)
        except sqlite3.Error as error:
            verdict, version = [str(error)], None
    newest = upkeep.newest_backup(path)
    return {
        "ok": verdict == ["ok"],
        "problems": [] if verdict == ["ok"] else verdict,
        "schema": version,
        "size_bytes": path.stat().st_size,
        "newest_backup": newest,
    }


def back_up(data: Path) -> Path:
    """Make a verified copy in `backups/`, even while the daemon runs. Raises StoreError."""
    return upkeep.back_up(database_in(data), datetime.now(UTC))


def replayed(data: Path, day: date) -> dict[str, Any]:
    """Replay a day. Returns the decisions, and whether they agree with the database."""
    database = database_in(data)
    done = recorded_days.replay(database, day)
    return {
        "day": day,
        "runs": done.runs,
        "events": done.events,
        "missing": done.missing,
        "dropped": done.dropped,
        "decisions": [_decision(d) for d in done.decisions],
        "actions": [
            {"id": a.id, "account_id": a.account_id, "action": type(a).__name__, "about": a.key}
            for a in done.actions
        ],
        "facts": [f for f in map(_fact, done.facts) if f is not None],
        "not_in_the_record": _unrecorded(database, done),
    }


def _decision(d: Decision) -> dict[str, Any]:
    return {
        "at": d.at,
        "account_id": d.account_id,
        "rule_id": d.rule_id,
        "subject": d.subject,
        "severity": d.severity.value,
        "shadow": d.shadow,
        "reason": d.reason,
    }


def _fact(fact: object) -> dict[str, Any] | None:
    match fact:
        case LockSet(at=at, lock=lock):
            what, account_id = f"locked by {lock.rule_id}: {lock.reason}", lock.account_id
        case LockCleared(at=at, lock=lock, cleared_by=by):
            what, account_id = f"lock of {lock.rule_id} ended: {by}", lock.account_id
        case Alarm(at=at, account_id=alarmed, message=message):
            return {"at": at, "account_id": alarmed, "what": f"alarm: {message}"}
        case _:
            return None
    return {"at": at, "account_id": account_id, "what": what}


def _unrecorded(database: Path, done: recorded_days.Replayed) -> list[str]:
    """Return the decisions of the replay that are not in the enforcement log."""
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        known = set(
            connection.execute(
                "SELECT account_id, rule_id, subject FROM enforcement_log WHERE action = 'decide'"
            )
        )
    return sorted(
        {
            f"{d.account_id} {d.rule_id} {d.subject}"
            for d in done.decisions
            if (d.account_id, d.rule_id, d.subject) not in known
        }
    )


def log_lines(data: Path, name: str, limit: int) -> list[dict[str, Any]]:
    """The newest entries of one log, oldest first. Raises OSError where it cannot be read."""
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    with (data / "logs" / f"{name}.log").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": line.rstrip()}
            found.append(entry if isinstance(entry, dict) else {"event": entry})
    return list(found)
