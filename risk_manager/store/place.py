"""Which gateway the data in a folder belong to. Gateways never share data, so that reports from
one cannot end a lock of another.

The data folder itself belongs to the first real gateway it was used with. The data of any other
gateway are kept below it. Practice data are moved aside for the first real gateway.
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
    """Return the name for a gateway's data: its normalised host, and the port if unusual."""
    if kind == PRACTICE:
        return PRACTICE
    url = urlsplit(api_url)
    host = (url.hostname or "").rstrip(".")
    host = "127.0.0.1" if host == "localhost" else host
    port = "" if url.port in (None, _DEFAULT_PORTS.get(url.scheme)) else f"-{url.port}"
    return re.sub(r"[^a-z0-9.-]", "-", host.lower()) + port


def folder_of(data_dir: Path, gateway: str) -> Path:
    """Return the folder for this gateway's data. Raises OSError.

    Only for the daemon that holds the data folder, as practice data may be moved aside.
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
    """Return the locks that were in force when the data folder's gateway was last guarded."""
    marker = read_marker(data_dir / DATABASE)
    return [] if marker is None else marker.locks_in_force()


def database_of(data_dir: Path) -> Path:
    """Return the database of the gateway guarded now or last, for readers in other processes."""
    try:
        stored = json.loads((data_dir / "daemon.json").read_text("utf-8"))
        path = data_dir / str(stored["database"])
    except (OSError, ValueError, KeyError, TypeError):
        return data_dir / DATABASE
    inside = path.resolve().is_relative_to(data_dir.resolve())
    return path if inside and path.is_file() else data_dir / DATABASE


def _owners(folder: Path) -> set[str]:
    """Return the gateways named by the database and its marker: more than one if they differ."""
    marker = read_marker(folder / DATABASE)
    found = {_noted(folder / DATABASE), "" if marker is None else marker.gateway}
    return found - {""}


def _noted(database: Path) -> str:
    """Return the gateway noted in a database, if the note is sealed."""
    if not database.is_file():
        return ""
    try:
        uri = f"{database.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute(
                "SELECT value FROM meta WHERE key = ?", (f"note:{NOTE}",)
            ).fetchone()
            noted = "" if row is None else str(row[0])
            known = sealed(connection).sums.get(f"note:{NOTE}")
    except (sqlite3.Error, UnicodeDecodeError):
        return ""
    return noted if noted and known == digest_of_note(NOTE, noted) else ""


def _make_room(data_dir: Path) -> None:
    """Move practice data aside. The database is moved last: until then it names the owner, and an
    interrupted move continues at the next start."""
    aside, tries = data_dir / _FOLDER / PRACTICE, 1
    while (aside / DATABASE).exists():  # from an earlier practice
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
