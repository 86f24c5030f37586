"""`admin panic`: close and cancel everything now, through the daemon or without it."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import call
from risk_manager.cli.effects import is_done, of_panic
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.numbers import duration
from risk_manager.cli.places import add_account, add_json, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

WAIT_S = 20.0
TRY_FOR = "90s"
ABOUT = """\
Close every position and cancel every order of the watched accounts, or of one with --account.
No password is asked for.

With the daemon, the accounts are locked flat as well, and what is still open after 20 s is tried
again and again. Without it (or with --without-daemon) this command closes and cancels by itself,
with the key of settings.yaml, reads back, and repeats for --within at most. No lock follows then.
A broken rules file hinders neither.

Positions are closed by the gateway's own close call, so nothing is ever opened or enlarged. The
exit code is 0 only if the gateway confirms that all is flat."""


def register(groups: "Commands") -> None:
    panic = add_command(groups, "panic", "close every position and cancel every order, now")
    panic.description = ABOUT
    panic.formatter_class = argparse.RawDescriptionHelpFormatter
    add_account(panic)
    panic.add_argument("--yes", action="store_true", help="do not ask")
    panic.add_argument(
        "--for",
        dest="duration",
        type=duration,
        metavar="TIME",
        help="how long the lock lasts, as 30m (default: until cleared)",
    )
    panic.add_argument("--no-lock", action="store_true", help="do not lock the accounts")
    panic.add_argument(
        "--without-daemon", action="store_true", help="go to the gateway at once, by REST alone"
    )
    panic.add_argument(
        "--within",
        type=duration,
        metavar="TIME",
        default=TRY_FOR,
        help=f"without the daemon: how long to try (default: {TRY_FOR})",
    )
    panic.add_argument(
        "--reason", metavar="TEXT", default="panic", help="why; the daemon keeps it with the order"
    )
    # Not even a data folder that is closed to us may refuse a panic.
    add_places(panic, looks_into_data=False)
    add_url(panic)
    add_json(panic)
    panic.set_defaults(command=_panic)


def _panic(arguments: argparse.Namespace) -> int:
    _ask(arguments)
    result = None if arguments.without_daemon else _by_the_daemon(arguments)
    if result is None:
        result = _without_the_daemon(arguments)
    report = result.get("report")
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _tell(result)
    return Exit.DONE if report and all(map(is_done, report)) else Exit.REFUSED


def _ask(arguments: argparse.Namespace) -> None:
    if arguments.yes:
        return
    whose = "all accounts" if arguments.account is None else f"account {arguments.account}"
    if not sys.stdin.isatty():
        raise CommandFailed(Exit.REFUSED, "nobody can be asked here; say --yes")
    answer = input(f"Close everything in {whose}? Type yes: ").strip().lower()
    if answer not in ("y", "yes"):
        raise CommandFailed(Exit.REFUSED, "nothing was done")


def _by_the_daemon(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Return the daemon's answer; None if it cannot do it, which is said."""
    from risk_manager.feed.client import AdminRefused, FeedUnreachable

    params = {
        "account_id": "all" if arguments.account is None else arguments.account,
        "reason": arguments.reason,
        "wait_s": WAIT_S,
        "lock": not arguments.no_lock,
        "duration": arguments.duration,
    }
    try:
        result = asyncio.run(call(arguments, "close_all", params, timeout_s=WAIT_S + 10))
    except FeedUnreachable as error:
        _say(str(error))
        return None
    except AdminRefused as refused:
        # An account that the daemon does not watch is closed all the same if it is named.
        if refused.code not in ("starting", "internal", "unknown_account"):
            raise CommandFailed(Exit.REFUSED, refused.message) from None
        _say(refused.message)
        return None
    return {"daemon": True, **result}


def _without_the_daemon(arguments: argparse.Namespace) -> dict[str, Any]:
    from risk_manager.admin.panic import NothingToReach, panic_without_daemon
    from risk_manager.admin.rest_gateway import LoginRefused
    from risk_manager.domain.durations import parse_duration

    within = parse_duration(arguments.within).total_seconds()
    _say("this is done without the daemon")
    try:
        return asyncio.run(
            panic_without_daemon(
                arguments.config, arguments.data, arguments.account, try_for_s=within, say=_say
            )
        )
    except NothingToReach as error:
        raise CommandFailed(Exit.UNREACHABLE, str(error)) from None
    except LoginRefused as error:
        raise CommandFailed(
            Exit.CREDENTIALS, f"{error}: NOTHING was closed; close by hand in the platform"
        ) from None
    except KeyboardInterrupt:
        raise CommandFailed(
            Exit.REFUSED, "interrupted; some of it may be done: look at the platform"
        ) from None


def _tell(result: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    for row in result.get("report", ()):
        for line in of_panic(row, now):
            print(line)
    for account_id in result.get("locked", ()):
        print(
            f"account {account_id}: locked flat; an administrator lifts it with: risk-manager "
            f"admin lockouts clear --account {account_id} --reason TEXT"
        )
    for other in result.get("left_alone", ()):
        print(
            f"account {other['account_id']} ({other['name']}) is in this login and not watched: "
            f"left alone (panic --account {other['account_id']} closes it)"
        )
    if not result["daemon"]:
        print("no lock was set, and nobody guards as long as no daemon runs: risk-manager run")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
