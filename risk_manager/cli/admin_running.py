"""`admin reconnect`, `session drop`, `log level` and `day reset`: orders to the running daemon."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import answered, call, to_daemon
from risk_manager.cli.exits import Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(groups: "Commands") -> None:
    reconnect = add_command(
        groups, "reconnect", "open the gateway's streams anew, and say whether they are up"
    )
    reconnect.add_argument(
        "--hub", choices=("user", "market", "both"), default="both", help="which (default: both)"
    )
    reconnect.set_defaults(command=_reconnect)
    _, session = add_group(groups, "session", "the login at the gateway")
    drop = add_command(
        session,
        "drop",
        "log in anew, move the streams to the new token, and make the old token worthless",
    )
    drop.set_defaults(command=_drop)
    _, log = add_group(groups, "log", "how much is logged")
    level = add_command(log, "level", "change it until the next start; settings.yaml stays")
    level.add_argument("level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), type=str.upper,
                       metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")  # fmt: skip
    level.set_defaults(command=_level)
    _, day = add_group(groups, "day", "the trading day")
    reset = add_command(
        day,
        "reset",
        "make a reset that is due now; one that is not due yet is refused, as it would lift locks",
    )
    reset.set_defaults(command=_reset)
    for parser in (reconnect, drop, level, reset):
        add_places(parser)
        add_url(parser)
        add_json(parser)
        add_password_stdin(parser)


def _reconnect(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.running_orders import is_opened, reconnect, told_hubs

    result = answered(reconnect(to_daemon(arguments), arguments.hub))
    _tell(arguments, result, told_hubs(result))
    return Exit.DONE if is_opened(result) else Exit.REFUSED


def _drop(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.running_orders import drop_session, is_opened, told_drop

    result = answered(drop_session(to_daemon(arguments)))
    _tell(arguments, result, told_drop(result))
    return Exit.DONE if result["old_token_ended"] and is_opened(result) else Exit.REFUSED


def _level(arguments: argparse.Namespace) -> int:
    result = answered(call(arguments, "log_level", {"level": arguments.level}))
    _tell(arguments, result, [f"logging at {result['level']} until the next start"])
    return Exit.DONE


def _reset(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.running_orders import reset_day, told_day

    result = answered(reset_day(to_daemon(arguments)))
    _tell(arguments, result, [told_day(result)])
    return Exit.DONE


def _tell(arguments: argparse.Namespace, result: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(result, indent=2) if arguments.json else "\n".join(lines))
