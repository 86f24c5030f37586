"""launchd on macOS: the property list, the commands of launchctl, and how the service is."""

import os
import plistlib
import re
import shutil
from pathlib import Path
from typing import Any

from risk_manager.service.manager import NOT_INSTALLED, Unit
from risk_manager.service.service import RESTART_AFTER_S, STOP_WITHIN_S, Service, ServiceRefused
from risk_manager.service.steps import Command, File, FileRemoved, Step, run

SYSTEM = Path("/Library/LaunchDaemons")
ZERO_WHEN_HOPELESS = "--zero-when-hopeless"


class Launchd:
    """Without root an agent of this user, which runs while the user is signed in; with root, and
    a `user` for it, a daemon that runs from the start of the machine."""

    kind = "launchd"
    default_name = "risk-manager"

    def __init__(
        self, *, uid: int | None = None, agents: Path | None = None, system: Path = SYSTEM
    ) -> None:
        self._uid = uid if uid is not None else (os.geteuid() if os.name == "posix" else 0)
        self._folder = system if self._uid == 0 else agents or Path.home() / "Library/LaunchAgents"
        self._domain = "system" if self._uid == 0 else f"gui/{self._uid}"

    def absent(self) -> str | None:
        if shutil.which("launchctl") is None:
            return "there is no launchd here (no launchctl)"
        return None

    def hindrance(self) -> str | None:
        return None

    def install(self, service: Service) -> list[Step]:
        is_system = self._uid == 0
        if is_system and service.user is None:
            raise ServiceRefused(
                "as root it would run with all rights; name another user with --user, or run this "
                "without sudo for an agent of your own"
            )
        if not is_system and service.user is not None:
            raise ServiceRefused("a service of another user needs root: run it with sudo")
        owner: list[Step] = []
        if service.user is not None:
            owner = [Command(("chown", "-R", service.user, str(service.data)))]
        return [
            Command(("install", "-d", "-m", "0700", str(service.data))),
            *owner,
            File(self._file(service.name), property_list(service)),
            Command(("launchctl", "bootout", self._target(service.name)), optional=True),
            Command(("launchctl", "enable", self._target(service.name))),
            Command(("launchctl", "bootstrap", self._domain, str(self._file(service.name)))),
        ]

    def uninstall(self, name: str) -> list[Step]:
        return [
            Command(("launchctl", "bootout", self._target(name)), optional=True),
            FileRemoved(self._file(name)),
        ]

    def start(self, name: str) -> list[Step]:
        return [Command(("launchctl", "kickstart", self._target(name)))]

    def stop(self, name: str) -> list[Step]:
        # The daemon then ends with 0, after which launchd leaves it stopped.
        return [Command(("launchctl", "kill", "SIGTERM", self._target(name)))]

    def restart(self, name: str) -> list[Step]:
        return [Command(("launchctl", "kickstart", "-k", self._target(name)))]

    def unit(self, name: str) -> Unit:
        ran = run("launchctl", "print", self._target(name))
        if ran.code:
            file = self._file(name)
            return Unit(installed=True, state="not loaded") if file.exists() else NOT_INSTALLED
        runs, code = _number(ran.out, "runs"), _number(ran.out, "last exit code")
        found = re.search(r"^\s*state = (.+)$", ran.out, re.MULTILINE)
        state = found[1].strip() if found else "unknown"
        is_up = state == "running"
        return Unit(
            installed=True,
            state=state,
            is_up=is_up,
            starts_by_itself=True,
            pid=_number(ran.out, "pid"),
            restarts=None if runs is None else max(runs - 1, 0),
            alarm=f"the daemon ended with code {code}; launchd starts it again"
            if not is_up and code
            else None,
        )

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.plist"

    def _target(self, name: str) -> str:
        return f"{self._domain}/{name}"


def property_list(service: Service) -> str:
    """Return the property list of a service.

    launchd does not tell exit codes apart, only 0 from the others: the daemon itself ends with 0
    where another start would not help.
    """
    content: dict[str, Any] = {
        "Label": service.name,
        "ProgramArguments": [str(service.python), *service.arguments, ZERO_WHEN_HOPELESS],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_AFTER_S,
        "ExitTimeOut": STOP_WITHIN_S,
        "ProcessType": "Interactive",  # not slowed down while nobody is at the machine
        "Umask": 0o077,
        "WorkingDirectory": "/",
        "HardResourceLimits": {"Core": 0},
        "StandardErrorPath": str(service.data / "service.err.log"),
    }
    if service.user is not None:
        content["UserName"] = service.user
    return plistlib.dumps(content, sort_keys=False).decode()


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"^\s*{name} = (-?\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None
