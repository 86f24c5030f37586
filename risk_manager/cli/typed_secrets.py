"""The admin password and the second passphrase as a person or a script gives them to a command."""

import argparse
import asyncio
import sys
from dataclasses import dataclass, field
from typing import Self

from risk_manager.cli.hidden_input import read_hidden


def ask_password(prompt: str, *, from_stdin: bool) -> str:
    """Read a password from the terminal without echo, or from a line of standard input.

    It is never taken from the command line. Without a terminal nothing is asked or sent, as an
    empty answer would count as a wrong password.
    """
    return read_hidden("admin password", prompt, from_stdin=from_stdin, instead="--password-stdin")


@dataclass(slots=True)
class TypedSecrets:
    """Asks for one or both, in this order: the password, then lines of the second person."""

    password_stdin: bool
    second_stdin: bool
    _has_password_line: bool = field(init=False)

    def __post_init__(self) -> None:
        self._has_password_line = self.password_stdin and self.second_stdin

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """Return those of a command, by its options."""
        return cls(
            getattr(arguments, "password_stdin", False), getattr(arguments, "second_stdin", False)
        )

    async def password(self) -> str:
        """Ask for the admin password."""
        self._has_password_line = False
        return await asyncio.to_thread(
            ask_password, "Admin password: ", from_stdin=self.password_stdin
        )

    async def second(self, prompt: str) -> str:
        """Ask for the second passphrase, old or new."""
        if self._has_password_line:
            # The daemon did not need the password, but its line comes first all the same.
            self._has_password_line = False
            await asyncio.to_thread(sys.stdin.readline)
        return await asyncio.to_thread(
            read_hidden,
            "second passphrase",
            prompt,
            from_stdin=self.second_stdin,
            instead="--second-stdin",
        )
