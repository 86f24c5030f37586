"""Shows an edit of the limits, asks, writes it, and has the daemon read it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import to_daemon
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.places import add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.admin.config_edits import Proposal

Row = Mapping[str, Any]


def add_edit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every verb that edits the files."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would change, and write nothing"
    )
    add_places(parser)
    add_url(parser)
    add_json(parser)
    add_password_stdin(parser)


def refused[T](make: Callable[[], T]) -> T:
    """Return what is made; an edit that cannot be made ends the command with its reason."""
    from risk_manager.settings.yaml_edits import EditRefused

    try:
        return make()
    except EditRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None


def tell_changes(found: Row) -> None:
    """Print each changed field with its effect and when it counts."""
    from risk_manager.admin.limit_proposals import told_changes

    for line in told_changes(found):
        print(f"  {line}")


def carry_out(arguments: argparse.Namespace, proposal: "Proposal") -> int:
    """Show an edit, ask, write it, and have the running daemon read it."""
    from risk_manager.admin.limit_proposals import compared, new_warnings

    shown = compared(proposal, arguments.data)
    report = {
        "difference": proposal.difference,
        "files": sorted(proposal.texts),
        "written": False,
        **shown,
        "daemon": None,
    }
    if not proposal.texts:
        return _end(arguments, report, "nothing to change: the files say so already")
    if not arguments.json:
        print(proposal.difference)
        tell_changes(shown)
        for warning in new_warnings(proposal):
            print(f"warning: {warning}", file=sys.stderr)
    if arguments.dry_run:
        return _end(arguments, report, "nothing was written (--dry-run)")
    confirm(arguments, "Write this?")
    return asyncio.run(_written(arguments, proposal, report))


def confirm(arguments: argparse.Namespace, question: str) -> None:
    """Ask for a yes, unless `--yes` was given. Raises CommandFailed for anything else."""
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(Exit.REFUSED, "nobody can be asked here; say --yes")
    if input(f"{question} Type yes: ").strip().lower() not in ("y", "yes"):
        raise CommandFailed(Exit.REFUSED, "nothing was written")


async def _written(
    arguments: argparse.Namespace, proposal: "Proposal", report: dict[str, Any]
) -> int:
    from risk_manager.admin.edit_delivery import deliver, told_reading
    from risk_manager.feed.client import AdminRefused, FeedUnreachable
    from risk_manager.settings.yaml_edits import EditRefused

    try:
        answer = await deliver(proposal, to_daemon(arguments))
    except EditRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    except AdminRefused as error:
        raise CommandFailed(Exit.REFUSED, error.message) from None
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    report |= {"written": True, "daemon": "stopped" if answer is None else "read"} | (answer or {})
    return _end(arguments, report, told_reading(answer))


def _end(arguments: argparse.Namespace, report: dict[str, Any], told: str) -> int:
    print(json.dumps(report, indent=2) if arguments.json else told)
    return Exit.DONE
