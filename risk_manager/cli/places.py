"""Options that several commands share: the two folders, an account, how to print."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

CONFIG_VARIABLE = "RISK_MANAGER_CONFIG"
DATA_VARIABLE = "RISK_MANAGER_DATA"


def config_folder(env: Mapping[str, str] | None = None) -> Path:
    return Path((os.environ if env is None else env).get(CONFIG_VARIABLE) or "config")


def data_folder(env: Mapping[str, str] | None = None) -> Path:
    return Path((os.environ if env is None else env).get(DATA_VARIABLE) or "data")


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="DIR",
        default=config_folder(),
        help=f"the configuration folder (default: ${CONFIG_VARIABLE} or ./config)",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=data_folder(),
        help=f"the data folder (default: ${DATA_VARIABLE} or ./data)",
    )


def add_places(parser: argparse.ArgumentParser, *, looks_into_data: bool = True) -> None:
    """Add the options for both folders and `--debug`, which every command accepts.

    A command that reads the data folder is refused at once if this user may not read it.
    """
    add_config(parser)
    add_data(parser)
    add_debug(parser)
    parser.set_defaults(looks_into_data=looks_into_data)


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="URL", help="the feed's address (default: from daemon.json)"
    )


def add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", type=int, metavar="ID", help="only this account")


def add_json(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def add_debug(parser: argparse.ArgumentParser) -> None:
    # Accepted after the command as well. A default here would undo a `--debug` given before it.
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="log everything, and show where an error comes from",
    )


def add_password_stdin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the admin password from the standard input",
    )


def add_second_stdin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--second-stdin",
        action="store_true",
        help="read the second passphrase from the standard input; with --password-stdin from the "
        "line after the password",
    )
