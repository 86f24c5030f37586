"""Reports presets with figures that have expired, for as long as the limits use them."""

from collections.abc import Mapping

from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.domain.events import HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind


class PresetExpiry:
    """Compares the presets of the files last read with the trading date."""

    def __init__(self, parts: Parts, limits: LimitsInForce) -> None:
        self._parts = parts
        self._limits = limits
        self._told: Mapping[str, str] = {}

    def look(self) -> None:
        """Report what has expired since the last look, and withdraw what is in use no longer."""
        today = self._parts.state.day.date
        found = {
            used.preset.preset: reason
            for used in self._limits.configuration.presets
            if (reason := used.expiry(today))
        }
        for name in self._told.keys() | found.keys():
            if self._told.get(name) != found.get(name):
                self._parts.put(
                    HealthIssueChanged(
                        at=self._parts.clock.now(),
                        doubt=IssueKind.PRESET_EXPIRED,
                        subject=name,
                        reason=found.get(name, ""),
                    )
                )
        self._told = found
