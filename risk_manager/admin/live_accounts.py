"""Which accounts the platform has stated to be live, by the daemon's own database."""

import sqlite3
from pathlib import Path

from risk_manager.store.place import database_of
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader


def known_live(data: Path) -> frozenset[int]:
    """Return the ids of live accounts; none where there is no readable database."""
    try:
        path = database_of(data)
        if not path.exists():
            return frozenset()
        with open_reader(path) as connection:
            found = connection.execute("SELECT account_id FROM accounts WHERE simulated = 0")
            return frozenset(int(row[0]) for row in found)
    except (StoreError, sqlite3.Error, OSError):
        return frozenset()
