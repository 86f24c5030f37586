"""A desk whose store is the real one, on a disk that can be told to fail."""

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from desk import MORNING, Desk, SilentFeed, contract, rules_from

from risk_manager.domain.events import AccountOpened, ContractResolved
from risk_manager.domain.rule import Rule
from risk_manager.pipeline import Pipeline
from risk_manager.store.store import Store


@dataclass
class StoppedClock:
    """A clock that moves only when it is moved."""

    at: datetime = MORNING

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - MORNING).total_seconds()

    def advance(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass
class Disk:
    """What the database's connection goes through: counts, and fails on request."""

    broken: str = ""
    """While not empty, every writing statement fails with this message."""
    fails_at: int | None = None
    """The number of the one statement that fails."""
    executed: int = 0
    transactions: int = 0
    commits: int = 0
    stuck: threading.Event | None = None
    """While set to an event, BEGIN waits for it."""
    lies: dict[str, Any] = field(default_factory=dict)

    def connection_class(self) -> type[sqlite3.Connection]:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                disk.meets(sql)
                if sql in disk.lies:
                    return super().execute("SELECT ?", (disk.lies[sql],))
                return super().execute(sql, parameters)

        return Connection

    def meets(self, sql: str) -> None:
        self.executed += 1
        if self.fails_at == self.executed:
            raise sqlite3.OperationalError(f"disk I/O error at {sql[:40]}")
        if sql.startswith("BEGIN"):
            self.transactions += 1
            if self.stuck is not None:
                self.stuck.wait(30)
        if sql == "COMMIT":
            self.commits += 1
        if self.broken and not sql.startswith(("SELECT", "PRAGMA", "ROLLBACK")):
            raise sqlite3.OperationalError(self.broken)


class StoredDesk(Desk):
    """Trading with a real store behind it. Use `restored` after a restart."""

    def __init__(self, kept: Store, rules: Iterable[Rule] = (), **more: Any) -> None:
        super().__init__(rules, **more)
        self.kept = kept
        self._pipe(self.pipeline.state)

    def _pipe(self, state: Any) -> None:
        self.pipeline = Pipeline(state, store=self.kept, enforcer=self.enforcer, feed=SilentFeed())

    async def restored(self, now: datetime | None = None) -> "StoredDesk":
        """This desk, with the state its store remembers."""
        self.now = now or self.now
        self._pipe(await self.kept.restore(self.rulebook, self.now))
        self._opened = True
        return self

    async def open_with_one_contract(self) -> None:
        """The accounts are opened, and of all contracts MNQ is known."""
        self._opened = True
        for account_id in self.account_ids:
            await self.pipeline.process(AccountOpened(at=self.now, account_id=account_id))
        await self.pipeline.process(ContractResolved(at=self.now, contract=contract("MNQ")))

    def number_on_from(self, before: "StoredDesk | None") -> None:
        """Orders and trades get numbers that the desk before has not used."""
        self._next_id = 1000 if before is None else before.next_number()

    def next_number(self) -> int:
        return self._next_id


def stored_desk(kept: Store, **sections: Any) -> StoredDesk:
    """A desk under rules by their configuration names, over this store."""
    return StoredDesk(kept, rules_from(**sections))


async def opened(desk: StoredDesk) -> StoredDesk:
    """The same desk with its accounts and one contract known."""
    await desk.open_with_one_contract()
    return desk


def at(path: Path, **more: Any) -> AbstractAsyncContextManager[Store]:
    """A store in this folder with a stopped clock and no keeper to interfere."""
    more.setdefault("clock", StoppedClock())
    more.setdefault("keep_every", timedelta(hours=1))
    clock = more.pop("clock")
    return Store.open(path / "state.db", clock, **more)


def rows(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What another process would read."""
    connection = sqlite3.connect(path / "state.db")
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def tamper(path: Path, sql: str, *values: Any) -> None:
    """Write into the database behind the store's back."""
    connection = sqlite3.connect(path / "state.db")
    try:
        connection.execute(sql, values)
        connection.commit()
    finally:
        connection.close()


def lose_rows_from_index(database: Path, index: str) -> None:
    """Make an index of a stopped database forget every row of its table."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        entry = connection.execute(
            "SELECT * FROM sqlite_master WHERE name = ?", (index,)
        ).fetchone()
        table = entry[2]
        columns = ", ".join(r[1] for r in connection.execute(f"PRAGMA table_info({table})"))
        kept = connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - the schema's own names
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
    assert kept
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        places = ", ".join("?" * len(kept[0]))
        put = f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608
        connection.executemany(put, kept)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", entry)


def garble(database: Path, name: str) -> None:
    """Make nonsense of the first page of a table or an index of a stopped database."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        [(page,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchall()
        [(size_bytes,)] = connection.execute("PRAGMA page_size").fetchall()
    with database.open("r+b") as file:
        file.seek((page - 1) * size_bytes)
        file.write(b"\xff" * 64)
