"""`admin reconnect`, `session drop`, `log level` and `day reset`: orders to the running daemon."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import answered, call
from risk_manager.cli.exits import Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

WAIT_S = 60.0


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
    result = answered(call(arguments, "reconnect", {"hub": arguments.hub}, timeout_s=WAIT_S))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _tell_hubs(result["hubs"])
    return _verdict(result)


def _drop(arguments: argparse.Namespace) -> int:
    result = answered(call(arguments, "session_drop", {}, timeout_s=WAIT_S))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _tell_hubs(result["hubs"])
        print(
            "logged in anew; the old token is worthless"
            if result["old_token_ended"]
            else f"logged in anew; the old token still counts for up to a day: {result['why']}"
        )
    return _verdict(result) if result["old_token_ended"] else Exit.REFUSED


def _tell_hubs(hubs: dict[str, dict[str, Any]]) -> None:
    for name, hub in hubs.items():
        opened = "opened anew" if hub["opened"] else "NOT opened anew in time"
        print(f"{name} stream {opened}, {hub['state']}")


def _verdict(result: dict[str, Any]) -> int:
    is_done = all(hub["opened"] for hub in result["hubs"].values())
    return Exit.DONE if is_done else Exit.REFUSED


def _level(arguments: argparse.Namespace) -> int:
    result = answered(call(arguments, "log_level", {"level": arguments.level}))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"logging at {result['level']} until the next start")
    return Exit.DONE


def _reset(arguments: argparse.Namespace) -> int:
    result = answered(call(arguments, "day_reset", {}))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"every account is on the trading day {result['trading_date']}")
    return Exit.DONE
