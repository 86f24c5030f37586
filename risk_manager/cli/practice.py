"""`practice`: the practice gateway alone, printing its URLs."""

import argparse
import asyncio
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.numbers import port, positive
from risk_manager.cli.places import add_debug

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(commands, "practice", "the practice gateway alone, printing its URLs")
    parser.add_argument(
        "--port", type=port, default=0, metavar="N", help="where to listen (default: any free port)"
    )
    parser.add_argument(
        "--seed", type=int, default=7, metavar="N", help="the same seed makes the same market"
    )
    parser.add_argument(
        "--speed", type=positive, default=1.0, metavar="X", help="how many times faster (default 1)"
    )
    parser.add_argument(
        "--trader", type=int, metavar="ID", help="let the scripted trader work in this account"
    )
    add_debug(parser)
    parser.set_defaults(command=_practice)


def _practice(arguments: argparse.Namespace) -> int:
    from risk_manager.practice.assembly import serve

    def announce(line: str) -> None:
        print(line, flush=True)

    try:
        asyncio.run(
            serve(
                port=arguments.port,
                seed=arguments.seed,
                speed=arguments.speed,
                trader_account=arguments.trader,
                announce=announce,
            )
        )
    except KeyboardInterrupt:
        return Exit.DONE
    except OSError as error:
        raise CommandFailed(
            Exit.REFUSED,
            f"cannot listen on port {arguments.port} ({error.strerror or error}); "
            "give --port another one",
        ) from None
    return Exit.DONE
