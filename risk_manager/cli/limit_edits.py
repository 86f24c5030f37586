"""Shows an edit of the limits, asks, writes it, and has the daemon read it."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import ask_password
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.places import add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.admin.config_edits import Proposal
    from risk_manager.feed.client import AdminClient

Row = Mapping[str, Any]
STOPPED = "the daemon does not run: this is read at its next start, and what is looser waits"


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


def told_changes(changes: Iterable[Row], reset: str | None) -> None:
    """Print each changed field with its effect and when it counts."""
    from risk_manager.admin.effective import told_change, told_time

    for change in changes:
        print("  " + told_change(change, told_time(reset)))


def carry_out(arguments: argparse.Namespace, proposal: "Proposal") -> int:
    """Show an edit, ask, write it, and have the running daemon read it."""
    from risk_manager.admin.config_changes import Committed

    files = proposal.after
    standing = Committed.read(arguments.data, datetime.now(UTC))
    shown: dict[str, Any] = {"changes": [], "next_reset": None}
    if standing is not None:
        shown = standing.compared_with(files).plain()
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
        told_changes(shown["changes"], shown["next_reset"])
        for warning in files.warnings:
            if warning not in proposal.before.warnings:
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
    from risk_manager.feed.client import AdminClient, AdminRefused, FeedUnreachable

    try:
        async with AdminClient.connect(arguments.data, arguments.url) as admin:
            folder = await _authorized(arguments, admin)
            _require_same(folder, proposal.after.folder)
            refused(proposal.write)
            report["written"] = True
            answer = await admin.call("reload_config")
    except AdminRefused as error:
        written = "written, but not read by the daemon: " if report["written"] else ""
        raise CommandFailed(Exit.REFUSED, written + error.message) from None
    except FeedUnreachable as error:
        if report["written"]:
            raise CommandFailed(
                Exit.UNREACHABLE, f"written, but it is not known whether it was read: {error}"
            ) from None
        refused(proposal.write)
        return _end(arguments, report | {"written": True, "daemon": "stopped"}, STOPPED)
    report |= {"written": True, "daemon": "read"} | answer
    return _end(arguments, report, told_reading(answer))


def _require_same(read: str, ours: Path) -> None:
    if Path(read).resolve() != ours.resolve():
        raise CommandFailed(
            Exit.REFUSED, f"the running daemon reads {read}; give --config {read} to edit that"
        )


async def _authorized(arguments: argparse.Namespace, admin: "AdminClient") -> str:
    """Return the folder the daemon reads, once it accepts that we change it."""
    from risk_manager.feed.client import AdminRefused

    try:
        answer = await admin.call("authorize")
    except AdminRefused as refused_:
        if refused_.code != "login_required":
            raise
        password = await asyncio.to_thread(
            ask_password, "Admin password: ", from_stdin=arguments.password_stdin
        )
        await admin.call("login", {"password": password})
        answer = await admin.call("authorize")
    return str(answer["config"])


def told_reading(answer: Row) -> str:
    """Return in a sentence what the daemon did with the files it has read."""
    from risk_manager.admin.effective import told_time

    read = f"read by the daemon (digest {answer['digest'][:12]})"
    if not answer["changes"]:
        return f"{read}; nothing was edited"
    reset = told_time(answer["next_reset"])
    told = [
        f"{what}: {', '.join(keys)}"
        for when, what in (
            ("reset", f"waits for the reset ({reset})"),
            ("both", f"until the reset ({reset}) the older version holds too"),
            ("restart", "needs a restart"),
        )
        if (keys := [c["key"] for c in answer["changes"] if c["when"] == when])
    ]
    return "; ".join([read, *(told or ["all of it is in force now"])])


def _end(arguments: argparse.Namespace, report: dict[str, Any], told: str) -> int:
    print(json.dumps(report, indent=2) if arguments.json else told)
    return Exit.DONE
