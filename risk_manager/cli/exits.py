"""How a command ends: its exit code, and one line for a person."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes, on which scripts and service wrappers rely."""

    DONE = 0
    REFUSED = 1  # or a failed check
    USAGE = 2
    UNREACHABLE = 3  # the daemon
    CREDENTIALS = 4  # of the gateway
    CONFIGURATION = 5
    DATABASE = 6
    ALREADY_RUNNING = 7
    INTERNAL = 70


class CommandFailed(Exception):
    """A command cannot do what was asked. The message is one line for a person."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
