"""`dashboard`: the trader's screen, or one snapshot for scripts."""

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.numbers import port
from risk_manager.cli.places import add_account, add_json, add_places, add_url
from risk_manager.cli.terminal import require_terminal

SERVED_ON = 8766

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(commands, "dashboard", "the trader's screen")
    add_places(parser)
    add_url(parser)
    add_account(parser)
    parser.add_argument("--once", action="store_true", help="print one snapshot and end")
    add_json(parser)
    parser.add_argument(
        "--serve",
        action="store_true",
        help="show the screen to a browser on this machine; prints the address to open",
    )
    parser.add_argument(
        "--port",
        type=port,
        metavar="N",
        help=f"the port of --serve, 0 for any that is free (default: {SERVED_ON})",
    )
    parser.set_defaults(command=_dashboard)


def _dashboard(arguments: argparse.Namespace) -> int:
    from risk_manager.feed.client import FeedUnreachable

    if arguments.port is not None and not arguments.serve:
        raise CommandFailed(Exit.USAGE, "--port belongs to --serve; the feed's address is --url")
    if arguments.serve:
        if arguments.once or arguments.json:
            raise CommandFailed(Exit.USAGE, "--serve shows a live screen; leave out --once, --json")
        return _serve(arguments)
    try:
        if arguments.once or arguments.json:
            from risk_manager.dashboard.once import print_once

            return print_once(arguments.data, arguments.url, arguments.json, arguments.account)
        from risk_manager.dashboard import is_in_browser, run_dashboard

        if not is_in_browser():
            require_terminal("try `dashboard --once`, which prints one snapshot")
        return run_dashboard(arguments.data, arguments.url, arguments.account)
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None


def _serve(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("textual_serve") is None:
        raise CommandFailed(
            Exit.REFUSED,
            'the screen in a browser needs textual-serve; run: pip install "risk-manager[serve]"',
        )
    from risk_manager.dashboard.served import PortTaken, serve

    command = screen_command(arguments.data, arguments.url, arguments.account)
    try:
        serve(command, SERVED_ON if arguments.port is None else arguments.port, _announce)
    except PortTaken as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    return Exit.DONE


def screen_command(data: Path, url: str | None = None, account: int | None = None) -> list[str]:
    """The command of one screen. It reads the token itself: nothing secret is in its line."""
    command = [sys.executable, "-m", "risk_manager", "dashboard", "--data", str(data.absolute())]
    if url is not None:
        command += ["--url", url]
    if account is not None:
        command += ["--account", str(account)]
    return command


def _announce(address: str) -> None:
    print("Open this address in a browser on this machine, and tell it to nobody:\n")
    print(f"  {address}\n\nCtrl+C ends it.", flush=True)
