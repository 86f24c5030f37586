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


def register(commands: "Commands") -> None:
    parser = add_command(commands, "run", "the daemon, in the foreground")
    add_places(parser, looks_into_data=False)
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from risk_manager.instance_lock import CannotStart, InstanceLock

    try:
        with InstanceLock() as instance_lock:
            if arguments.data.exists():  # a mistyped --config makes no folder
                instance_lock.hold_the_folder(arguments.data)
            return _guard(arguments, instance_lock)
    except CannotStart as problem:
        raise CommandFailed(Exit(problem.code), str(problem)) from None


def _guard(arguments: argparse.Namespace, instance_lock: "InstanceLock") -> int:
    from risk_manager.settings.loading import load
    from risk_manager.settings.problems import ConfigurationErrors

    try:
        configuration = load(arguments.config)
    except ConfigurationErrors as errors:
        print(errors, file=sys.stderr)
        return Exit.CONFIGURATION
    gateway = configuration.settings.gateway
    if gateway.kind == "projectx":  # a practice gateway has no address before it runs
        listed = [account.id for account in configuration.accounts.enabled]
        # An account that cannot be held is reported once there is a log.
        instance_lock.hold_the_accounts(gateway.api_url, listed, configuration.label_of)

    from risk_manager.daemon.process import run  # imported late, as it loads everything heavy

    return run(configuration, arguments.data, instance_lock, getattr(arguments, "debug", False))
