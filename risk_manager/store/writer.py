"""The only hand that writes: one transaction at a time, on the connection's own thread."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from risk_manager.store import audit
from risk_manager.store.changes import Batch, Statement

T = TypeVar("T")

# Faults of one row, not of the disk: repeating it would fail for ever and hold up all others.
FAULTS_OF_A_ROW = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
    TypeError,
)


class Writer:
    """Applies batches and carries the head of the audit chain. Not for the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.head = audit.head_of(connection)

    def write(self, batches: Sequence[Batch]) -> list[str]:
        """All batches in one transaction; returns what could not be stored, for people.

        Raises sqlite3.Error or OSError when the disk, not a row, is at fault; then nothing of
        the batches is stored.
        """
        try:
            return self._in_transaction(lambda: self._apply(batches, None))
        except FAULTS_OF_A_ROW:
            self.head = audit.head_of(self.connection)
            refused: list[str] = []
            return self._in_transaction(lambda: self._apply(batches, refused))

    def once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Some other small piece of work, in a transaction of its own."""
        return self._in_transaction(lambda: work(self.connection))

    def _apply(self, batches: Sequence[Batch], refused: list[str] | None) -> list[str]:
        connection = self.connection
        for batch in batches:
            for statement in (*batch.statements, *batch.soft):
                if refused is None:
                    connection.execute(*statement)
                else:
                    self._try(statement, refused)
            for columns in batch.audit:
                self.head = audit.append(connection, self.head, columns)
        return refused or []

    def _try(self, statement: Statement, refused: list[str]) -> None:
        try:
            self.connection.execute(*statement)
        except FAULTS_OF_A_ROW as error:
            what = " ".join(statement[0].split()[:4])
            refused.append(f"{what} ...: {type(error).__name__}: {error}")

    def _in_transaction(self, work: Callable[[], T]) -> T:
        connection, head = self.connection, self.head
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work()
            connection.execute("COMMIT")
        except BaseException:
            self.head = head
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result
