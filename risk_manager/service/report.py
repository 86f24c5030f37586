"""How the service is, in one answer: its manager's word, the daemon's own, and the gaps."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from risk_manager.domain.durations import plain_duration
from risk_manager.service.daemon_state import DaemonState, daemon_state
from risk_manager.service.gaps import Gaps, gaps_since
from risk_manager.service.manager import ServiceManager, Unit
from risk_manager.store.schema import StoreError

LOOKED_BACK = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """`absent` says why there is no service manager, and then `unit` is None."""

    manager: str
    name: str
    absent: str | None
    unit: Unit | None
    daemon: DaemonState
    gaps: Gaps | None
    now: datetime

    @property
    def alarms(self) -> list[str]:
        """Everything that keeps the accounts unguarded, or soon may, as sentences."""
        daemon, unit, found = self.daemon, self.unit, []
        if unit is not None and unit.alarm:
            found.append(unit.alarm)
        if daemon.state == "crashed":
            found.append(f"the daemon ended without being stopped; nobody guards{self._since()}")
        if daemon.state == "hangs":
            found.append(f"the daemon hangs: no sign of life{self._since()}")
        if unit is not None and unit.pid and daemon.is_running and unit.pid != daemon.pid:
            found.append(
                f"the daemon with this data folder (pid {daemon.pid}) is not that of the service "
                f"(pid {unit.pid})"
            )
        return found

    @property
    def row(self) -> dict[str, Any]:
        unit = {} if self.unit is None else self.unit.row
        return {
            "service": {"manager": self.manager, "name": self.name, "absent": self.absent, **unit},
            "daemon": self.daemon.row,
            "gaps": None if self.gaps is None else self.gaps.row,
            "alarms": self.alarms,
        }

    def lines(self) -> list[str]:
        days = LOOKED_BACK.days
        gaps = "not known" if self.gaps is None else self.gaps.told()
        return [
            *self._of_the_service(),
            self._of_the_daemon(),
            f"unguarded in the last {days} days: {gaps}",
            *(f"ALARM: {alarm}" for alarm in self.alarms),
        ]

    def _of_the_service(self) -> list[str]:
        unit = self.unit
        if unit is None:
            alone = "; nothing starts the daemon again when it ends"
            return [f"service: {self.absent}{alone}"]
        told = [f"service {self.name} ({self.manager}): {unit.state}"]
        if unit.installed and unit.starts_by_itself is not None:
            told.append(
                "starts with the machine" if unit.starts_by_itself else "does NOT start by itself"
            )
        if unit.pid:
            told.append(f"pid {unit.pid}")
        if unit.restarts is not None:
            told.append(f"started again {unit.restarts} time{'' if unit.restarts == 1 else 's'}")
        return [", ".join(told), *([f"  it says: {unit.says}"] if unit.says else [])]

    def _of_the_daemon(self) -> str:
        daemon = self.daemon
        if daemon.state == "guarding":
            told = [f"daemon: {daemon.status}" + (f" ({daemon.says})" if daemon.says else "")]
            if exposed := daemon.exposure and daemon.exposure.told():
                told.append(exposed)
        elif daemon.state == "unknown":
            return f"daemon: {daemon.says}"
        elif daemon.state == "never ran":
            return "daemon: not running; none has run with this data folder"
        else:
            words = {"silent": "runs, but does not answer", "hangs": "HANGS", "crashed": "CRASHED"}
            told = [f"daemon: {words.get(daemon.state, daemon.state)}{self._since()}"]
            if daemon.state == "silent":
                told.append(daemon.says)
        if daemon.version:
            told.append(f"version {daemon.version}")
        if daemon.pid and daemon.is_running:
            by = f", started by {daemon.started_by}" if daemon.started_by else ""
            told.append(f"pid {daemon.pid}{by}")
        return ", ".join(told)

    def _since(self) -> str:
        since = self.daemon.unguarded_since
        if since is None:
            return ""
        ago = plain_duration(timedelta(seconds=max(round((self.now - since).total_seconds()), 0)))
        return f" since {since.astimezone():%Y-%m-%d %H:%M:%S} ({ago} ago)"


def service_report(manager: ServiceManager, name: str, data: Path) -> ServiceReport:
    """Ask the service manager and the daemon, and read the gaps on record."""
    now = datetime.now(UTC)
    absent = manager.absent()
    daemon = daemon_state(data, now)
    try:
        gaps = gaps_since(data, now - LOOKED_BACK)
    except (StoreError, PermissionError):
        gaps = None
    return ServiceReport(
        manager=manager.kind,
        name=name,
        absent=absent,
        unit=None if absent else manager.unit(name),
        daemon=daemon,
        gaps=gaps,
        now=now,
    )
