"""The time in which the daemon was down, and what was traded in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from risk_manager.daemon.assembly import Parts
from risk_manager.domain.events import GuardResumed, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.money import cents

log = structlog.get_logger("risk_manager.daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which nobody guarded. `clean`: the daemon had been asked to stop."""

    began_at: datetime
    ended_at: datetime
    clean: bool

    def traded(self, ledger: Ledger) -> dict[str, Any]:
        """Return what was traded in this time, by the broker's executions."""
        totals = ledger.between(self.began_at, self.ended_at)
        return {
            "from": self.began_at,
            "to": self.ended_at,
            "stopped_cleanly": self.clean,
            "executions": totals.executions,
            "net": str(cents(totals.net)),
        }


async def end_downtime(
    parts: Parts, account_ids: Iterable[int], last_alive_at: datetime | None
) -> None:
    """Report what happened while the daemon was down, once all these accounts have been read.

    A suspicious database is trusted again. `last_alive_at` counts after an unclean end.
    """
    store = parts.store
    if store.needs_reconciling and await store.recovery.reconciled():
        parts.put(HealthIssueChanged(at=parts.clock.now(), doubt=IssueKind.DATABASE_LOST))
    began_at = store.last_clean_stop or last_alive_at
    if began_at is None:
        return
    gap = Gap(
        began_at=began_at,
        ended_at=parts.clock.now(),
        clean=store.last_clean_stop is not None,
    )
    for account_id in sorted(account_ids):
        traded = gap.traded(parts.state.accounts[account_id].ledger)
        await store.audit("daemon", "was_down", f"account:{account_id}", new=traded)
        log.info("was_down", account=account_id, **traded)
    if gap.began_at < gap.ended_at:
        await parts.take(GuardResumed(at=gap.ended_at, since=gap.began_at, clean=gap.clean))


def last_sign_of_life(heartbeat: Path) -> datetime | None:
    """Return when the heartbeat file was last touched; None without one."""
    try:
        return datetime.fromtimestamp(heartbeat.stat().st_mtime, UTC)
    except OSError:
        return None
