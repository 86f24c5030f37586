"""`admin password second`: the passphrase of a second person, needed for an early unlock."""

import argparse
import asyncio
import json
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import (
    add_json,
    add_password_stdin,
    add_places,
    add_second_stdin,
    add_url,
)
from risk_manager.cli.typed_secrets import TypedSecrets

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from risk_manager.cli.groups import Commands

ABOUT_SET = """\
Set the passphrase of a second person, or another one. It counts at once: lifting a lock early then
needs the admin password (where one is set) and this passphrase. A lock that nobody may lift stays
so.

At a terminal it is asked for twice, and before that the one in force, where there is one. With
--second-stdin they are lines of the standard input: the one in force, where there is one, and the
new one. A removal that waits for the reset is dropped. The daemon must be running."""

ABOUT_REMOVE = """\
Remove the second passphrase. It needs the passphrase itself, and counts from the next reset: until
then an early unlock needs it still. The daemon must be running."""


def register(password: "Commands") -> None:
    _, second = add_group(
        password, "second", "a second person's passphrase, needed to lift a lock early"
    )
    setting = add_command(second, "set", "set it, or another one; it counts at once")
    setting.description = ABOUT_SET
    setting.set_defaults(command=_set)
    removing = add_command(second, "remove", "remove it, from the next reset on")
    removing.description = ABOUT_REMOVE
    removing.set_defaults(command=_remove)
    for parser in (setting, removing):
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        for add in (add_places, add_url, add_password_stdin, add_second_stdin, add_json):
            add(parser)


def _set(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.daemon_line import OwnLine
    from risk_manager.admin.second_change import give_second

    typed = TypedSecrets.of(arguments)
    daemon = OwnLine(arguments.data, arguments.url, typed.password)
    giving = give_second(daemon, typed.second, twice=not arguments.second_stdin)
    return _told(arguments, giving, "set")


def _remove(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.daemon_line import OwnLine
    from risk_manager.admin.second_change import remove_second

    typed = TypedSecrets.of(arguments)
    daemon = OwnLine(arguments.data, arguments.url, typed.password)
    return _told(arguments, remove_second(daemon, typed.second), "removal_waits")


def _told(arguments: argparse.Namespace, done: "Coroutine[None, None, str]", as_key: str) -> int:
    from risk_manager.admin.password_change import NotChanged
    from risk_manager.feed.client import AdminRefused, FeedUnreachable

    try:
        told = asyncio.run(done)
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    except AdminRefused as error:
        raise CommandFailed(Exit.REFUSED, error.message) from None
    except NotChanged as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    print(json.dumps({as_key: True, "message": told}, indent=2) if arguments.json else told)
    return Exit.DONE
