"""The rows of one transaction, and the state that the database holds after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.store.audit import Columns, Entry, columns_of
from risk_manager.store.rows import Row, micros

Statement = tuple[str, Row]

PUT_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"


@dataclass(slots=True)
class Batch:
    """The rows of one transaction. `deferred` rows are written only together with others.

    `puts_right`: the rows restore earlier content that another program has edited.
    """

    statements: list[Statement] = field(default_factory=list)
    deferred: list[Statement] = field(default_factory=list)
    audit: list[Columns] = field(default_factory=list)
    puts_right: bool = False

    @classmethod
    def of_entry(
        cls,
        at: datetime,
        actor: str,
        action: str,
        target: str,
        *,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
        ok: bool = True,
    ) -> "Batch":
        """Return a transaction that begins with one audit row."""
        batch = cls()
        batch.record(
            Entry(at=micros(at), actor=actor, action=action, target=target, old=old, new=new, ok=ok)
        )
        return batch

    def put(self, sql: str, *values: Any) -> None:
        self.statements.append((sql, values))

    def record(self, entry: Entry) -> None:
        self.audit.append(columns_of(entry))

    @property
    def is_empty(self) -> bool:
        return not self.statements and not self.audit


@dataclass(frozen=True, slots=True)
class Persisted:
    """The state that the database will hold once all queued batches are written."""

    accounts: Mapping[int, Account] = MappingProxyType({})
    contracts: Mapping[str, Contract] = MappingProxyType({})
    next_reset: datetime | None = None

    @classmethod
    def of(cls, state: State) -> "Persisted":
        return cls(state.accounts, state.contracts, state.day.ends_at)
