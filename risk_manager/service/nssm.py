"""NSSM on Windows: its parameters, its commands, and how the service is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PureWindowsPath

from risk_manager.service.manager import NOT_INSTALLED, Unit
from risk_manager.service.service import (
    DESCRIPTION,
    DISPLAY_NAME,
    RESTART_AFTER_S,
    STAYS_STOPPED,
    STOP_WITHIN_S,
    Service,
    ServiceRefused,
)
from risk_manager.service.steps import Command, Step, run

# NSSM doubles its pause up to 256 s when the program has run for less than AppThrottle. A daemon
# that guarded has run for longer than this, so that a crash is always followed by AppRestartDelay.
THROTTLE_MS = 100
NO_SUCH_SERVICE = 3  # the exit code of nssm
ROTATE_BYTES = 1_000_000
_OUTPUTS = "service"
_WITHOUT_PASSWORD = re.compile(r"(NT SERVICE|NT AUTHORITY)\\.+|.+\$", re.IGNORECASE)
_PAUSED = (
    "NSSM waits before it starts the daemon again, as it crashed too often (Paused): nobody "
    "guards; see err.log, then: nssm continue {name}"
)


class Nssm:
    """NSSM, which must be on the PATH. `anywhere`: also where this is not Windows."""

    kind = "nssm"
    default_name = "RiskManagerDaemon"

    def __init__(
        self, *, anywhere: bool = False, is_windows: bool = os.name == "nt", elevated: bool = False
    ) -> None:
        self._anywhere = anywhere
        self._is_windows = is_windows
        self._elevated = elevated

    def absent(self) -> str | None:
        if not (self._is_windows or self._anywhere):
            return "this is not Windows; --run runs nssm all the same"
        if shutil.which("nssm") is None:
            return "there is no nssm on the PATH; get it from https://nssm.cc"
        return None

    def hindrance(self) -> str | None:
        if self._is_windows and not self._elevated:
            return "this needs an administrator: open a terminal with 'Run as administrator'"
        return None

    def install(self, service: Service) -> list[Step]:
        account = service.user or rf"NT SERVICE\{service.name}"
        if not _WITHOUT_PASSWORD.fullmatch(account):
            raise ServiceRefused(
                f"{account} has a password, which must not stand on a command line; leave --user "
                "out, or set the account in services.msc afterwards"
            )
        outputs = _join(service.data, _OUTPUTS)
        name, python = service.name, str(service.python)
        is_new = not self._is_installed(name)
        settings: tuple[tuple[str, ...], ...] = (
            ("Application", python),
            ("AppParameters", subprocess.list2cmdline(service.arguments)),
            ("AppDirectory", str(service.data)),
            ("DisplayName", DISPLAY_NAME),
            ("Description", DESCRIPTION),
            ("AppEnvironmentExtra", "PYTHONUTF8=1"),
            ("Start", "SERVICE_DELAYED_AUTO_START"),
            ("AppStopMethodConsole", str(STOP_WITHIN_S * 1000)),
            ("AppExit", "Default", "Restart"),
            *(("AppExit", str(code), "Exit") for code in (0, *STAYS_STOPPED)),
            ("AppRestartDelay", str(RESTART_AFTER_S * 1000)),
            ("AppThrottle", str(THROTTLE_MS)),
            ("AppStdout", _join(outputs, "out.log")),
            ("AppStderr", _join(outputs, "err.log")),
            ("AppRotateFiles", "1"),
            ("AppRotateBytes", str(ROTATE_BYTES)),
        )
        return [
            *([Command(("nssm", "install", name, python))] if is_new else []),
            *(Command(("nssm", "set", name, *setting)) for setting in settings),
            Command(("sc.exe", "config", name, "obj=", account)),
            Command(("cmd.exe", "/c", "mkdir", outputs), optional=True),  # there is one already
            *_grants(service, account),
        ]

    def uninstall(self, name: str) -> list[Step]:
        return [
            Command(("nssm", "stop", name), optional=True),
            Command(("nssm", "remove", name, "confirm")),
        ]

    def start(self, name: str) -> list[Step]:
        return [Command(("nssm", "start", name))]

    def stop(self, name: str) -> list[Step]:
        return [Command(("nssm", "stop", name))]

    def restart(self, name: str) -> list[Step]:
        return [Command(("nssm", "restart", name))]

    def unit(self, name: str) -> Unit:
        ran = run("nssm", "status", name)
        state = ran.out.strip()
        if not state.startswith("SERVICE_"):
            if ran.code == NO_SUCH_SERVICE:
                return NOT_INSTALLED
            return Unit(installed=False, state="unknown", says=ran.first_line)
        start = run("nssm", "get", name, "Start")
        paused = state == "SERVICE_PAUSED"
        return Unit(
            installed=True,
            state=state.removeprefix("SERVICE_").lower().replace("_", " "),
            is_up=state in ("SERVICE_RUNNING", "SERVICE_START_PENDING"),
            starts_by_itself="AUTO_START" in start.out if not start.code else None,
            alarm=_PAUSED.format(name=name) if paused else None,
        )

    def _is_installed(self, name: str) -> bool:
        return self.absent() is None and self.unit(name).installed


def is_elevated() -> bool:
    """Whether this process may change services, on Windows."""
    if sys.platform != "win32":
        return False
    import ctypes

    return bool(ctypes.windll.shell32.IsUserAnAdmin())


def _grants(service: Service, account: str) -> list[Step]:
    """Let the account read the configuration and change the data, and nobody else but admins."""
    closed = (
        *("/inheritance:r", "/grant:r", "*S-1-5-32-544:(OI)(CI)F", "*S-1-5-18:(OI)(CI)F"),
        f"{account}:(OI)(CI)",
    )
    return [
        Command(("icacls", str(folder), *closed[:-1], closed[-1] + rights))
        for folder, rights in ((service.config, "RX"), (service.data, "M"))
    ]


def _join(folder: Path | str, name: str) -> str:
    return str(PureWindowsPath(folder) / name)
