"""A change of the service, prepared to be shown and confirmed before it is carried out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from risk_manager.service.daemon_state import daemon_state
from risk_manager.service.manager import ServiceManager
from risk_manager.service.readiness import remarks
from risk_manager.service.service import Service
from risk_manager.service.steps import Step, carry_out
from risk_manager.service.systemd import USER
from risk_manager.settings.loading import load

_ENDS = {
    "install": "installed. Check it with: risk-manager doctor, then start it with: "
    "risk-manager admin service start",
    "uninstall": "removed; configuration and data are where they were. "
    "A lock that has not ended acts again after the next start",
    "stop": "stopped; nothing is enforced. "
    "A lock that has not ended acts again after the next start",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """The steps of a verb. `remarks` say what would keep the service from starting.

    `why_not` says why nothing can be changed here; None if it can.
    """

    verb: str
    name: str
    steps: Sequence[Step]
    remarks: Sequence[str]
    why_not: str | None

    def carry_out(self, show: Callable[[Step], None]) -> None:
        """Carry the steps out, each shown first. Raises ServiceRefused at the first fault."""
        carry_out(self.steps, show)

    @property
    def told_end(self) -> str:
        """A sentence on what was done and what comes next."""
        return _ENDS.get(self.verb, "asked for; see: risk-manager admin service status")


def prepare(
    manager: ServiceManager,
    verb: str,
    name: str,
    config: Path,
    data: Path,
    *,
    user: str | None = None,
) -> ServiceChange:
    """Prepare install, uninstall, start, stop or restart. `user` runs an installed service.

    Raises ServiceRefused, or ConfigurationErrors before an install.
    """
    found: Sequence[str] = ()
    if verb == "install":
        configuration = load(config)
        service = Service.of_this_program(name, config, data, user=user)
        runs_it = user or (USER if manager.kind == "systemd" else None)
        steps = manager.install(service)
        found = remarks(service, runs_it, configuration)
    else:
        steps = getattr(manager, verb)(name)
    why_not = manager.absent() or manager.hindrance()
    return ServiceChange(verb=verb, name=name, steps=steps, remarks=found, why_not=why_not)


def exposure_told(data: Path) -> str | None:
    """Return what is open or locked now, in words; None if nothing is, or it is not known."""
    exposure = daemon_state(data, datetime.now(UTC)).exposure
    return (exposure and exposure.told()) or None
