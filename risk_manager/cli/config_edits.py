"""Carries out an edit of a configuration file: checked, shown, written, and read by the daemon."""

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import to_daemon
from risk_manager.cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from risk_manager.settings import Configuration
    from risk_manager.settings.edits import FileEdit


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="show the difference, and write nothing"
    )


def show(arguments: argparse.Namespace, edit: "FileEdit", after: "Configuration") -> None:
    """Show an edit, and the warnings on the files after it."""
    if arguments.json:
        return
    print_difference(edit.difference())
    for problem in after.warnings:
        if problem.file == edit.name:
            print(f"warning: {problem}", file=sys.stderr)


def print_difference(lines: list[str]) -> None:
    """Print a unified difference, in colour on a terminal."""
    from risk_manager.settings.edits import in_colour

    for line in in_colour(lines) if sys.stdout.isatty() else lines:
        print(line)


def write(arguments: argparse.Namespace, edit: "FileEdit") -> dict[str, Any] | None:
    """Write the edit, and have the running daemon read it. Returns its answer; None without one.

    Raises CommandFailed.
    """
    from risk_manager.admin.edit_delivery import deliver_file
    from risk_manager.feed.client import AdminRefused, FeedUnreachable
    from risk_manager.settings.edits import EditFailed

    try:
        return asyncio.run(deliver_file(edit, arguments.data, to_daemon(arguments)))
    except EditFailed as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    except AdminRefused as refused:
        raise CommandFailed(Exit.REFUSED, refused.message) from None
