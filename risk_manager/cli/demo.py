"""`demo`: everything at once in one terminal, with a scripted trader who has bad habits."""

import argparse
from typing import TYPE_CHECKING

from risk_manager.cli.groups import add_command
from risk_manager.cli.numbers import positive
from risk_manager.cli.places import add_debug
from risk_manager.cli.terminal import require_terminal

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(
        commands,
        "demo",
        "practice gateway, daemon, a scripted trader with bad habits and the dashboard",
    )
    parser.add_argument(
        "--speed", type=positive, default=1.0, metavar="X", help="how many times faster (default 1)"
    )
    add_debug(parser)
    parser.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    require_terminal("try `run` with the practice gateway, which is its own demonstration")
    from risk_manager.demo import run_demo

    return run_demo(arguments.speed)
