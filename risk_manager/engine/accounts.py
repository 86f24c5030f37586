"""One account replaced in the state, with everything that the state keeps beside the accounts."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from risk_manager.domain.account import Account
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Position
from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.state import State
from risk_manager.engine import quote_belief


def with_account(state: State, before: Account | None, after: Account) -> State:
    """Return the state with one account replaced and the index of holders updated."""
    if after is before:
        return state
    if after.ceilings and not any(
        lock.policy is LockPolicy.NO_ENTRIES for lock in after.locks.values()
    ):
        after = fast_replace(after, ceilings={})
    holders: Mapping[str, tuple[int, ...]] = state.holders
    old: Mapping[str, Position] = before.positions if before is not None else {}
    if after.positions is not old:
        holders = _holders(holders, after.id, old.keys(), after.positions.keys())
    state = fast_replace(
        state,
        accounts={**state.accounts, after.id: after},
        holders=holders,
        roots=_roots(state, before, after),
    )
    if state.doubted and after.positions is not old:
        state = quote_belief.entered(state, after.positions)
    return state


def _roots(state: State, before: Account | None, after: Account) -> Mapping[str, str]:
    """The known roots, and those of the contracts that have come into play."""
    known = state.roots
    if before is not None and before.contract_ids() == after.contract_ids():
        return known
    unknown = [c for c in after.contract_ids() if c not in known]
    if not unknown:
        return known
    symbols = state.rulebook.symbols
    return {**known, **{c: symbols.root(c, state.contracts.get(c)) for c in unknown}}


def _holders(
    holders: Mapping[str, tuple[int, ...]],
    account_id: int,
    old: AbstractSet[str],
    new: AbstractSet[str],
) -> Mapping[str, tuple[int, ...]]:
    if old == new:
        return holders
    changed = dict(holders)
    for contract_id in sorted(new - old):
        changed[contract_id] = (*changed.get(contract_id, ()), account_id)
    for contract_id in old - new:
        left = tuple(a for a in changed.get(contract_id, ()) if a != account_id)
        if left:
            changed[contract_id] = left
        else:
            changed.pop(contract_id, None)
    return changed
