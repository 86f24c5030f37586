"""`admin service`: the daemon as a service of NSSM, systemd or launchd."""

import argparse
import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import answered
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_json, add_password_stdin, add_places
from risk_manager.cli.typed_secrets import TypedSecrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from risk_manager.cli.groups import Commands
    from risk_manager.service.changes import ServiceChange
    from risk_manager.service.manager import ServiceManager
    from risk_manager.service.steps import Step

ABOUT_INSTALL = """\
Install the daemon as a service, or bring the installed one up to date. Every file and command is
shown as it is carried out; --dry-run shows them only.

Windows  NSSM (https://nssm.cc), from a terminal of an administrator
Linux    a unit of systemd, as root
macOS    an agent of launchd for this user, or with sudo and --user a daemon of the machine

The service runs as a user without rights: on Windows a virtual service account, on Linux
"riskmanager", which is made. It uses the folders of --config and --data as they are given here.
The data folder becomes that user's, and nobody else's."""

ABOUT_END = """\
{what}. Nothing is enforced until the daemon is started again.

Where a contract is open or an account is locked, it says so, with the time at which each lock ends.
It then needs the admin password, where one is set, also with --yes, and the daemon records what
stood. Locks stay in their files, and act again after the next start."""

ABOUT_STATUS = """\
How the service is: the word of its manager, the daemon's own state, and how long nobody guarded
after crashes. Where no service manager runs, as in a container, it says so and what runs instead.
Exit code: 0 the daemon guards, 3 it does not run, 1 there is an alarm."""

ENDS_GUARD = ("stop", "uninstall")
VERBS = {
    "start": "start the installed service",
    "stop": "stop the service; nothing is enforced until it is started again",
    "restart": "stop and start the service",
}


def register(groups: "Commands") -> None:
    _, service = add_group(groups, "service", "the daemon as a service of the system")
    install = add_command(service, "install", "install the daemon as a service, or update it")
    install.description = ABOUT_INSTALL
    install.formatter_class = argparse.RawDescriptionHelpFormatter
    install.add_argument("--user", metavar="NAME", help="who runs it (default: as above)")
    uninstall = add_command(
        service, "uninstall", "remove the service; configuration and data stay as they are"
    )
    parsers = {"install": install, "uninstall": uninstall}
    parsers |= {verb: add_command(service, verb, about) for verb, about in VERBS.items()}
    status = add_command(service, "status", "how the service and the daemon are")
    status.description = ABOUT_STATUS
    status.formatter_class = argparse.RawDescriptionHelpFormatter
    for verb, what in (("uninstall", "Stop and remove the service"), ("stop", "Stop the service")):
        parsers[verb].description = ABOUT_END.format(what=what)
        parsers[verb].formatter_class = argparse.RawDescriptionHelpFormatter
        parsers[verb].add_argument("--yes", action="store_true", help="do not ask for the word")
        add_password_stdin(parsers[verb])
    for verb, parser in parsers.items():
        parser.add_argument(
            "--dry-run", action="store_true", help="show files and commands, and do nothing"
        )
        parser.set_defaults(command=_change, verb=verb, user=None, yes=True)
    for parser in (uninstall, parsers["stop"]):
        parser.set_defaults(yes=False)
    status.set_defaults(command=_status)
    for parser in (*parsers.values(), status):
        parser.add_argument(
            "--name", type=_name, metavar="NAME", help="the name of the service (default: ours)"
        )
        parser.add_argument(
            "--manager",
            choices=("nssm", "systemd", "launchd"),
            help="the service manager (default: that of this system)",
        )
        parser.add_argument(
            "--run", action="store_true", help="run nssm also where this is not Windows"
        )
        add_places(parser, looks_into_data=False)
        add_json(parser)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: letters, digits, _ . and - only")
    return text


def _manager(arguments: argparse.Namespace) -> "tuple[ServiceManager, str]":
    from risk_manager.service.choice import service_manager

    manager = service_manager(arguments.manager, anywhere=arguments.run)
    return manager, arguments.name or manager.default_name


# --- changes --------------------------------------------------------------------------------------


def _change(arguments: argparse.Namespace) -> int:
    from risk_manager.service.changes import prepare
    from risk_manager.service.service import ServiceRefused

    manager, name = _manager(arguments)
    try:
        change = prepare(
            manager, arguments.verb, name, arguments.config, arguments.data, user=arguments.user
        )
        if arguments.dry_run or change.why_not:
            _tell_steps(arguments, change.steps, change.remarks)
            if arguments.dry_run:
                return Exit.DONE
            raise CommandFailed(Exit.REFUSED, f"nothing was done: {change.why_not}")
        if arguments.verb in ENDS_GUARD:
            _confirm(arguments, name)
        _carry_out(arguments, change)
    except ServiceRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    return Exit.DONE


def _carry_out(arguments: argparse.Namespace, change: "ServiceChange") -> None:
    change.carry_out((lambda _: None) if arguments.json else print)
    if arguments.json:
        _print_json(arguments.verb, change.steps, change.remarks, done=True)
        return
    for remark in change.remarks:
        print(f"mind: {remark}")
    print(change.told_end)


def _tell_steps(
    arguments: argparse.Namespace, steps: "Sequence[Step]", remarks: "Sequence[str]"
) -> None:
    if arguments.json:
        _print_json(arguments.verb, steps, remarks, done=False)
        return
    for step in steps:
        print(step)
    for remark in remarks:
        print(f"# mind: {remark}")


def _print_json(
    verb: str, steps: "Sequence[Step]", remarks: "Sequence[str]", *, done: bool
) -> None:
    told: dict[str, Any] = {
        "verb": verb,
        "done": done,
        "steps": [step.row for step in steps],
        "remarks": list(remarks),
    }
    print(json.dumps(told, indent=2))


def _confirm(arguments: argparse.Namespace, name: str) -> None:
    """Ask before the accounts are left unguarded: always before a removal, else if it matters.

    Where something is open or locked, the daemon records it, and wants the password if one is set.
    """
    from risk_manager.service.changes import exposure_told

    exposed = exposure_told(arguments.data)
    if not arguments.yes and (exposed or arguments.verb == "uninstall"):
        _ask_for_the_word(arguments, name, exposed)
    if exposed:
        from risk_manager.admin.daemon_line import OwnLine
        from risk_manager.service.standing import ask_to_end

        daemon = OwnLine(arguments.data, None, TypedSecrets.of(arguments).password)
        answered(ask_to_end(daemon, arguments.verb))


def _ask_for_the_word(arguments: argparse.Namespace, name: str, exposed: str | None) -> None:
    from risk_manager.service.standing import standing

    if not sys.stdin.isatty():
        why = f"{exposed}; " if exposed else ""
        raise CommandFailed(Exit.REFUSED, f"{why}nobody can be asked here; say --yes")
    print(f"{exposed or 'Nothing is open or locked'}. Without {name} nothing is enforced.")
    for line in asyncio.run(standing(arguments.data)) if exposed else ():
        print(f"  {line}")
    word = arguments.verb.upper()
    if input(f"Type {word} to go on: ").strip() != word:
        raise CommandFailed(Exit.REFUSED, "nothing was done")


# --- status ---------------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
    from risk_manager.service.report import service_report

    manager, name = _manager(arguments)
    report = service_report(manager, name, arguments.data)
    if arguments.json:
        print(json.dumps(report.row, indent=2))
    else:
        for line in report.lines():
            print(line)
    if report.alarms:
        return Exit.REFUSED
    return Exit.DONE if report.daemon.is_running else Exit.UNREACHABLE
