"""`run`: the daemon, in the foreground."""

import argparse
from typing import TYPE_CHECKING

from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_config, add_data, add_debug

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(commands, "run", "the daemon, in the foreground")
    add_config(parser)
    add_data(parser)
    add_debug(parser)
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from risk_manager.daemon import run

    return run(arguments.config, arguments.data, getattr(arguments, "debug", False))
