"""`admin status` and `admin lockouts`: commands that need the running daemon."""

import argparse
import asyncio
import json
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.admin.order_effects import in_force, named, of_clear, of_lock
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import duration
from risk_manager.cli.places import (
    add_account,
    add_json,
    add_password_stdin,
    add_places,
    add_second_stdin,
    add_url,
)
from risk_manager.cli.typed_secrets import TypedSecrets

if TYPE_CHECKING:
    from risk_manager.admin.daemon_line import OwnLine
    from risk_manager.cli.groups import Commands

ABOUT_CLEAR = """\
Lift a lock which an administrator may lift.

It asks for the admin password, where one is set. Where a second person's passphrase is set as well
(admin password second set), lifting a lock early needs both, and the audit records both with the
reason. For a script, the password and the passphrase are two lines of the standard input."""


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
    clear.description = ABOUT_CLEAR
    clear.formatter_class = argparse.RawDescriptionHelpFormatter
    add_password_stdin(clear)
    add_second_stdin(clear)
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
    from risk_manager.admin.daemon_line import ask_daemon

    return await ask_daemon(to_daemon(arguments), method, params, timeout_s=timeout_s)


def to_daemon(arguments: argparse.Namespace) -> "OwnLine":
    """Return the way to the daemon, which asks for the password where one is needed."""
    from risk_manager.admin.daemon_line import OwnLine

    return OwnLine(arguments.data, arguments.url, TypedSecrets.of(arguments).password)


def _snapshot(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the daemon's status and the snapshot."""
    from risk_manager.feed.client import read_once

    status, snapshot, _ = answered(read_once(arguments.data, arguments.url))
    return status.message, snapshot


def _status(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.status_lines import key_reminder, status_lines

    message, snapshot = _snapshot(arguments)
    now = datetime.now(UTC)
    if arguments.json:
        reminder = key_reminder(arguments.data, now)
        print(json.dumps({**snapshot, "key_reminder": reminder}, indent=2))
        return Exit.DONE
    for line in status_lines(message, snapshot, arguments.config, arguments.data, now):
        print(line)
    return Exit.DONE


def _list_lockouts(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.status_lines import is_starting

    _, snapshot = _snapshot(arguments)
    accounts = snapshot["accounts"]
    known = [account["account_id"] for account in accounts]
    if arguments.account is not None and arguments.account not in known:
        watched = ", ".join(map(str, known)) or "none"
        unknown = "is not watched" if not is_starting(snapshot) else "is not known yet"
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
    if unread or (not chosen and is_starting(snapshot)):
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
    result = answered(_lifted(arguments, params))
    lifted, stays = result.get("lifted"), result.get("stays", [])
    if lifted is None:
        return _told(arguments, result)
    _told(arguments, result, of_clear(arguments.account, lifted, stays, datetime.now(UTC)))
    return Exit.REFUSED if any(lock["asked_for"] for lock in stays) else Exit.DONE


async def _lifted(arguments: argparse.Namespace, params: dict[str, Any]) -> dict[str, Any]:
    """Return the daemon's answer; ask for the second passphrase if one is needed."""
    from risk_manager.admin.daemon_line import OwnLine
    from risk_manager.admin.second_change import lift_locks

    typed = TypedSecrets.of(arguments)
    daemon = OwnLine(arguments.data, arguments.url, typed.password)
    return await lift_locks(daemon, params, lambda: typed.second("Second passphrase: "))


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
