"""`admin status`, `admin lockouts` and `admin panic`: what needs the running daemon."""

import argparse
import asyncio
import getpass
import json
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_account, add_data, add_debug, add_json, add_url

if TYPE_CHECKING:
    from pathlib import Path

    from risk_manager.cli.groups import Commands


def register(groups: "Commands") -> None:
    status = add_command(groups, "status", "how the daemon and its accounts are")
    status.set_defaults(command=_status)
    _, lockouts = add_group(groups, "lockouts", "the locks in force")
    listing = add_command(lockouts, "list", "every lock in force")
    add_account(listing)
    listing.set_defaults(command=_list_lockouts)
    lock = add_command(lockouts, "set", "lock an account now")
    lock.add_argument(
        "--for", dest="duration", metavar="TIME", help="how long, as 30m (default: until cleared)"
    )
    lock.add_argument(
        "--policy",
        choices=("flat", "no_entries"),
        default="flat",
        help="flat closes everything; no_entries leaves what is open (default: flat)",
    )
    lock.set_defaults(command=_set_lockout)
    clear = add_command(lockouts, "clear", "lift a lock which an administrator may lift")
    clear.add_argument("--rule", metavar="ID", help="only the lock of this rule")
    clear.set_defaults(command=_clear_lockout)
    for parser in (lock, clear):
        parser.add_argument("--account", type=int, required=True, metavar="ID")
        parser.add_argument(
            "--scope",
            default="account",
            metavar="SCOPE",
            help="account, root:ES or contract:CON...",
        )
    panic = add_command(groups, "panic", "close every position and cancel every order, now")
    add_account(panic)
    panic.add_argument("--yes", action="store_true", help="do not ask")
    panic.set_defaults(command=_panic)
    for parser in (lock, clear, panic):
        parser.add_argument("--reason", required=parser is not panic, metavar="TEXT",
                            default="panic", help="why; kept with the order")  # fmt: skip
    for parser in (status, listing, lock, clear, panic):
        add_data(parser)
        add_url(parser)
        add_json(parser)
        add_debug(parser)


def ask_password(prompt: str) -> str:
    """From the terminal, unseen; from a pipe, a line. Never from the command line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return getpass.getpass(prompt)


def answered[T](asked: Coroutine[Any, Any, T]) -> T:
    from risk_manager.feed.client import AdminRefused, FeedUnreachable

    try:
        return asyncio.run(asked)
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    except AdminRefused as error:
        raise CommandFailed(Exit.REFUSED, error.message) from None


async def call(data: "Path", url: str | None, method: str, params: dict[str, Any]) -> Any:
    from risk_manager.feed.client import AdminClient, AdminRefused

    async with AdminClient.connect(data, url) as admin:
        try:
            return await admin.call(method, params)
        except AdminRefused as refused:
            if refused.code != "login_required":
                raise
        password = await asyncio.to_thread(ask_password, "Admin password: ")
        await admin.call("login", {"password": password})
        return await admin.call(method, params)


def _snapshot(arguments: argparse.Namespace) -> dict[str, Any]:
    from risk_manager.feed.client import read_once

    _, snapshot, _ = answered(read_once(arguments.data, arguments.url))
    return snapshot


def _status(arguments: argparse.Namespace) -> int:
    snapshot = _snapshot(arguments)
    if arguments.json:
        print(json.dumps(snapshot, indent=2))
        return Exit.DONE
    hubs = ", ".join(f"{name} stream {hub['state']}" for name, hub in snapshot["hubs"].items())
    print(
        f"daemon {snapshot['status']}, version {snapshot['version']}" + (f"; {hubs}" * bool(hubs))
    )
    for account in snapshot["accounts"]:
        locked = account["lock_policy"]
        print(
            f"account {account['account_id']} ({account['name']}), {account['mode']}: "
            f"{_money(account['realised_net'])} realised, {_money(account['unrealised'])} open, "
            f"{account['contracts_held']} contracts, "
            f"{'locked: ' + locked if locked else 'not locked'}"
        )
    return Exit.DONE


def _money(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def _list_lockouts(arguments: argparse.Namespace) -> int:
    accounts = _snapshot(arguments)["accounts"]
    known = [account["account_id"] for account in accounts]
    if arguments.account is not None and arguments.account not in known:
        raise CommandFailed(
            Exit.REFUSED,
            f"account {arguments.account} is not watched; watched: {', '.join(map(str, known))}",
        )
    locks = [
        {"account_id": account["account_id"], "account": account["name"], **lock}
        for account in accounts
        if arguments.account in (None, account["account_id"])
        for lock in account["locks"]
    ]
    if arguments.json:
        print(json.dumps(locks, indent=2))
        return Exit.DONE
    for lock in locks:
        until = lock["expires_at"] or f"until {lock['release']}"
        print(
            f"account {lock['account_id']} ({lock['account']})  {lock['scope']}  {lock['policy']}  "
            f"{until}  {lock['rule_id']}: {lock['reason']}"
        )
    if not locks:
        print("no lock is in force")
    return Exit.DONE


def _set_lockout(arguments: argparse.Namespace) -> int:
    params = {
        "account_id": arguments.account,
        "scope": arguments.scope,
        "policy": arguments.policy,
        "duration": arguments.duration,
        "reason": arguments.reason,
    }
    return _order(arguments, "set_lockout", params)


def _clear_lockout(arguments: argparse.Namespace) -> int:
    params = {
        "account_id": arguments.account,
        "scope": arguments.scope,
        "rule_id": arguments.rule,
        "reason": arguments.reason,
    }
    return _order(arguments, "clear_lockout", params)


def _panic(arguments: argparse.Namespace) -> int:
    whose = "all accounts" if arguments.account is None else f"account {arguments.account}"
    if not arguments.yes:
        if not sys.stdin.isatty():
            raise CommandFailed(Exit.REFUSED, "nobody can be asked here; say --yes")
        if input(f"Close everything in {whose}? Type yes: ").strip().lower() != "yes":
            raise CommandFailed(Exit.REFUSED, "nothing was done")
    account = "all" if arguments.account is None else arguments.account
    return _order(arguments, "close_all", {"account_id": account, "reason": arguments.reason})


def reload_config(arguments: argparse.Namespace) -> int:
    """`admin config reload`."""
    result = answered(call(arguments.data, arguments.url, "reload_config", {}))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return Exit.DONE
    print(f"in force (digest {result['digest'][:12]})")
    if result["waits_for_reset"]:
        print("until the next reset the older version holds too: " + ", ".join(
            result["waits_for_reset"]))  # fmt: skip
    return Exit.DONE


def _order(arguments: argparse.Namespace, method: str, params: dict[str, Any]) -> int:
    result = answered(call(arguments.data, arguments.url, method, params))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        accounts = ", ".join(str(a) for a in result.get("accounts", ()))
        print(f"accepted for account {accounts}" if accounts else "accepted")
    return Exit.DONE
