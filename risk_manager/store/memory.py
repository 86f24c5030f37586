"""The state as this process knows it, and the part of it handed to the database."""

from dataclasses import dataclass, field

from risk_manager.domain.locks import Lock
from risk_manager.domain.state import State
from risk_manager.store.batch import Persisted


@dataclass(slots=True)
class Memory:
    """`latest` is None until the state is restored; until then `opened_locks` are in force.

    `notes` are those found at the opening and those put since, by their key in the database.
    """

    latest: State | None = None
    persisted: Persisted = field(default_factory=Persisted)
    opened_locks: tuple[Lock, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)

    def restored(self, state: State) -> None:
        """Take over a state that the database holds exactly."""
        self.latest = state
        self.persisted = Persisted.of(state)

    def locks_in_force(self) -> list[Lock]:
        """Return all locks in force, including those of accounts that were not restored."""
        accounts = {} if self.latest is None else self.latest.accounts
        found = [lock for lock in self.opened_locks if lock.account_id not in accounts]
        return found + [lock for account in accounts.values() for lock in account.locks.values()]
