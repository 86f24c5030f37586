"""Live funded accounts: TopstepX forbids automation through the API there, so rules only tell."""

from risk_manager.domain.account import Account
from risk_manager.domain.locks import MANUAL_ID, Lock, LockKind
from risk_manager.domain.rulebook import AccountRules, Mode


def why_left_alone(account: Account, rules: AccountRules) -> str:
    """Return why an account is in shadow against its configuration; empty where it is not."""
    if rules.mode is Mode.SHADOW or not rules.leaves_alone(simulated=account.simulated):
        return ""
    return (
        f"account {account.id} is a live funded account, and TopstepX forbids automated trading "
        "there: it is in shadow and NOT guarded. To enforce all the same, write "
        f"accounts.{account.id}.enforce_on_live: true in risk_config.yaml"
    )


def acting_locks(account: Account, rules: AccountRules) -> tuple[Lock, ...]:
    """Return the locks to enforce. On an account that is left alone, only those of a person."""
    locks = tuple(account.locks.values())
    if rules.leaves_alone(simulated=account.simulated):
        return tuple(lock for lock in locks if lock.kind is LockKind.MANUAL)
    return locks


def acting_closings(account: Account, rules: AccountRules) -> frozenset[str]:
    """Return the contracts whose closing is to be carried on. See `acting_locks`."""
    if rules.leaves_alone(simulated=account.simulated):
        return frozenset(
            c.contract_id for c in account.closings.values() if _by_a_person(c.rule_ids)
        )
    return frozenset(account.closings)


def _by_a_person(rule_ids: tuple[str, ...]) -> bool:
    return any(rule_id == MANUAL_ID for rule_id in rule_ids)
