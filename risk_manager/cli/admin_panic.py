"""`admin panic`: close and cancel everything now, through the daemon or without it."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.admin.order_effects import is_done
from risk_manager.cli.admin_daemon import to_daemon
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.numbers import duration
from risk_manager.cli.places import add_account, add_json, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

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
    from risk_manager.admin.panic import Panic
    from risk_manager.feed.client import AdminRefused

    order = Panic(
        account_id=arguments.account,
        is_locking=not arguments.no_lock,
        duration=arguments.duration,
        reason=arguments.reason,
    )
    try:
        return asyncio.run(order.by_the_daemon(to_daemon(arguments), _say))
    except AdminRefused as refused:
        raise CommandFailed(Exit.REFUSED, refused.message) from None


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
    from risk_manager.admin.panic import told_panic

    for line in told_panic(result, datetime.now(UTC)):
        print(line)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
