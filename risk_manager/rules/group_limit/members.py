"""The members of a group as far as they are known: what each holds, and what its day has made.

A member that has not been read is unknown, never zero. One that the daemon cannot see at the moment
counts by what was known of it last.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import ReducePosition
from risk_manager.domain.events import Hub
from risk_manager.domain.health_issue import HealthIssue, IssueKind
from risk_manager.domain.holdings import Position
from risk_manager.domain.live_accounts import acting_closings, acting_locks
from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.money import ZERO
from risk_manager.domain.open_pnl_bounds import last_unrealised
from risk_manager.domain.state import State
from risk_manager.domain.view import View, valuing_price
from risk_manager.rules.day_course import may_have_ended

PATIENCE = timedelta(seconds=10)
"""A member may be unread or unseen for so long, as after a start, before that is told."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A position of a member, and the lots of it that are left once what is under way is done.

    `can_be_cut`: the rule acts on that member, and does not only tell.
    """

    account_id: int
    position: Position
    lots: int
    weight: Decimal
    can_be_cut: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a member counts as last known, or (`is_unknown`) not at all, and since when."""

    account_id: int
    why: str
    is_unknown: bool
    since: datetime | None


def members_known(state: State, account_ids: Collection[int]) -> list[Account]:
    """Return the members of which anything is known."""
    found = (state.accounts.get(account_id) for account_id in sorted(account_ids))
    return [account for account in found if account is not None]


def doubts(state: State, account_ids: Collection[int]) -> list[Doubt]:
    """Return one doubt for each member that is not plainly seen, by account id."""
    found = []
    for account_id in sorted(account_ids):
        account = state.accounts.get(account_id)
        if account is None:
            since = state.awake_since
            found.append(Doubt(account_id, "is not in the login", is_unknown=True, since=since))
        elif account.reported_at is None:
            is_unknown = account.resumed_at is None
            since = account.resumed_at or state.awake_since
            found.append(Doubt(account_id, "has not been read", is_unknown, since))
        elif state.health_issues and (issue := _unseen(state, account_id)) is not None:
            found.append(Doubt(account_id, issue.reason, is_unknown=False, since=issue.since))
    return found


def _unseen(state: State, account_id: int) -> HealthIssue | None:
    """Return the issue that hides what happens in an account now, if any."""
    for issue in state.health_issues.values():
        if not issue.stands or issue.account_id not in (None, account_id):
            continue
        if issue.kind in (IssueKind.READS_FAILING, IssueKind.POSITIONS_DIFFER) or (
            issue.kind is IssueKind.HUB_DOWN and issue.subject == Hub.USER
        ):
            return issue
    return None


def holdings(
    view: View, account_ids: Collection[int], rule_id: str, *, in_micros: bool
) -> Iterator[Holding]:
    """Yield the positions of all members."""
    state = view.state
    for account in members_known(state, account_ids):
        can_be_cut = _is_enforced(state, account, rule_id)
        own = view.projected() if account.id == view.account.id else None
        for contract_id, position in account.positions.items():
            lots = (
                _lots_left(state, account, position)
                if own is None
                else abs(own.get(contract_id, 0))
            )
            weight = (
                state.rulebook.symbols.weight(state.root(contract_id)) if in_micros else Decimal(1)
            )
            yield Holding(account.id, position, lots, weight, can_be_cut)


def _is_enforced(state: State, account: Account, rule_id: str) -> bool:
    rules = state.rulebook.for_account(account.id)
    return any(
        rule.id == rule_id and rules.enforces(rule, simulated=account.simulated)
        for rule in rules.rules
    )


def _lots_left(state: State, account: Account, position: Position) -> int:
    """Return the lots of another account's position after what is being done about it."""
    contract_id = position.contract_id
    rules = state.rulebook.for_account(account.id)
    closing = account.closings.get(contract_id)
    is_closing = closing is not None and closing.episode == position.episode
    if is_closing and contract_id in acting_closings(account, rules):
        return 0
    root = state.root(contract_id)
    if any(
        lock.policy is LockPolicy.FLAT and lock.covers(root, contract_id)
        for lock in acting_locks(account, rules)
    ):
        return 0
    attempt = account.attempts.get(f"position:{contract_id}")
    action = attempt.action if attempt is not None and attempt.in_flight else None
    if isinstance(action, ReducePosition) and action.episode == position.episode:
        return min(position.size, action.keep)
    return position.size


def day_result(view: View, account_ids: Collection[int], *, counts_open: bool) -> Decimal:
    """Return the net result of the day of all known members together.

    A position without a fresh price counts at its last one where that is a loss. A gain that is not
    certain excuses nothing. A position that a fill may have closed a moment ago does not count
    beside the result of that fill.
    """
    state = view.state
    total = ZERO
    for account in members_known(state, account_ids):
        total += account.ledger.day(state.day.date).net
        if counts_open:
            total += sum(
                (
                    _open_result(state, position)
                    for contract_id, position in account.positions.items()
                    if not may_have_ended(account, contract_id, state.now)
                ),
                ZERO,
            )
    return total


def _open_result(state: State, position: Position) -> Decimal:
    quote = state.fresh_quote(position.contract_id)
    if quote is not None and position.valuation is not None:
        price = valuing_price(quote, position, state.rulebook.defaults.pnl_price)
        if price is not None:
            return position.valuation.unrealised(price)
    return min(last_unrealised(state, position) or ZERO, ZERO)
