"""The only writer of the database: one transaction at a time, on the connection's own thread."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from risk_manager.store import audit
from risk_manager.store.batch import Batch, Statement
from risk_manager.store.tamper_digest import SealedTables, TamperDigest

T = TypeVar("T")

# Faults of one row, not of the disk. A retry would fail for ever and block all other rows.
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
    """Applies batches, and holds the head of the audit chain and the seal. Must not run on the
    event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.head = audit.head_of(connection)
        self.seal = TamperDigest(connection)

    @property
    def sealed(self) -> SealedTables:
        """The seal that is durable."""
        return self.seal.written

    def write(self, batches: Sequence[Batch]) -> list[str]:
        """Write all batches in one transaction; return messages on rows that could not be stored.

        Raises sqlite3.Error or OSError when the disk is at fault and not a row. Nothing of the
        batches is stored then.
        """
        try:
            return self._in_transaction(lambda: self._apply(batches, None))
        except FAULTS_OF_A_ROW:
            self.head = audit.head_of(self.connection)
            refused: list[str] = []
            return self._in_transaction(lambda: self._apply(batches, refused))

    def once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run another small piece of work in a transaction of its own."""
        return self._in_transaction(lambda: work(self.connection))

    def record(self, entry: audit.Entry) -> None:
        """Add an audit row, inside `once`."""
        self.head = audit.append(self.connection, self.head, audit.columns_of(entry))

    def _apply(self, batches: Sequence[Batch], refused: list[str] | None) -> list[str]:
        connection = self.connection
        for batch in batches:
            # The rows in memory are already in the seal: this only undoes another program's edits.
            self.seal.counting = not batch.puts_right
            for statement in (*batch.statements, *batch.deferred):
                if refused is None:
                    connection.execute(*statement)
                else:
                    self._try(statement, refused)
            for columns in batch.audit:
                self.head = audit.append(connection, self.head, columns)
        return refused or []

    def _try(self, statement: Statement, refused: list[str]) -> None:
        sums = dict(self.seal.sums)
        try:
            self.connection.execute(*statement)
        except FAULTS_OF_A_ROW as error:
            self.seal.sums = sums
            what = " ".join(statement[0].split()[:4])
            refused.append(f"{what} ...: {type(error).__name__}: {error}")

    def _in_transaction(self, work: Callable[[], T]) -> T:
        connection, head, sums = self.connection, self.head, dict(self.seal.sums)
        self.seal.counting = True
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work()
            sealed = self.seal.put(connection)
            connection.execute("COMMIT")
            self.seal.written = sealed
        except BaseException:
            self.head, self.seal.sums = head, sums
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result
