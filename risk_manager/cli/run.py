"""`run`: the daemon, in the foreground."""

import argparse
import sys
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_places

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands
    from risk_manager.instance_lock import InstanceLock

HOPELESS = (Exit.CREDENTIALS, Exit.CONFIGURATION, Exit.ALREADY_RUNNING)


def register(commands: "Commands") -> None:
    parser = add_command(commands, "run", "the daemon, in the foreground")
    add_places(parser, looks_into_data=False)
    parser.add_argument(
        "--zero-when-hopeless",
        action="store_true",
        help="end with code 0 where another start would not help (4, 5, 7): for launchd, which "
        "starts a daemon again after every other code",
    )
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        code = _guarded(arguments)
    except CommandFailed as failure:
        if not (arguments.zero_when_hopeless and failure.code in HOPELESS):
            raise
        print(f"risk-manager: {failure}", file=sys.stderr)
        code = failure.code
    hopeless = arguments.zero_when_hopeless and code in HOPELESS
    return Exit.DONE if hopeless else code


def _guarded(arguments: argparse.Namespace) -> int:
    from risk_manager.instance_lock import CannotStart, InstanceLock

    try:
        with InstanceLock() as instance_lock:
            if arguments.data.exists():  # a mistyped --config makes no folder
                instance_lock.hold_the_folder(arguments.data)
            return _guard(arguments, instance_lock)
    except CannotStart as problem:
        raise CommandFailed(Exit(problem.code), str(problem)) from None


def _guard(arguments: argparse.Namespace, instance_lock: "InstanceLock") -> int:
    from risk_manager.instance_lock import CannotStart
    from risk_manager.settings.loading import load, open_to_everybody
    from risk_manager.settings.problems import ConfigurationErrors

    try:
        configuration = load(arguments.config)
    except ConfigurationErrors as errors:
        print(errors, file=sys.stderr)
        return Exit.CONFIGURATION
    if loose := open_to_everybody(arguments.config):
        # Whoever may write there may replace the limits. A check of the files only warns of it.
        raise CannotStart(Exit.CONFIGURATION, *map(str, loose))
    gateway = configuration.settings.gateway
    if gateway.kind == "projectx":  # a practice gateway has no address before it runs
        listed = [account.id for account in configuration.accounts.enabled]
        # An account that cannot be held is reported once there is a log.
        instance_lock.hold_the_accounts(gateway.api_url, listed, configuration.label_of)

    from risk_manager.daemon.process import run  # imported late, as it loads everything heavy

    return run(configuration, arguments.data, instance_lock, getattr(arguments, "debug", False))
