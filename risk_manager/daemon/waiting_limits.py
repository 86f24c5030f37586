"""Tells on the feed which edited limits wait for the reset, as `admin config pending` does."""

from risk_manager.admin.config_changes import Committed
from risk_manager.admin.effective import told_values
from risk_manager.feed.messages import Waiting, WaitingChange
from risk_manager.settings.changes import Change, When


def told_waiting(standing: Committed) -> Waiting | None:
    """Return what waits, in words; None where nothing does."""
    found, older = standing.waiting(), standing.kept()
    if not found.changes and not older:
        return None
    return Waiting(
        counts_from=found.reset or standing.commitment.next_reset(standing.now),
        changes=tuple(map(_told, found.changes)),
        older=older,
    )


def _told(change: Change) -> WaitingChange:
    old, new = told_values(change.old, change.new)
    return WaitingChange(
        key=change.key,
        old=old,
        new=new,
        effect=change.effect.value,
        counts_now=change.when is When.BOTH,
        account_id=change.account_id,
        rule_id=change.rule_id,
        name=change.name,
    )
