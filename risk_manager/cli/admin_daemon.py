"""`admin status` and `admin lockouts`: commands that need the running daemon."""

import argparse
import asyncio
import json
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.effects import in_force, locked, named, of_clear, of_lock
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.hidden_input import read_hidden
from risk_manager.cli.numbers import duration
from risk_manager.cli.places import add_account, add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
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
        "--for",
        dest="duration",
        type=duration,
        metavar="TIME",
        help="how long, as 30m (default: until cleared)",
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
    add_password_stdin(clear)
    clear.set_defaults(command=_clear_lockout)
    for parser in (lock, clear):
        parser.add_argument("--account", type=int, required=True, metavar="ID", help="whose lock")
        parser.add_argument(
            "--scope",
            default="account",
            metavar="SCOPE",
            help="account, root:ES or contract:CON...",
        )
    for parser in (lock, clear):
        parser.add_argument(
            "--reason", required=True, metavar="TEXT", help="why; kept with the order"
        )
    for parser in (status, listing, lock, clear):
        add_places(parser)
        add_url(parser)
        add_json(parser)


def ask_password(prompt: str, *, from_stdin: bool) -> str:
    """Read a password from the terminal without echo, or from a line of standard input.

    It is never taken from the command line. Without a terminal nothing is asked or sent, as an
    empty answer would count as a wrong password.
    """
    return read_hidden("admin password", prompt, from_stdin=from_stdin, instead="--password-stdin")


def answered[T](asked: Coroutine[Any, Any, T]) -> T:
    from risk_manager.feed.client import AdminRefused, FeedUnreachable

    try:
        return asyncio.run(asked)
    except FeedUnreachable as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    except AdminRefused as error:
        raise CommandFailed(Exit.REFUSED, error.message) from None


async def call(
    arguments: argparse.Namespace, method: str, params: dict[str, Any], *, timeout_s: float = 30.0
) -> Any:
    """Return the daemon's answer to one verb. Asks for the password if one is needed."""
    from risk_manager.feed.client import AdminClient, AdminRefused

    async with AdminClient.connect(arguments.data, arguments.url) as admin:
        try:
            return await admin.call(method, params, timeout_s=timeout_s)
        except AdminRefused as refused:
            if refused.code != "login_required":
                raise
        from_stdin = getattr(arguments, "password_stdin", False)
        password = await asyncio.to_thread(ask_password, "Admin password: ", from_stdin=from_stdin)
        await admin.call("login", {"password": password})
        return await admin.call(method, params, timeout_s=timeout_s)


