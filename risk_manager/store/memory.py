"""The state as this process knows it, and how much of it the database has been handed."""

from dataclasses import dataclass, field

from risk_manager.domain.locks import Lock
from risk_manager.domain.state import State
from risk_manager.store.batch import Persisted


@dataclass(slots=True)
class Memory:
    """`latest` is None until the state is restored; until then `opened_locks` are in force."""

    latest: State | None = None
    persisted: Persisted = field(default_factory=Persisted)
    opened_locks: tuple[Lock, ...] = ()

    def restored(self, state: State) -> None:
        """The database holds exactly this state."""
        self.latest = state
        self.persisted = Persisted.of(state)

    def locks_in_force(self) -> list[Lock]:
        """Those of accounts that were not restored hold as well."""
        accounts = {} if self.latest is None else self.latest.accounts
        found = [lock for lock in self.opened_locks if lock.account_id not in accounts]
        return found + [lock for account in accounts.values() for lock in account.locks.values()]
