"""Which service manager belongs to this system."""

import sys

from risk_manager.service.launchd import Launchd
from risk_manager.service.manager import ServiceManager
from risk_manager.service.nssm import Nssm, is_elevated
from risk_manager.service.systemd import Systemd

KINDS = ("nssm", "systemd", "launchd")
_OF_SYSTEM = {"win32": "nssm", "darwin": "launchd"}


def service_manager(kind: str | None = None, *, anywhere: bool = False) -> ServiceManager:
    """Return a service manager by its name, or that of this system.

    `anywhere`: NSSM is taken for usable wherever there is one, not only on Windows.
    """
    match kind or _OF_SYSTEM.get(sys.platform, "systemd"):
        case "nssm":
            return Nssm(anywhere=anywhere, elevated=is_elevated())
        case "launchd":
            return Launchd()
        case _:
            return Systemd()
