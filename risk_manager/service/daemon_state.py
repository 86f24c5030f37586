"""How the daemon itself is: by its feed, and where that does not answer, by its files."""

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.folder import closed_to_us, is_in_use
from risk_manager.feed.client import FeedUnreachable, read_once
from risk_manager.service.service import HANGS_AFTER_S

FILE = "daemon.json"
HEARTBEAT = "heartbeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What is open and what is locked on the guarded accounts."""

    contracts: int
    locked: int

    def told(self) -> str | None:
        """Return a sentence; None where nothing is open or locked."""
        parts = []
        if self.contracts:
            parts.append(f"{self.contracts} contract{'' if self.contracts == 1 else 's'} open")
        if self.locked:
            parts.append(f"{self.locked} account{'' if self.locked == 1 else 's'} locked")
        return " and ".join(parts) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonState:
    """`state` is guarding, silent (it holds the folder and its feed does not answer), hangs,
    stopped, crashed, never ran or unknown. `status` and `says` are the daemon's own words.
    """

    state: str
    status: str | None = None
    says: str = ""
    pid: int | None = None
    version: str | None = None
    started_by: str | None = None
    unguarded_since: datetime | None = None
    exposure: Exposure | None = None

    @property
    def is_running(self) -> bool:
        return self.state in ("guarding", "silent", "hangs")

    @property
    def row(self) -> dict[str, Any]:
        since = self.unguarded_since
        return {**asdict(self), "unguarded_since": None if since is None else since.isoformat()}


def daemon_state(data: Path, now: datetime) -> DaemonState:
    """Look at a data folder and at the daemon that holds it."""
    if (closed := closed_to_us(data)) is not None:
        return DaemonState(state="unknown", says=closed)
    about = _about(data)
    if not is_in_use(data):
        return _not_running(data, about)
    pid = about.get("pid")
    running = DaemonState(
        state="guarding",
        status=about.get("status"),
        pid=pid,
        version=about.get("version"),
        started_by=_parent(pid),
    )
    try:
        status, snapshot, _ = asyncio.run(read_once(data))
    except FeedUnreachable as silent:
        seen = max(filter(None, (_touched(data / n) for n in (HEARTBEAT, FILE))), default=None)
        hangs = seen is not None and (now - seen).total_seconds() > HANGS_AFTER_S
        return replace(
            running,
            state="hangs" if hangs else "silent",
            says=str(silent),
            unguarded_since=seen if hangs else None,
        )
    accounts = snapshot["accounts"]
    return replace(
        running,
        status=status.status,
        says=status.message,
        exposure=Exposure(
            contracts=sum(a["contracts_held"] for a in accounts),
            locked=sum(bool(a["locks"]) for a in accounts),
        ),
    )


def _not_running(data: Path, about: dict[str, Any]) -> DaemonState:
    status = about.get("status")
    if status is None:
        return DaemonState(state="never ran")
    version = about.get("version")
    if status == "STOPPED":
        since = _touched(data / FILE)
        return DaemonState(state="stopped", status=status, version=version, unguarded_since=since)
    since = _touched(data / HEARTBEAT) or _touched(data / FILE)
    return DaemonState(state="crashed", status=status, version=version, unguarded_since=since)


def _about(data: Path) -> dict[str, Any]:
    try:
        about = json.loads((data / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _touched(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def _parent(pid: int | None) -> str | None:
    """Return what started a process, where /proc tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        parent = next(x.split()[1] for x in status.splitlines() if x.startswith("PPid:"))
        name = Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").strip()
    except (OSError, StopIteration, IndexError):
        return None
    return f"{name} (pid {parent})"
