"""`admin accounts`: which accounts are guarded, and edits of accounts.yaml."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.config_edits import add_dry_run, begin, show, write
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import account_number
from risk_manager.cli.places import add_account, add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.admin.accounts import Guarded
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
    from risk_manager.admin.accounts import rows
    from risk_manager.settings import load

    configuration = load(arguments.config)
    found = rows(configuration, _guarded(arguments))
    if arguments.gateway:
        found = _with_the_login(found, _login(arguments))
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
        if not row["listed"]:
            told = "not in accounts.yaml"
        else:
            told = row["mode"] if row["enabled"] else "disabled"
        login = row.get("login")
        told += {None: "", True: ", in the login", False: ", NOT in the login"}[login]
        print(f"account {row['id']}{name}: {told}, {row['standing']}")
    return Exit.DONE


def _guarded(arguments: argparse.Namespace) -> "Guarded":
    """Return what the running daemon guards; without one, what the next start would."""
    from risk_manager.admin.accounts import Guarded
    from risk_manager.feed.client import FeedUnreachable, read_once

    watched = None
    try:
        _, snapshot, _ = asyncio.run(read_once(arguments.data, arguments.url))
        watched = frozenset(account["account_id"] for account in snapshot["accounts"])
    except FeedUnreachable:
        pass
    return Guarded.read(arguments.data, watched, datetime.now(UTC))


def _login(arguments: argparse.Namespace) -> "TriedLogin":
    from risk_manager.admin.credentials import GatewaySilent, try_stored
    from risk_manager.admin.rest_gateway import LoginRefused

    try:
        return asyncio.run(try_stored(arguments.config, arguments.data))
    except LoginRefused as error:
        raise CommandFailed(Exit.CREDENTIALS, str(error)) from None
    except GatewaySilent as error:
        raise CommandFailed(Exit.REFUSED, f"the login cannot be asked: {error}") from None


def _with_the_login(found: list[dict[str, Any]], login: "TriedLogin") -> list[dict[str, Any]]:
    names = {account.id: account.name for account in login.accounts}
    known = {row["id"] for row in found}
    found = [{**row, "login": row["id"] in names} for row in found]
    return found + [
        {
            "id": account_id,
            "nickname": name,
            "listed": False,
            "enabled": False,
            "mode": None,
            "guarded": False,
            "guarded_until": None,
            "standing": "not guarded",
            "login": True,
        }
        for account_id, name in sorted(names.items())
        if account_id not in known
    ]


# --- edits ----------------------------------------------------------------------------------------


def _add(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.accounts import add

    def change(edit: "FileEdit") -> None:
        add(edit, arguments.account, arguments.nickname, enabled=not arguments.disabled)

    remark = "" if arguments.no_test else _not_in_the_login(arguments, arguments.account)
    wanted = {arguments.account: not arguments.disabled}
    return _carry_out(arguments, change, wanted, [remark] * bool(remark))


def _edit(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.accounts import rename, renumber

    if not (arguments.id or arguments.nickname or arguments.no_nickname):
        arguments.usage("give --nickname, --no-nickname or --id")

    def change(edit: "FileEdit") -> None:
        if arguments.nickname or arguments.no_nickname:
            rename(edit, arguments.account, arguments.nickname)
        if arguments.id:
            renumber(edit, arguments.account, arguments.id)

    is_another = bool(arguments.id) and arguments.id != arguments.account
    wanted = {arguments.account: False, arguments.id: True} if is_another else {}
    return _carry_out(arguments, change, wanted)


def _remove(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.accounts import remove

    return _carry_out(
        arguments, lambda edit: remove(edit, arguments.account), {arguments.account: False}
    )


def _enable(arguments: argparse.Namespace) -> int:
    return _switch(arguments, enabled=True)


def _disable(arguments: argparse.Namespace) -> int:
    return _switch(arguments, enabled=False)


def _switch(arguments: argparse.Namespace, *, enabled: bool) -> int:
    from risk_manager.admin.accounts import enable

    return _carry_out(
        arguments,
        lambda edit: enable(edit, arguments.account, enabled=enabled),
        {arguments.account: enabled},
    )


def _carry_out(
    arguments: argparse.Namespace,
    change: Callable[["FileEdit"], None],
    wanted: dict[int, bool],
    remarks: list[str] | None = None,
) -> int:
    """Make an edit of accounts.yaml. `wanted` says of each account concerned if it is guarded."""
    from risk_manager.admin.accounts import NoSuchEdit, still_named
    from risk_manager.settings.loading import ACCOUNTS

    try:
        edit = begin(arguments, ACCOUNTS, change)
    except NoSuchEdit as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    remarks = list(remarks or ())
    if not edit.is_changed:
        return _tell(arguments, edit, [*remarks, "nothing to change: it is so already"])
    configuration = show(arguments, edit)
    gone = [i for i in wanted if configuration.accounts.find(i) is None]
    for account_id in gone:
        if keys := still_named(configuration, account_id):
            remarks.append(f"risk_config.yaml still names {account_id}: {', '.join(keys)}")
    if arguments.dry_run:
        return _tell(arguments, edit, [*remarks, "nothing was written (--dry-run)"])
    if not all(wanted.values()):
        _ask(arguments, [i for i, is_wanted in wanted.items() if not is_wanted])
    answer = write(arguments, edit)
    return _tell(arguments, edit, [*remarks, *_effect(arguments, answer, wanted)], answer)


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


def _effect(
    arguments: argparse.Namespace, answer: dict[str, Any] | None, wanted: dict[int, bool]
) -> list[str]:
    """Return from when the edit counts, in sentences."""
    from risk_manager.admin.accounts import after_a_start
    from risk_manager.admin.effective import told_time

    guarded = _guarded(arguments)
    if answer is None:
        return [after_a_start(i, guarded, is_wanted=is_wanted) for i, is_wanted in wanted.items()]
    told = []
    for account_id, is_wanted in wanted.items():
        is_guarded = account_id in (guarded.now or ())
        if is_wanted and not is_guarded:
            told.append(f"account {account_id} is NOT guarded before the daemon is started again")
        elif is_wanted:
            told.append(f"account {account_id} is guarded")
        elif is_guarded:
            reset = told_time(answer.get("next_reset") or guarded.reset)
            told.append(f"account {account_id} stays guarded until the reset ({reset})")
        else:
            told.append(f"account {account_id} is not guarded")
    return told or ["the daemon has read it; a nickname is shown after its next start"]


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


def _not_in_the_login(arguments: argparse.Namespace, account_id: int) -> str:
    """Refuse an account that the login does not have. Returns a remark where it cannot be asked."""
    from risk_manager.admin.credentials import GatewaySilent, try_stored
    from risk_manager.admin.rest_gateway import LoginRefused
    from risk_manager.settings.loading import load_gateway
    from risk_manager.settings.secrets import SecretUnavailable

    if load_gateway(arguments.config).kind == "practice":
        return ""
    try:
        login = asyncio.run(try_stored(arguments.config, arguments.data))
    except (SecretUnavailable, LoginRefused, GatewaySilent) as error:
        return f"whether the login has account {account_id} is not known: {error}"
    if account_id in (account.id for account in login.accounts):
        return ""
    known = ", ".join(f"{a.id} ({a.name})" for a in login.accounts) or "none"
    raise CommandFailed(
        Exit.REFUSED,
        f"account {account_id} is not in this login, which has {known}; "
        "--no-test adds it all the same",
    )
