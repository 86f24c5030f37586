"""`init`: the first hour. Asks, logs in, shows each limit, writes the files, runs the doctor."""

import argparse
import shlex
from typing import TYPE_CHECKING

from risk_manager.cli.config_edits import print_difference
from risk_manager.cli.doctor import tell_findings
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.init_limits import ask_accounts, ask_setup, tell_limits
from risk_manager.cli.init_login import PRACTICE, TOPSTEPX, LoginAnswers, ask_login
from risk_manager.cli.places import add_places, config_folder, data_folder
from risk_manager.cli.questions import Choice, Questions

if TYPE_CHECKING:
    from risk_manager.admin.first_setup import FirstSetup, SetupFiles
    from risk_manager.cli.groups import Commands

ABOUT = """\
Set everything up: the gateway, where the login is kept, which accounts are guarded, and their
limits by a preset. Logs in, shows each limit as a sentence and every file it changes as a
difference, writes settings.yaml, accounts.yaml and risk_config.yaml into --config, and runs the
doctor.

At a terminal it asks for what no option has answered. Without one each answer must be given:
--gateway, --username, --store, --key-stdin, --account, --preset, --daily-loss, --mode and --yes.
The API key is never an option: it is asked for and not shown, read with --key-stdin, or found in
the environment (--store env:NAME)."""


def register(commands: "Commands") -> None:
    parser = add_command(commands, "init", "set everything up, question by question")
    parser.description = ABOUT
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--gateway",
        choices=(TOPSTEPX, PRACTICE),
        help="topstepx (or another ProjectX gateway, by its addresses), or practice",
    )
    for name, what in (
        ("api", "REST address"),
        ("user-hub", "user stream"),
        ("market-hub", "market stream"),
    ):
        parser.add_argument(
            f"--{name}-url", metavar="URL", help=f"the {what} of a gateway other than TopstepX's"
        )
    parser.add_argument("--username", metavar="NAME", help="the user name of the gateway")
    parser.add_argument(
        "--store",
        metavar="PLACE",
        help="where the API key is kept: file:PATH, keyring:SERVICE/USER or env:NAME",
    )
    parser.add_argument(
        "--key-stdin", action="store_true", help="read the API key from the standard input"
    )
    parser.add_argument(
        "--account",
        action="append",
        metavar="ID",
        help="an account to guard, or all; may be repeated",
    )
    parser.add_argument(
        "--preset",
        action="append",
        metavar="[ID=]NAME",
        help="the preset of all accounts, or of one; none for no preset; may be repeated",
    )
    parser.add_argument(
        "--without",
        action="append",
        metavar="LINE",
        help="a line of the presets to leave out, as daily_loss; may be repeated",
    )
    parser.add_argument(
        "--daily-loss",
        metavar="AMOUNT",
        help="your own limit for the loss of a day, open positions included, or none",
    )
    parser.add_argument(
        "--mode", choices=("shadow", "enforce"), help="shadow only tells; enforce acts"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before writing")
    add_places(parser)
    parser.set_defaults(command=_init)


def _init(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.folder import is_in_use

    if is_in_use(arguments.data):
        raise CommandFailed(
            Exit.REFUSED,
            f"a daemon runs with the data folder {arguments.data}; stop it first, or change single "
            "things with: risk-manager admin",
        )
    questions = Questions(arguments)
    if questions.can_ask:
        print(f"This sets up {arguments.config.absolute()}. Nothing is written before you say yes.")
    login = ask_login(questions, arguments)
    records = ask_accounts(questions, arguments, login.accounts)
    setup = ask_setup(questions, arguments, login, records)
    tell_limits(setup)
    files = _checked_files(arguments, setup)
    _tell_files(files)
    if (arguments.data / "limits.json").exists():
        print("\nUntil the next reset the limits in force hold as well, where they are tighter.")
    yes_no = [Choice("yes", "write the files", True), Choice("no", "change nothing", False)]
    said = "yes" if arguments.yes else None
    if not questions.choose("--yes", said, "Write this?", yes_no, "no"):
        raise CommandFailed(Exit.REFUSED, "nothing was written")
    _write(arguments, login, files)
    return _doctor(arguments, login)


def _checked_files(arguments: argparse.Namespace, setup: "FirstSetup") -> "SetupFiles":
    from risk_manager.admin.first_setup import SetupFiles
    from risk_manager.settings.edits import EditFailed
    from risk_manager.settings.yaml_edits import EditRefused

    try:
        files = SetupFiles.of(arguments.config, setup)
    except (EditFailed, EditRefused) as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    files.check()
    return files


def _tell_files(files: "SetupFiles") -> None:
    print(f"\nIn {files.folder.absolute()}:")
    for name in files.texts:
        lines = files.difference(name)
        if lines is None:
            print(f"  {name}: new, {len(files.texts[name].splitlines())} lines")
        elif not lines:
            print(f"  {name}: stays as it is")
        else:
            print(f"  {name}: is REPLACED, with this difference:")
            print_difference(lines)


def _write(arguments: argparse.Namespace, login: LoginAnswers, files: "SetupFiles") -> None:
    from risk_manager.admin.first_setup import store_key
    from risk_manager.settings.edits import EditFailed

    try:
        if login.reference is not None and login.key is not None:
            store_key(login.reference, login.key, arguments.config, arguments.data)
        files.write()
    except EditFailed as error:
        raise CommandFailed(Exit.CONFIGURATION, str(error)) from None
    except OSError as error:
        raise CommandFailed(
            Exit.REFUSED, f"{error.filename} cannot be written: {error.strerror}"
        ) from None
    print(f"\nwritten: {', '.join(files.texts)}")
    if login.reference is not None and login.reference.kind != "env":
        where = login.reference.told(arguments.config)
        print(f"the key is kept in {where}; only this user may read it")


def _doctor(arguments: argparse.Namespace, login: LoginAnswers) -> int:
    from risk_manager.admin.checkup import checkup
    from risk_manager.admin.finding import Grade

    print("\nThe doctor says:")
    findings = checkup(arguments.config, arguments.data)
    tell_findings(findings)
    places = "".join(
        f" {option} {shlex.quote(str(place))}"
        for option, place, usual in (
            ("--config", arguments.config, config_folder()),
            ("--data", arguments.data, data_folder()),
        )
        if place != usual
    )
    if any(finding.grade is Grade.FAIL for finding in findings):
        print(f"\nMend what failed, then: risk-manager doctor{places}")
        return Exit.REFUSED
    variables = ""
    if login.reference is not None and login.reference.kind == "env":
        names = [login.reference.place]
        names += [str(login.username).removeprefix("env:")] * str(login.username).startswith("env:")
        variables = f" (where {' and '.join(names)} {'is' if len(names) == 1 else 'are'} set)"
    print(f"\nNext: risk-manager run{places}{variables}")
    return Exit.DONE
