"""`admin console`, and `admin` without a verb: the keyboard menu."""

import argparse
import sys
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_places, add_url, config_folder, data_folder
from risk_manager.cli.terminal import has_terminal, require_terminal

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

ABOUT = """\
A keyboard menu over the `admin` verbs: sign-in, credentials, accounts, rules, the running daemon,
tests, status and panic. `admin` without a verb opens it with the default folders."""


def register(admin: argparse.ArgumentParser, groups: "Commands") -> None:
    console = add_command(groups, "console", "a keyboard menu over these verbs")
    console.description = ABOUT
    add_places(console)
    add_url(console)
    console.set_defaults(command=_console)
    admin.set_defaults(command=lambda _: _without_a_verb(admin))


def _without_a_verb(admin: argparse.ArgumentParser) -> int:
    if not has_terminal():
        admin.print_help(sys.stderr)
        return Exit.USAGE
    places = argparse.Namespace(config=config_folder(), data=data_folder(), url=None)
    return _console(places)


def _console(arguments: argparse.Namespace) -> int:
    require_terminal("use the verbs: risk-manager admin --help")
    from risk_manager.admin.folder import closed_to_us
    from risk_manager.console import run_console

    if (why := closed_to_us(arguments.data)) is not None:
        raise CommandFailed(Exit.DATABASE, why)
    code, told = run_console(arguments.config, arguments.data, arguments.url)
    if told:
        raise CommandFailed(Exit(code), told)
    return code
