"""Which program is run as a service, with which folders, by whom, and how it is started again."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from risk_manager.daemon.exits import EXIT_CONFIGURATION, EXIT_CREDENTIALS
from risk_manager.instance_lock import EXIT_ALREADY_RUNNING

DISPLAY_NAME = "Risk Manager Daemon"
DESCRIPTION = "Watches trading accounts and enforces the limits set for them."
RESTART_AFTER_S = 2
"""With the two to four seconds of a start, nobody guards for less than ten after a crash."""
STOP_WITHIN_S = 20
"""The daemon ends itself after 15 s; a service manager must wait longer before it kills."""
HANGS_AFTER_S = 10
"""The daemon gives a sign of life each second."""
EXIT_USAGE = 2
STAYS_STOPPED = (EXIT_USAGE, EXIT_CREDENTIALS, EXIT_CONFIGURATION, EXIT_ALREADY_RUNNING)
"""Exit codes after which another start would end the same way, or lock the login."""


class ServiceRefused(Exception):
    """A service command cannot be carried out. The message is one line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The daemon as a service. `user` runs it; None: the service manager's own choice."""

    name: str
    python: Path
    config: Path
    data: Path
    user: str | None = None

    @classmethod
    def of_this_program(
        cls, name: str, config: Path, data: Path, *, user: str | None = None
    ) -> Self:
        return cls(
            name=name,
            python=Path(sys.executable),
            config=config.absolute(),
            data=data.absolute(),
            user=user,
        )

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of Python.

        Isolated (-I): neither a module in the working folder nor a PYTHON variable changes it.
        A daemon that is killed because it hangs says where it was (faulthandler).
        """
        return (
            *("-I", "-X", "utf8", "-X", "faulthandler", "-m", "risk_manager", "run"),
            *("--config", str(self.config), "--data", str(self.data)),
        )
