"""Small texts kept in the database under a key, such as the limits in force."""

from risk_manager.store.backlog import Backlog
from risk_manager.store.batch import PUT_META, Batch
from risk_manager.store.connection import Connection
from risk_manager.store.memory import Memory
from risk_manager.store.trust import Trust


class Notes:
    """The notes. Reading raises `StoreError`; writing waits like every commit."""

    def __init__(
        self, connection: Connection, memory: Memory, backlog: Backlog, trust: Trust
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._backlog = backlog
        self._trust = trust

    async def put(self, key: str, value: str) -> bool:
        """Keep a text under a key; True once it is durable."""
        batch = Batch()
        batch.put(PUT_META, f"note:{key}", value)
        self._memory.notes[f"note:{key}"] = value
        self._trust.note_was_put(key, value)
        return await self._backlog.put(batch)

    async def get(self, key: str) -> str | None:
        """Return the text last put under this key."""
        row = await self._connection.read(
            lambda c: c.execute("SELECT value FROM meta WHERE key = ?", (f"note:{key}",)).fetchone()
        )
        return None if row is None else str(row[0])

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        """Whether a note in a suspicious database is the one last sealed, as far as known."""
        return self._trust.is_as_sealed(key, value)

    async def rows(self) -> list[tuple[str, str]]:
        """Return all notes as rows, for another database."""
        return await self._connection.read(
            lambda c: c.execute("SELECT key, value FROM meta WHERE key LIKE 'note:%'").fetchall()
        )

    async def put_rows(self, rows: list[tuple[str, str]]) -> None:
        """Take over the notes of another database."""
        if rows:
            self._memory.notes.update(rows)
            batch = Batch()
            for row in rows:
                batch.put(PUT_META, *row)
            await self._backlog.put(batch)

    async def take_up(self) -> None:
        """Remember the notes of a database just opened, in case its file is lost."""
        self._memory.notes.update(await self.rows())
