"""The daemon's status (STARTING, RUNNING, ...) for daemon.json, the feed and the log."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from risk_manager import __version__
from risk_manager.daemon.assembly import Parts
from risk_manager.domain.events import Hub, HubState
from risk_manager.domain.health_issue import IssueKind
from risk_manager.feed.messages import DatabaseRow, RestRow, Vitals
from risk_manager.feed.server import FeedServer
from risk_manager.store import place

log = structlog.get_logger("risk_manager.daemon")

TOLD_OTHERWISE = (
    IssueKind.HUB_DOWN,
    IssueKind.READS_FAILING,
    IssueKind.ACCOUNT_NOT_GUARDED,  # not configured to be guarded: one alarm is enough
    IssueKind.PRESET_EXPIRED,  # its figures hold all the same
    IssueKind.LIVE_ACCOUNT,  # as it is meant to be; the account itself is shown in shadow
)


@dataclass(slots=True)
class Progress:
    """The daemon's present status, for daemon.json and the feed."""

    status: str = "STARTING"
    message: str = ""


class Status:
    """Publishes the daemon's status, in daemon.json and on the feed once that exists."""

    def __init__(self, data_dir: Path, run_id: str, progress: Progress) -> None:
        self.feed: FeedServer | None = None
        self.database = data_dir / place.DATABASE
        self._progress = progress
        self._data_dir = data_dir
        self._run_id = run_id

    def set(self, status: str, message: str = "") -> None:
        """Publish a status, unless it is the one published last."""
        if (status, message) == (self._progress.status, self._progress.message):
            return
        self._progress.status, self._progress.message = status, message
        log.info("status", status=status, message=message)
        if self.feed is not None:
            self.feed.set_status(status, message)
        self.write_file()

    def write_file(self, status: str | None = None) -> None:
        """Write daemon.json, by which others find the daemon."""
        feed = self.feed
        content = {
            "pid": os.getpid(),
            "run_id": self._run_id,
            "version": __version__,
            "feed_url": feed.url if feed is not None else None,
            "status": status or self._progress.status,
            "database": self.database.relative_to(self._data_dir).as_posix(),
        }
        path = self._data_dir / "daemon.json"
        fresh = path.with_suffix(".json.new")
        try:
            fresh.write_text(json.dumps(content), encoding="utf-8")
            fresh.replace(path)
        except OSError as error:
            log.warning("daemon_file_unwritable", reason=str(error))


def in_one_line(progress: Progress, accounts: int, locked: int) -> str:
    """Return the daemon's status in a line, with how many accounts it watches and has locked."""
    told = progress.status + (f": {progress.message}" if progress.message else "")
    if progress.status not in ("RUNNING", "DEGRADED"):
        return told
    return f"{told}; {accounts} account{'' if accounts == 1 else 's'} guarded, {locked} locked"


def troubles(parts: Parts) -> list[str]:
    """Return the reasons why the daemon is DEGRADED, each as a sentence."""
    found = [
        f"{hub} stream {status.state}" + (f" ({status.reason})" if status.reason else "")
        for hub, status in parts.state.hubs.items()
        if status.state is not HubState.UP
    ]
    found += [
        doubt.reason
        for doubt in parts.state.health_issues.values()
        if doubt.stands and doubt.kind not in TOLD_OTHERWISE
    ]
    if parts.store.trouble:
        found.append(f"database: {parts.store.trouble}")
    if parts.session.trouble:
        found.append(f"login: {parts.session.trouble}")
    for account_id in parts.state.accounts:
        status = parts.reconciler.status(account_id)
        if status.failing_since is not None and not status.is_absent:
            found.append(f"account {account_id} cannot be read: {status.reason}")
    return found


def vitals(parts: Parts) -> Vitals:
    """Return the condition of the parts, for the screens."""
    statuses = [parts.reconciler.status(a) for a in parts.state.accounts]
    failing = next((s for s in statuses if s.failing_since is not None and not s.is_absent), None)
    ages = {str(hub): age for hub in Hub if (age := parts.hubs.last_frame_age(hub)) is not None}
    return Vitals(
        rest=RestRow(ok=failing is None, message=failing.reason if failing else ""),
        db=DatabaseRow(ok=not parts.store.trouble, message=parts.store.trouble or ""),
        token_expires_at=parts.session.token_expires_at,
        hub_message_age_s=ages,
    )
