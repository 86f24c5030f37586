"""Whether the daemon's picture of market and accounts is up to date now. Pure."""

from datetime import datetime, timedelta

from risk_manager.domain.events import Hub, HubState
from risk_manager.domain.health_issue import BLIND, IssueKind
from risk_manager.domain.state import State

JUDGED_WITHIN = timedelta(seconds=5)
_NOT_GUARDED = BLIND | {IssueKind.ACCOUNT_MISSING}


def is_fresh(state: State, now: datetime) -> bool:
    """Whether events are judged, both streams are up, every account has been read, and nothing
    hides changes from the daemon."""
    if now - state.now > JUDGED_WITHIN or not state.accounts:
        return False
    hubs = (state.hubs.get(hub) for hub in Hub)
    if not all(hub is not None and hub.state is HubState.UP for hub in hubs):
        return False
    if any(issue.stands and issue.kind in _NOT_GUARDED for issue in state.health_issues.values()):
        return False
    return all(account.reported_as_of is not None for account in state.accounts.values())
