"""Renames, rescues and restores the files of a database that is broken or gone."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from risk_manager.store import schema
from risk_manager.store.schema import StoreError


def move_aside(path: Path, word: str, now: datetime) -> Path:
    """Rename a database and its log. Returns the new name."""
    stamp = now.strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.name}.{word}-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    return aside


def rescue(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the data that an open connection still sees after its file at `path` was deleted."""
    copy = _rescued(path)
    copy.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (str(copy),))
        with closing(sqlite3.connect(copy)) as saved:
            schema.check_quickly(saved, copy)
    except (sqlite3.Error, StoreError):
        copy.unlink(missing_ok=True)


def put_rescued_in_place(path: Path) -> None:
    """Move the rescued copy, if there is one, to the path of the database."""
    copy = _rescued(path)
    if copy.exists():
        copy.replace(path)


def _rescued(path: Path) -> Path:
    return path.with_name(path.name + ".rescued")
