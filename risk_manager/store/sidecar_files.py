"""Two small files beside the database that show if it was deleted, truncated or rolled back."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from risk_manager.domain.locks import Lock
from risk_manager.store import rows
from risk_manager.store.audit import Head, canonical
from risk_manager.store.tamper_digest import SealedTables


@dataclass(frozen=True, slots=True)
class Marker:
    """A description of the database that we left, to compare with the one found.

    `locks` are the locks in force, each as JSON, so that they survive the loss of the database.
    `gateway` is the one that the data comes from.
    """

    database_id: str
    last_audit_seq: int
    last_audit_hash: str
    had_locks: bool
    seal_number: int = 0
    seal_content: str = ""
    locks: tuple[str, ...] = ()
    gateway: str = ""

    @property
    def seal(self) -> SealedTables:
        return SealedTables(self.seal_number, self.seal_content)

    def locks_in_force(self) -> list[Lock]:
        return locks_of(self.locks)


def written_lock(lock: Lock) -> str:
    """Return a lock in the form of the marker."""
    return canonical(rows.plain(lock))


def locks_of(texts: Iterable[str]) -> list[Lock]:
    """Return the locks that can be read from these texts."""
    found = []
    for text in texts:
        with suppress(ValueError, KeyError, TypeError):
            found.append(rows.lock_of_plain(json.loads(text)))
    return found


def marker_path(database: Path) -> Path:
    return database.with_suffix(".marker")


def audit_head_path(database: Path) -> Path:
    return database.with_name("audit.head")


def write_marker(database: Path, marker: Marker) -> None:
    """Replace both files, each atomically. Raises OSError."""
    replace_file(marker_path(database), asdict(marker))
    replace_file(
        audit_head_path(database), {"seq": marker.last_audit_seq, "hash": marker.last_audit_hash}
    )


def read_marker(database: Path) -> Marker | None:
    """Return the marker; None where there is none. An unreadable one still shows that a database
    existed."""
    try:
        stored = json.loads(marker_path(database).read_text("utf-8"))
        return Marker(
            str(stored["database_id"]),
            int(stored["last_audit_seq"]),
            str(stored["last_audit_hash"]),
            bool(stored["had_locks"]),
            int(stored.get("seal_number", 0)),
            str(stored.get("seal_content", "")),
            tuple(map(str, stored.get("locks", ()))),
            str(stored.get("gateway", "")),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Marker("", 0, "", True)


def read_audit_head(database: Path) -> Head | None:
    """Return the mirrored head of the audit chain; None where it cannot be read."""
    try:
        stored = json.loads(audit_head_path(database).read_text("utf-8"))
        return Head(int(stored["seq"]), str(stored["hash"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def replace_file(path: Path, content: Mapping[str, object]) -> None:
    """Replace a small file atomically. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    is_new = not path.exists()
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    if is_new and os.name == "posix":
        # Without this sync the file name may be lost in a power cut, and a database without a
        # marker is suspicious.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