def _snapshot(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the daemon's status and the snapshot."""
    from risk_manager.feed.client import read_once

    status, snapshot, _ = answered(read_once(arguments.data, arguments.url))
    return status.message, snapshot


def _status(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.key_age import RENEW, known_age

    message, snapshot = _snapshot(arguments)
    age, now = known_age(arguments.data), datetime.now(UTC)
    reminder = None if age is None else age.reminder(now)
    if arguments.json:
        print(json.dumps({**snapshot, "key_reminder": reminder}, indent=2))
        return Exit.DONE
    hubs = ", ".join(f"{name} stream {hub['state']}" for name, hub in snapshot["hubs"].items())
    status = snapshot["status"] + (f" ({message})" if message else "")
    print(f"daemon {status}, version {snapshot['version']}" + (f"; {hubs}" * bool(hubs)))
    for account in snapshot["accounts"]:
        print(f"{named(account)}, {account['mode']}: {_in_a_line(account)}")
        if account.get("mode_reason"):
            print(f"  {account['mode_reason']}")
    if not snapshot["accounts"]:
        print("accounts: not known yet" if _is_starting(snapshot) else "no account is watched")
    if reminder is not None:
        print(f"{reminder}: {RENEW}")
    from risk_manager.admin.drill_record import drill_told

    print(f"fire drill: {drill_told(arguments.config, arguments.data)}")
    return Exit.DONE


def _is_starting(snapshot: dict[str, Any]) -> bool:
    return bool(snapshot["status"] == "STARTING")


def _in_a_line(account: dict[str, Any]) -> str:
    locks = locked(account["locks"], datetime.now(UTC))
    if not account.get("known", True):
        # A stored lock is in force. That there is none is not known before the account is read.
        return f"not known yet, {locks}" if account["locks"] else "not known yet"
    held = account["contracts_held"]
    return (
        f"{_money(account['realised_net'])} realised, {_money(account['unrealised'])} open, "
        f"{held} contract{'' if held == 1 else 's'}, {locks}"
    )


def _money(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def _list_lockouts(arguments: argparse.Namespace) -> int:
    _, snapshot = _snapshot(arguments)
    accounts = snapshot["accounts"]
    known = [account["account_id"] for account in accounts]
    if arguments.account is not None and arguments.account not in known:
        watched = ", ".join(map(str, known)) or "none"
        unknown = "is not watched" if not _is_starting(snapshot) else "is not known yet"
        raise CommandFailed(
            Exit.REFUSED, f"account {arguments.account} {unknown}; watched: {watched}"
        )
    chosen = [a for a in accounts if arguments.account in (None, a["account_id"])]
    locks = [
        {"account_id": account["account_id"], "account": account["name"], **lock}
        for account in chosen
        for lock in account["locks"]
    ]
    if arguments.json:
        print(json.dumps(locks, indent=2))
        return Exit.DONE
    now = datetime.now(UTC)
    for lock in locks:
        print(f"{named({**lock, 'name': lock['account']})}: {in_force(lock, now)}")
    unread = [str(a["account_id"]) for a in chosen if not a.get("known", True)]
    if unread or (not chosen and _is_starting(snapshot)):
        plural = "" if len(unread) == 1 else "s"
        whose = f"account{plural} {', '.join(unread)}" if unread else "the accounts"
        print(f"{whose}: not known yet; what is open now may still set a lock")
    elif not locks:
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
    result = answered(call(arguments, "set_lockout", params))
    new, locks = result.get("lock"), result.get("locks", [])
    lines = of_lock(arguments.account, new, locks, datetime.now(UTC)) if new else None
    return _told(arguments, result, lines)


def _clear_lockout(arguments: argparse.Namespace) -> int:
    params = {
        "account_id": arguments.account,
        "scope": arguments.scope,
        "rule_id": arguments.rule,
        "reason": arguments.reason,
    }
    result = answered(call(arguments, "clear_lockout", params))
    lifted, stays = result.get("lifted"), result.get("stays", [])
    if lifted is None:
        return _told(arguments, result)
    _told(arguments, result, of_clear(arguments.account, lifted, stays, datetime.now(UTC)))
    return Exit.REFUSED if any(lock["asked_for"] for lock in stays) else Exit.DONE


def reload_config(arguments: argparse.Namespace) -> int:
    """`admin config reload`."""
    result = answered(call(arguments, "reload_config", {}))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return Exit.DONE
    from risk_manager.admin.effective import told_change, told_time

    edited, reset = result["changes"], told_time(result["next_reset"])
    print(f"read (digest {result['digest'][:12]})" + ("" if edited else "; nothing was edited"))
    for change in edited:
        print("  " + told_change(change, reset))
    kept = result["waits_for_reset"]
    if kept:
        print(f"until the reset ({reset}) the older version holds too: {', '.join(kept)}")
    restart = [change["key"] for change in edited if change["when"] == "restart"]
    if restart:
        print("needs a restart: " + ", ".join(restart))
    return Exit.DONE


def _told(
    arguments: argparse.Namespace, result: dict[str, Any], lines: Iterable[str] | None = None
) -> int:
    """Print the daemon's answer: as JSON, as these lines, or as one word if there are none."""
    if arguments.json:
        print(json.dumps(result, indent=2))
        return Exit.DONE
    if lines is None:
        accounts = ", ".join(str(a) for a in result.get("accounts", ()))
        lines = [f"accepted for account {accounts}" if accounts else "accepted"]
    for line in lines:
        print(line)
    return Exit.DONE
