"""Shared by the meters of contracts held: what a lock on the whole account leaves of the room."""

from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.view import View


def lock_allows(view: View) -> str:
    """Say what the locks on the whole account allow, to begin a sentence; empty without one."""
    policy = view.account_policy
    if policy is None:
        return ""
    return "locked flat: " if policy is LockPolicy.FLAT else "locked, no new contracts: "
