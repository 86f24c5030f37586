"""Reads a secret without showing it: hidden at a terminal, or as a line of the standard input."""

import getpass
import sys

from risk_manager.cli.exits import CommandFailed, Exit


def read_hidden(what: str, prompt: str, *, from_stdin: bool, instead: str) -> str:
    """Read a secret. It is never taken from the command line.

    Without a terminal and without `from_stdin` nothing is asked; `instead` names the option.
    """
    needed = f"a terminal is needed (or {instead})"
    if not from_stdin and not sys.stdin.isatty():
        raise CommandFailed(Exit.REFUSED, f"the {what} is asked for: {needed}")
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else getpass.getpass(prompt)
    if not given:
        came = f"none came on the standard input; {needed}" if from_stdin else "none was given"
        raise CommandFailed(Exit.REFUSED, f"no {what}, nothing was done: {came}")
    return given
