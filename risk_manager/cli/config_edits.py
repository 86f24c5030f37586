"""Carries out an edit of a configuration file: checked, shown, written, and read by the daemon."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import call
from risk_manager.cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from risk_manager.settings import Configuration
    from risk_manager.settings.edits import FileEdit


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="show the difference, and write nothing"
    )


def begin(
    arguments: argparse.Namespace, name: str, change: "Callable[[FileEdit], None]"
) -> "FileEdit":
    """Return a file with a change made, not written yet. Raises CommandFailed."""
    from risk_manager.settings.edits import EditFailed, FileEdit
    from risk_manager.settings.yaml_edit import CannotEdit

    try:
        edit = FileEdit.begin(arguments.config, name)
        change(edit)
    except (EditFailed, CannotEdit) as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    return edit


def show(arguments: argparse.Namespace, edit: "FileEdit") -> "Configuration":
    """Check the edit with all files, and show it. ConfigurationErrors tell what is wrong."""
    configuration = edit.check()
    if not arguments.json:
        print_difference(edit.difference())
        for problem in configuration.warnings:
            if problem.file == edit.name:
                print(f"warning: {problem}", file=sys.stderr)
    return configuration


def print_difference(lines: list[str]) -> None:
    """Print a unified difference, in colour on a terminal."""
    from risk_manager.settings.edits import in_colour

    for line in in_colour(lines) if sys.stdout.isatty() else lines:
        print(line)


def write(arguments: argparse.Namespace, edit: "FileEdit") -> dict[str, Any] | None:
    """Write the edit, and have the running daemon read it. Returns its answer; None without one.

    If the daemon refuses, or the password is not given, the old file is put back: an edit that is
    not allowed must not wait for the next start. Raises CommandFailed.
    """
    from risk_manager.admin.folder import is_in_use
    from risk_manager.feed.client import AdminRefused, FeedUnreachable
    from risk_manager.settings.edits import EditFailed

    try:
        edit.write()
    except EditFailed as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    try:
        answer: dict[str, Any] = asyncio.run(call(arguments, "reload_config", {}))
    except FeedUnreachable as error:
        if is_in_use(arguments.data):
            raise CommandFailed(
                Exit.UNREACHABLE,
                f"{edit.name} is written, but the daemon did not read it: {error}; run: "
                "risk-manager admin config reload",
            ) from None
        return None
    except AdminRefused as refused:
        _undo(edit)
        raise CommandFailed(Exit.REFUSED, f"{refused.message}; {edit.name} is as it was") from None
    except BaseException:  # no password, the end of the input, Ctrl-C
        _undo(edit)
        raise
    return answer


def _undo(edit: "FileEdit") -> None:
    from risk_manager.settings.edits import EditFailed

    try:
        edit.undo()
    except EditFailed as error:
        raise CommandFailed(
            Exit.CONFIGURATION, f"the edit is refused and could not be taken back: {error}"
        ) from None
