"""The form that each service manager takes here."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from risk_manager.service.service import Service
from risk_manager.service.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A service as its manager sees it. None where the manager does not tell.

    `alarm` is a sentence where nobody guards though the service is meant to run.
    """

    installed: bool
    state: str
    is_up: bool = False
    starts_by_itself: bool | None = None
    pid: int | None = None
    restarts: int | None = None
    says: str = ""
    alarm: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        return asdict(self)


NOT_INSTALLED = Unit(installed=False, state="not installed")


class ServiceManager(Protocol):
    """Turns a service command into steps, and reads how a service is."""

    @property
    def kind(self) -> str: ...

    @property
    def default_name(self) -> str: ...

    def absent(self) -> str | None:
        """Return why this manager does not run here, in words; None if it does."""

    def hindrance(self) -> str | None:
        """Return why this user cannot change services here; None if nothing is known."""

    def install(self, service: Service) -> list[Step]:
        """Return the steps; also those of an update. Raises ServiceRefused."""

    def uninstall(self, name: str) -> list[Step]: ...

    def start(self, name: str) -> list[Step]: ...

    def stop(self, name: str) -> list[Step]: ...

    def restart(self, name: str) -> list[Step]: ...

    def unit(self, name: str) -> Unit:
        """Ask the manager. To be called only where it is not `absent`."""
