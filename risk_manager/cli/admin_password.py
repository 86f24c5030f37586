"""`admin password`: the admin password, through the daemon or while it is stopped."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from risk_manager.cli import admin_second
from risk_manager.cli.admin_daemon import to_daemon
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_json, add_password_stdin, add_places, add_url
from risk_manager.cli.typed_secrets import ask_password

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

ABOUT_CHANGE = """\
Change the admin password. It asks for the old one, and twice for the new one; with
--password-stdin the old and the new one are two lines of the standard input.

With the daemon the new one counts at once. While it is stopped the old one counts until the first
start after the next reset, as any loosening does."""


def register(groups: "Commands") -> None:
    _, password = add_group(groups, "password", "the admin password")
    setting = add_command(password, "set", "set it; asks for the old one where there is one")
    changing = add_command(password, "change", "change it; asks for the old one and the new one")
    changing.description = ABOUT_CHANGE
    changing.formatter_class = argparse.RawDescriptionHelpFormatter
    for parser, command in ((setting, _set), (changing, _change)):
        for add in (add_places, add_url, add_password_stdin, add_json):
            add(parser)
        parser.set_defaults(command=command)
    admin_second.register(password)


def _set(arguments: argparse.Namespace) -> int:
    return _give(arguments, is_first=_kept(arguments.data) is None)


def _change(arguments: argparse.Namespace) -> int:
    if _kept(arguments.data) is None:
        raise CommandFailed(
            Exit.REFUSED,
            f"no admin password is set in {arguments.data}; run: risk-manager admin password set",
        )
    return _give(arguments, is_first=False)


def _kept(data: Path) -> str | None:
    from risk_manager.admin.password_change import NotChanged, kept_hash

    try:
        return kept_hash(data)
    except NotChanged as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None


def _give(arguments: argparse.Namespace, *, is_first: bool) -> int:
    """Ask for what is needed and set the new password."""
    from risk_manager.admin.password_change import NotChanged, give_password, problem_with_new
    from risk_manager.feed.client import AdminRefused

    from_stdin = arguments.password_stdin or not sys.stdin.isatty()
    old = None if is_first else ask_password("Old admin password: ", from_stdin=from_stdin)
    new = ask_password("New admin password: ", from_stdin=from_stdin)
    if (problem := problem_with_new(old, new)) is not None:
        raise CommandFailed(Exit.REFUSED, problem)
    if not from_stdin and ask_password("Again: ", from_stdin=False) != new:
        raise CommandFailed(Exit.REFUSED, "the two do not match; nothing was changed")
    try:
        told = asyncio.run(give_password(arguments.data, to_daemon(arguments), old, new))
    except AdminRefused as error:
        raise CommandFailed(Exit.REFUSED, error.message) from None
    except NotChanged as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    print(json.dumps({"set": True, "message": told}, indent=2) if arguments.json else told)
    return Exit.DONE
