"""`admin credentials`: where the gateway's login is kept, whether it works, and how old it is."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.config_edits import print_difference
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.hidden_input import read_hidden
from risk_manager.cli.places import add_json, add_places

if TYPE_CHECKING:
    from risk_manager.admin.credentials import TriedLogin
    from risk_manager.cli.groups import Commands
    from risk_manager.settings.secrets import SecretReference
    from risk_manager.settings.settings_file import GatewaySettings

ABOUT_SET = """\
Set the user name and the API key of the gateway. The key is asked for and not shown, or read from
the standard input with --key-stdin; it is never an option. It is tried at the gateway first, then
kept, and settings.yaml says where; the change is shown.

The key goes where it is now, or to --store:
  file:PATH              a file that only this user may read (a relative path: in --config)
  keyring:SERVICE/USER   the system's key store (needs the extra "keyring")
  env:NAME               nothing is kept: you set the variable where the daemon is started"""


def register(groups: "Commands") -> None:
    _, credentials = add_group(groups, "credentials", "the login of the gateway")
    setting = add_command(credentials, "set", "set the user name and the API key")
    setting.description = ABOUT_SET
    setting.formatter_class = argparse.RawDescriptionHelpFormatter
    setting.add_argument("--username", metavar="NAME", help="the user name (default: as it is now)")
    setting.add_argument(
        "--store", metavar="PLACE", help="where the key is kept: file:, keyring: or env:"
    )
    setting.add_argument(
        "--key-stdin", action="store_true", help="read the API key from the standard input"
    )
    setting.add_argument(
        "--no-test", action="store_true", help="do not log in with it before it is kept"
    )
    testing = add_command(
        credentials, "test", "log in with what is kept, and list the accounts of the login"
    )
    removing = add_command(credentials, "remove", "remove the key from the place where it is kept")
    removing.add_argument("--yes", action="store_true", help="do not ask")
    for parser, command in ((setting, _set), (testing, _test), (removing, _remove)):
        add_places(parser)
        add_json(parser)
        parser.set_defaults(command=command)


# --- set ------------------------------------------------------------------------------------------


def _set(arguments: argparse.Namespace) -> int:
    from pydantic import SecretStr

    from risk_manager.admin.credentials import (
        known_username,
        new_credentials,
        remarks_on,
        told_kept,
    )
    from risk_manager.settings.loading import load_gateway
    from risk_manager.settings.yaml_edits import EditRefused

    gateway = load_gateway(arguments.config)
    reference = _place(arguments, gateway)
    username = arguments.username or _asked_username(
        known_username(gateway, arguments.config, os.environ)
    )
    if reference.kind == "env":
        key = SecretStr(os.environ.get(reference.place, ""))
    else:
        key = SecretStr(_asked_key(arguments))
    try:
        new = new_credentials(arguments.config, username, key, reference)
    except EditRefused as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    tried = None
    if not arguments.no_test and key.get_secret_value():
        from risk_manager.admin.credentials import try_login

        tried = _answered(try_login(arguments.config, arguments.data, new.credentials))
    difference = new.edit.difference()
    _store(arguments, new)
    if arguments.json:
        told = {"stored": str(reference), "username": username, "difference": difference}
        remarks = remarks_on(new, gateway, arguments.data)
        print(json.dumps({**told, "tested": _row(tried) if tried else None, "remarks": remarks}))
        return Exit.DONE
    print_difference(difference)
    if tried:
        _tell_login(tried)
    for line in told_kept(new, gateway, arguments.config, arguments.data):
        print(line)
    return Exit.DONE


def _place(arguments: argparse.Namespace, gateway: "GatewaySettings") -> "SecretReference":
    from risk_manager.admin.credentials import place_for_the_key
    from risk_manager.settings.secrets import HOW, parse_reference

    if arguments.store is None:
        return place_for_the_key(gateway)
    try:
        return parse_reference(arguments.store)
    except ValueError:
        # What was given may be the key itself, and is not repeated.
        raise CommandFailed(Exit.USAGE, f"--store is a place, never the key: {HOW}") from None


def _asked_username(known: str | None) -> str:
    if not sys.stdin.isatty():
        if known is None:
            raise CommandFailed(Exit.REFUSED, "no user name is known; give it with --username")
        return known
    given = input(f"User name{f' [{known}]' if known else ''}: ").strip()
    if not (given or known):
        raise CommandFailed(Exit.REFUSED, "no user name, nothing was done")
    return given or str(known)


def _asked_key(arguments: argparse.Namespace) -> str:
    from risk_manager.admin.credentials import problem_with_key

    key = read_hidden(
        "API key",
        "API key (not shown): ",
        from_stdin=arguments.key_stdin,
        instead="--key-stdin",
    ).strip()
    if (problem := problem_with_key(key)) is not None:
        raise CommandFailed(Exit.REFUSED, problem)
    return key


def _store(arguments: argparse.Namespace, new: Any) -> None:
    from risk_manager.settings.edits import EditFailed

    try:
        new.store(arguments.data, arguments.config)
    except EditFailed as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    except PermissionError:
        raise
    except OSError as error:
        raise CommandFailed(
            Exit.REFUSED, f"the key is kept, but {error.filename}: {error.strerror}"
        ) from None


# --- test -----------------------------------------------------------------------------------------


def _test(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.credentials import try_stored

    tried = _answered(try_stored(arguments.config, arguments.data))
    if arguments.json:
        print(json.dumps(_row(tried), indent=2))
    else:
        _tell_login(tried)
    return Exit.REFUSED if tried.missing else Exit.DONE


def _answered(asked: "Coroutine[Any, Any, TriedLogin]") -> "TriedLogin":
    from risk_manager.admin.credentials import GatewaySilent
    from risk_manager.admin.rest_gateway import LoginRefused

    try:
        return asyncio.run(asked)
    except LoginRefused as error:
        raise CommandFailed(Exit.CREDENTIALS, f"{error}; nothing was changed") from None
    except GatewaySilent as error:
        raise CommandFailed(
            Exit.REFUSED, f"the login cannot be tried: {error}; nothing was changed"
        ) from None


def _tell_login(tried: "TriedLogin") -> None:
    from risk_manager.admin.credentials import told_login

    for line in told_login(tried, datetime.now(UTC)):
        print(line)


def _row(tried: "TriedLogin") -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "logged_in": True,
        "host": tried.host,
        "took_ms": tried.took_ms,
        "accounts": [
            {"id": a.id, "name": a.name, "can_trade": a.can_trade, "watched": a.is_watched}
            for a in tried.accounts
        ],
        "missing": list(tried.missing),
        "key_age_days": None if tried.age is None else tried.age.days(now),
        "reminder": None if tried.age is None else tried.age.reminder(now),
    }


# --- remove ---------------------------------------------------------------------------------------


def _remove(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.credentials import remove_key, why_the_key_stays
    from risk_manager.settings.loading import load_gateway

    reference = load_gateway(arguments.config).api_key
    if (why := why_the_key_stays(arguments.data)) is not None:
        raise CommandFailed(Exit.REFUSED, why)
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise CommandFailed(Exit.REFUSED, "nobody can be asked here; say --yes")
        print(f"Without the key in {reference} no daemon can start, and nothing is guarded.")
        if input("Type DELETE to remove it: ").strip() != "DELETE":
            raise CommandFailed(Exit.REFUSED, "nothing was done")
    _, was_there = remove_key(arguments.config, arguments.data)
    told = f"removed: {reference}" if was_there else f"there was no key in {reference}"
    print(json.dumps({"removed": was_there, "place": str(reference)}) if arguments.json else told)
    return Exit.DONE
