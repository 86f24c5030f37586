"""`admin accounts`: which accounts are guarded, and edits of accounts.yaml."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from risk_manager.cli.config_edits import add_dry_run, show, write
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import account_number
from risk_manager.cli.places import add_account, add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.admin.account_edits import AccountEdit
    from risk_manager.admin.credentials import TriedLogin
    from risk_manager.cli.groups import Commands
    from risk_manager.settings.edits import FileEdit

ABOUT = """\
{}

accounts.yaml is changed in place and keeps your comments. All files are checked first, the
difference is shown, and a running daemon reads it at once. An account that is guarded stays
guarded until the next reset, as with an edit by hand; one that is new is guarded from the daemon's
next start."""


def register(groups: "Commands") -> None:
    _, accounts = add_group(groups, "accounts", "the accounts that are guarded")
    listing = add_command(accounts, "list", "every account, and whether it is guarded now")
    add_account(listing)
    listing.add_argument(
        "--gateway", action="store_true", help="log in, and list the accounts of the login as well"
    )
    listing.set_defaults(command=_list)
    adding = _verb(accounts, "add", "add an account", _add)
    adding.add_argument("--disabled", action="store_true", help="listed, and not guarded")
    adding.add_argument(
        "--no-test", action="store_true", help="do not ask the gateway whether there is one"
    )
    editing = _verb(accounts, "edit", "change an account's nickname or number", _edit)
    editing.add_argument("--id", type=account_number, metavar="NEW", help="the number it has now")
    names = editing.add_mutually_exclusive_group()
    names.add_argument("--no-nickname", action="store_true", help="without a nickname")
    for parser in (adding, names):
        parser.add_argument("--nickname", metavar="NAME", help="how it is called on screens")
    removing = _verb(accounts, "remove", "take an account out of the file", _remove)
    _verb(accounts, "enable", "guard an account", _enable)
    disabling = _verb(accounts, "disable", "guard an account no longer", _disable)
    for parser in (editing, removing, disabling):
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.set_defaults(confirm="DELETE" if parser is removing else "yes")
    for add in (add_places, add_url, add_json):
        add(listing)


def _verb(
    accounts: "Commands", name: str, about: str, command: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = add_command(accounts, name, about)
    parser.description = ABOUT.format(f"{about[0].upper()}{about[1:]}.")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("account", type=account_number, metavar="ID", help="the account's number")
    for add in (add_dry_run, add_places, add_url, add_password_stdin, add_json):
        add(parser)
    parser.set_defaults(command=command)
    return parser


# --- list -----------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.account_edits import guarded_now, told_account, with_the_login
    from risk_manager.admin.accounts import rows
    from risk_manager.settings import load

    configuration = load(arguments.config)
    found = rows(configuration, asyncio.run(guarded_now(arguments.data, arguments.url)))
    if arguments.gateway:
        found = with_the_login(found, _login(arguments))
    if arguments.account is not None:
        found = [row for row in found if row["id"] == arguments.account]
        if not found:
            raise CommandFailed(
                Exit.REFUSED, f"account {arguments.account} is not in accounts.yaml"
            )
    if arguments.json:
        print(json.dumps(found, indent=2))
        return Exit.DONE
    for row in found:
        name = f" ({row['nickname']})" if row["nickname"] else ""
        print(f"account {row['id']}{name}: {told_account(row)}")
    return Exit.DONE


def _login(arguments: argparse.Namespace) -> "TriedLogin":
    from risk_manager.admin.credentials import GatewaySilent, try_stored
    from risk_manager.admin.rest_gateway import LoginRefused

    try:
        return asyncio.run(try_stored(arguments.config, arguments.data))
    except LoginRefused as error:
        raise CommandFailed(Exit.CREDENTIALS, str(error)) from None
    except GatewaySilent as error:
        raise CommandFailed(Exit.REFUSED, f"the login cannot be asked: {error}") from None


# --- edits ----------------------------------------------------------------------------------------


def _add(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.account_edits import add

    remark = "" if arguments.no_test else _asked_login(arguments)
    return _carry_out(
        arguments,
        lambda: add(
            arguments.config,
            arguments.account,
            arguments.nickname,
            enabled=not arguments.disabled,
            remark=remark,
        ),
    )


def _asked_login(arguments: argparse.Namespace) -> str:
    from risk_manager.admin.account_edits import NotInTheLogin, remark_on_the_login

    try:
        return asyncio.run(remark_on_the_login(arguments.config, arguments.data, arguments.account))
    except NotInTheLogin as error:
        raise CommandFailed(Exit.REFUSED, f"{error}; --no-test adds it all the same") from None


def _edit(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.account_edits import change

    if not (arguments.id or arguments.nickname or arguments.no_nickname):
        arguments.usage("give --nickname, --no-nickname or --id")
    return _carry_out(
        arguments,
        lambda: change(
            arguments.config,
            arguments.account,
            nickname=arguments.nickname,
            no_nickname=arguments.no_nickname,
            new_id=arguments.id,
        ),
    )


def _remove(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.account_edits import remove

    return _carry_out(arguments, lambda: remove(arguments.config, arguments.account))


def _enable(arguments: argparse.Namespace) -> int:
    return _switch(arguments, enabled=True)


def _disable(arguments: argparse.Namespace) -> int:
    return _switch(arguments, enabled=False)


def _switch(arguments: argparse.Namespace, *, enabled: bool) -> int:
    from risk_manager.admin.account_edits import switch

    return _carry_out(
        arguments, lambda: switch(arguments.config, arguments.account, enabled=enabled)
    )


def _carry_out(arguments: argparse.Namespace, make: Callable[[], "AccountEdit"]) -> int:
    """Make an edit of accounts.yaml, show it, ask, and write it."""
    from risk_manager.admin.accounts import NoSuchEdit
    from risk_manager.settings.edits import EditFailed
    from risk_manager.settings.yaml_edits import EditRefused

    try:
        made = make()
    except NoSuchEdit as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    except (EditFailed, EditRefused) as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    if not made.is_changed:
        return _tell(arguments, made.edit, [*made.remarks, "nothing to change: it is so already"])
    show(arguments, made.edit, made.after)
    if arguments.dry_run:
        return _tell(arguments, made.edit, [*made.remarks, "nothing was written (--dry-run)"])
    if made.no_longer_guarded:
        _ask(arguments, made.no_longer_guarded)
    answer = write(arguments, made.edit)
    effect = asyncio.run(made.effect(arguments.data, arguments.url, answer))
    return _tell(arguments, made.edit, [*made.remarks, *effect], answer)


def _ask(arguments: argparse.Namespace, account_ids: list[int]) -> None:
    if arguments.yes or not hasattr(arguments, "yes"):
        return
    if not sys.stdin.isatty():
        raise CommandFailed(Exit.REFUSED, "nobody can be asked here; say --yes")
    names = ", ".join(map(str, account_ids))
    print(f"From the next reset on account {names} is not guarded any more.")
    word: str = arguments.confirm
    if input(f"Type {word} to go on: ").strip() != word:
        raise CommandFailed(Exit.REFUSED, "nothing was done")


def _tell(
    arguments: argparse.Namespace,
    edit: "FileEdit",
    lines: list[str],
    answer: dict[str, Any] | None = None,
) -> int:
    if arguments.json:
        told = {
            "file": edit.name,
            "difference": edit.difference(),
            "told": lines,
            "daemon": answer is not None,
            "changes": [] if answer is None else answer["changes"],
        }
        print(json.dumps(told, indent=2))
    else:
        for line in lines:
            print(line)
    return Exit.DONE
