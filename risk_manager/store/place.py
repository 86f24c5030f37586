"""Whose data a folder holds. Each gateway has its own: what one says ends nothing of another's.

The data folder itself belongs to the first real gateway it was used with; the data of any other
are kept below it. Practice makes room for the first real one.
"""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from risk_manager.domain.locks import Lock
from risk_manager.store.sidecar_files import audit_head_path, marker_path, read_marker
from risk_manager.store.tamper_digest import digest_of_note, sealed

PRACTICE = "practice"
DATABASE = "state.db"
NOTE = "gateway"
_FOLDER = "gateways"
_DEFAULT_PORTS = {"https": 443, "http": 80}


def gateway_name(kind: str, api_url: str) -> str:
    """What a gateway's data go by: its host, whatever way it is written, and an unusual port."""
    if kind == PRACTICE:
        return PRACTICE
    url = urlsplit(api_url)
    host = (url.hostname or "").rstrip(".")
    host = "127.0.0.1" if host == "localhost" else host
    port = "" if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f"-{url.port}"
    return re.sub(r"[^a-z0-9.-]", "-", host.lower()) + port


def folder_of(data_dir: Path, gateway: str) -> Path:
    """Where this gateway's data are, or are to be. Raises OSError.

    Only for the daemon that holds the data folder: practice data may have to make room.
    """
    owners = _owners(data_dir)
    if not owners or gateway in owners:
        return data_dir
    own = data_dir / _FOLDER / gateway
    if owners == {PRACTICE} and not own.exists():
        _make_room(data_dir)
        return data_dir
    own.mkdir(parents=True, exist_ok=True)
    return own


def locks_of(data_dir: Path) -> list[Lock]:
    """The locks in force at the gateway the data folder belongs to, when it was last guarded."""
    marker = read_marker(data_dir / DATABASE)
    return [] if marker is None else marker.locks_in_force()


def database_of(data_dir: Path) -> Path:
    """The database of the gateway guarded now or last, for whoever reads it from outside."""
    try:
        stored = json.loads((data_dir / "daemon.json").read_text("utf-8"))
        path = data_dir / str(stored["database"])
    except (OSError, ValueError, KeyError, TypeError):
        return data_dir / DATABASE
    inside = path.resolve().is_relative_to(data_dir.resolve())
    return path if inside and path.is_file() else data_dir / DATABASE


def _owners(folder: Path) -> set[str]:
    """Which gateway the database says it is of, and its marker: more than one if they differ."""
    marker = read_marker(folder / DATABASE)
    found = {_noted(folder / DATABASE), "" if marker is None else marker.gateway}
    return found - {""}


def _noted(database: Path) -> str:
    """What a database says of itself, if that is its own word."""
    if not database.is_file():
        return ""
    try:
        uri = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute(
                "SELECT value FROM meta WHERE key = ?", (f"note:{NOTE}",)
            ).fetchone()
            told = "" if row is None else str(row[0])
            known = sealed(connection).sums.get(f"note:{NOTE}")
    except (sqlite3.Error, UnicodeDecodeError):
        return ""
    return told if told and known == digest_of_note(NOTE, told) else ""


def _make_room(data_dir: Path) -> None:
    """The database goes last: until then it says whose these are, and the next start goes on."""
    aside, tries = data_dir / _FOLDER / PRACTICE, 1
    while (aside / DATABASE).exists():  # of other practice, long ago
        tries += 1
        aside = data_dir / _FOLDER / f"{PRACTICE}-{tries}"
    aside.mkdir(parents=True, exist_ok=True)
    database = data_dir / DATABASE
    for path in (
        *(data_dir / name for name in ("limits.json", "journal", "backups")),
        audit_head_path(database),
        marker_path(database),
        *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "")),
    ):
        if path.exists():
            path.replace(aside / path.name)
