"""`dashboard`: the trader's screen, or one snapshot for scripts."""

import argparse
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_account, add_json, add_places, add_url
from risk_manager.cli.terminal import require_terminal

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(commands, "dashboard", "the trader's screen")
    add_places(parser)
    add_url(parser)
    add_account(parser)
    parser.add_argument("--once", action="store_true", help="print one snapshot and end")
    add_json(parser)
    parser.set_defaults(command=_dashboard)


def _dashboard(arguments: argparse.Namespace) -> int:
    from risk_manager.feed.client import FeedUnreachable

    try:
        if arguments.once or arguments.json:
            from risk_manager.dashboard.once import print_once

            return print_once(arguments.data, arguments.url, arguments.json, arguments.account)
        require_terminal("try `dashboard --once`, which prints one snapshot")
        from risk_manager.dashboard import run_dashboard

        return run_dashboard(arguments.data, arguments.url, arguments.account)
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
