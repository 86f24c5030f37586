"""systemd: the unit, the commands of systemctl, and how the service is."""

import os
import re
import shutil
from pathlib import Path

from risk_manager.service.manager import NOT_INSTALLED, Unit
from risk_manager.service.service import (
    DESCRIPTION,
    HANGS_AFTER_S,
    RESTART_AFTER_S,
    STAYS_STOPPED,
    STOP_WITHIN_S,
    Service,
    ServiceRefused,
)
from risk_manager.service.steps import Command, File, FileRemoved, Step, run

UNITS = Path("/etc/systemd/system")
RUNS = Path("/run/systemd/system")
USER = "riskmanager"
START_WITHIN_S = 60
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
_PLAIN = re.compile(r"[\w /.+@:,=~-]+")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_ASKED = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText",
    "Result", "ExecMainStatus",
)  # fmt: skip

# MemoryDenyWriteExecute is left out: a library of the gateway's SDK makes memory executable when it
# is loaded, and the daemon would not start. PrivateUsers is left out: the owners of the folders,
# which the daemon checks, would not be seen.
UNIT = """\
# Made by: risk-manager admin service install
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target time-sync.target
# No limit of starts: a guard that has given up guards nothing.
StartLimitIntervalSec=0

[Service]
# READY is sent when every account is guarded, however long the gateway takes: each sign of life
# prolongs the start by {start} s.
Type=notify
NotifyAccess=main
TimeoutStartSec={start}
# The event loop gives a sign of life each second.
WatchdogSec={hangs}
TimeoutStopSec={stop}
User={user}
ExecStart={command}
WorkingDirectory=/
Environment=XDG_STATE_HOME=%S/{name}-accounts
StateDirectory={name}-accounts
StateDirectoryMode=0700
ReadWritePaths={data}
UMask=0077
# A crash, a hang and a full disk are started again; what would end the same way is not.
Restart=on-failure
RestartSec={restart}
RestartPreventExitStatus={stays}

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# A dump of the memory would hold the key.
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


class Systemd:
    """The system's own systemd, not that of a user's session, which ends with the session."""

    kind = "systemd"
    default_name = "risk-manager"

    def __init__(self, units: Path = UNITS, runs: Path = RUNS) -> None:
        self._units = units
        self._runs = runs

    def absent(self) -> str | None:
        if shutil.which("systemctl") is None:
            return "there is no systemd here (no systemctl)"
        if not self._runs.is_dir():
            return f"systemd does not run here (no {self._runs}; a container?)"
        return None

    def hindrance(self) -> str | None:
        return None if os.geteuid() == 0 else "this needs root: run it with sudo"

    def install(self, service: Service) -> list[Step]:
        _require_plain(service)
        user = service.user or USER
        steps: list[Step] = []
        if not _exists(user):
            nologin = (
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/usr/sbin/nologin",
            )
            steps.append(Command(("useradd", "--system", "--user-group", *nologin, user)))
        return [
            *steps,
            Command(("install", "-d", "-m", "0700", str(service.data))),
            Command(("chown", "-R", f"{user}:", str(service.data))),
            File(self._file(service.name), unit_text(service)),
            Command(("systemctl", "daemon-reload")),
            Command(("systemctl", "enable", service.name)),
        ]

    def uninstall(self, name: str) -> list[Step]:
        return [
            Command(("systemctl", "disable", "--now", name), optional=True),
            FileRemoved(self._file(name)),
            Command(("systemctl", "daemon-reload")),
            Command(("systemctl", "reset-failed", name), optional=True),
        ]

    def start(self, name: str) -> list[Step]:
        # Without waiting for READY, which comes only once the gateway answers.
        return [Command(("systemctl", "start", "--no-block", name))]

    def stop(self, name: str) -> list[Step]:
        return [Command(("systemctl", "stop", name))]

    def restart(self, name: str) -> list[Step]:
        return [Command(("systemctl", "restart", "--no-block", name))]

    def unit(self, name: str) -> Unit:
        ran = run("systemctl", "show", f"{name}.service", f"--property={','.join(_ASKED)}")
        told = dict(line.split("=", 1) for line in ran.out.splitlines() if "=" in line)
        if ran.code or not told:
            return Unit(installed=self._file(name).exists(), state="unknown", says=ran.first_line)
        if told.get("LoadState") == "not-found":
            return NOT_INSTALLED
        active, sub = told.get("ActiveState", "unknown"), told.get("SubState", "")
        return Unit(
            installed=True,
            state=f"{active} ({sub})" if sub else active,
            is_up=active in ("active", "activating", "reloading"),
            starts_by_itself=told.get("UnitFileState") == "enabled",
            pid=int(told.get("MainPID", "0")) or None,
            restarts=int(told.get("NRestarts", "0")),
            says=told.get("StatusText", ""),
            alarm=_alarm(active, sub, told),
        )

    def _file(self, name: str) -> Path:
        return self._units / f"{name}.service"


def unit_text(service: Service) -> str:
    """Return the unit file of a service."""
    at_home = any(
        path.is_relative_to(home)
        for path in (service.python, service.config, service.data)
        for home in _HOMES
    )
    return UNIT.format(
        description=DESCRIPTION.rstrip("."),
        name=service.name,
        user=service.user or USER,
        command=" ".join(map(_quoted, (str(service.python), *service.arguments))),
        data=_quoted(str(service.data)),
        start=START_WITHIN_S,
        hangs=HANGS_AFTER_S,
        stop=STOP_WITHIN_S,
        restart=RESTART_AFTER_S,
        stays=" ".join(map(str, STAYS_STOPPED)),
        home="read-only" if at_home else "yes",
    )


def _alarm(active: str, sub: str, told: dict[str, str]) -> str | None:
    code = told.get("ExecMainStatus", "")
    if active == "failed":
        why = f"result {told.get('Result', 'unknown')}, exit code {code}"
        return f"systemd has given the service up ({why}) and does not start it again"
    if sub == "auto-restart":
        return f"the daemon ended with code {code}; systemd starts it again"
    return None


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def _require_plain(service: Service) -> None:
    """Refuse what a unit would not take as it stands, or would not see."""
    for path in (service.python, service.config, service.data):
        if not _PLAIN.fullmatch(str(path)):
            raise ServiceRefused(
                f"{path} has signs that a unit reads otherwise; give a path of letters, digits, "
                "spaces and _ . + - only"
            )
        if any(path.is_relative_to(folder) for folder in _TEMPORARY):
            raise ServiceRefused(f"a service does not see {path}: it has a /tmp of its own")


def _exists(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
