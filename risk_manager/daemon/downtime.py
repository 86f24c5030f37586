"""The time in which the daemon was down, and what was traded in it."""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import DataPlace
from risk_manager.domain.events import GuardResumed, HealthIssueChanged, Tick
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.money import cents

log = structlog.get_logger("risk_manager.daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnguardedSince:
    """When guarding ended. `clean`: the daemon had been asked to stop, and never crashed since.

    It is kept in a file until it has been reported, as a daemon that is killed again and again may
    end before it has reported anything.
    """

    at: datetime
    clean: bool

    @classmethod
    def found(
        cls, path: Path, last_clean_stop: datetime | None, last_alive_at: datetime | None
    ) -> "UnguardedSince | None":
        """Return it from the end of the last run and the file; keep it there. None: never guarded.

        `last_alive_at` counts after an unclean end.
        """
        at = last_clean_stop or last_alive_at
        since = None if at is None else cls(at=at, clean=last_clean_stop is not None)
        earlier = cls._kept(path)
        if earlier is not None and since is not None:
            since = cls(at=min(earlier.at, since.at), clean=earlier.clean and since.clean)
        since = since or earlier
        if since is not None:
            since._keep(path)
        return since

    @classmethod
    def _kept(cls, path: Path) -> "UnguardedSince | None":
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            at = datetime.fromisoformat(kept["since"])
            return cls(at=at.astimezone(UTC), clean=kept["clean"] is True)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("unguarded_unreadable", reason=str(error))
            return None

    def reported(self, where: DataPlace) -> None:
        """Remove the file, once nothing is left to report, and give a sign of life."""
        with contextlib.suppress(OSError):
            where.unguarded.unlink(missing_ok=True)
            os.utime(where.heartbeat)

    def _keep(self, path: Path) -> None:
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(
                json.dumps({"since": self.at.isoformat(), "clean": self.clean}), encoding="utf-8"
            )
            os.replace(fresh, path)
        except OSError as error:
            log.warning("unguarded_unwritable", reason=str(error))


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
    parts: Parts, account_ids: Iterable[int], since: UnguardedSince | None, where: DataPlace
) -> None:
    """Report what happened while the daemon was down, once all these accounts have been read.

    A suspicious database is trusted again. The next such time begins after the end of this one.
    """
    store = parts.store
    if store.needs_reconciling and await store.recovery.reconciled():
        parts.put(HealthIssueChanged(at=parts.clock.now(), doubt=IssueKind.DATABASE_LOST))
    if since is None:
        return
    await parts.take(Tick(at=parts.clock.now()))  # what has been read is judged before this
    gap = Gap(began_at=since.at, ended_at=parts.clock.now(), clean=since.clean)
    for account_id in sorted(account_ids):
        traded = gap.traded(parts.state.accounts[account_id].ledger)
        await store.audit("daemon", "was_down", f"account:{account_id}", new=traded)
        log.info("was_down", account=account_id, **traded)
    if gap.began_at < gap.ended_at:
        await parts.take(GuardResumed(at=gap.ended_at, since=gap.began_at, clean=gap.clean))
    since.reported(where)


def last_sign_of_life(heartbeat: Path) -> datetime | None:
    """Return when the heartbeat file was last touched; None without one."""
    try:
        return datetime.fromtimestamp(heartbeat.stat().st_mtime, UTC)
    except OSError:
        return None
