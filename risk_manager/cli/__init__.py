"""The command line. Importing it imports neither the SDK nor Textual: commands import late."""

import argparse
import os
import sys
import traceback
import zoneinfo
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.places import add_debug
from risk_manager.cli.terminal import show_plain_signs

DESCRIPTION = "A guard for funded futures accounts: enforces the limits you set in a calm moment."
COMMANDS = ("init", "run", "dashboard", "demo", "practice", "doctor", "admin")
"""Each is a module of this package that registers itself."""
ENDINGS = """\
exit codes: 0 done, 1 refused or failed check, 2 usage, 3 daemon unreachable,
4 gateway credentials, 5 configuration, 6 database, 7 already running, 70 internal"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    show_plain_signs()
    # Use the bundled time zones: PYTHONTZPATH must not change when the trading day begins.
    zoneinfo.reset_tzpath(to=())
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    try:
        chosen = words[:1] if words and words[0] in COMMANDS else COMMANDS
        arguments, unknown = command_parser(chosen).parse_known_args(words)
        if unknown:
            arguments.usage(f"unrecognized arguments: {' '.join(unknown)}")
        return _begin(arguments)
    except CommandFailed as failure:
        _say(str(failure))
        return failure.code
    except KeyboardInterrupt:
        return Exit.REFUSED
    except EOFError:
        _say("nothing was entered; nothing was done")
        return Exit.REFUSED
    except BrokenPipeError:
        # The reader of our output has closed the pipe (`| head`). Without this Python would report
        # the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.REFUSED
    except Exception as error:
        return _unexpected(error, debug)


def _begin(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.folder import closed_to_us, denied

    if getattr(arguments, "looks_into_data", False) and (why := closed_to_us(arguments.data)):
        raise CommandFailed(Exit.DATABASE, why)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return int(command(arguments))
    except PermissionError as error:
        path = Path(os.fsdecode(error.filename)) if error.filename else None
        data: Path | None = getattr(arguments, "data", None)
        if path is None or data is None or not path.is_relative_to(data):
            raise
        raise CommandFailed(Exit.DATABASE, denied(data, path)) from error


def _unexpected(error: Exception, debug: bool) -> int:
    """Report an exception: known kinds by their own exit code, all others as a bug."""
    from risk_manager.redaction import redact
    from risk_manager.settings.problems import ConfigurationErrors
    from risk_manager.settings.secrets import SecretUnavailable

    if debug:
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if isinstance(error, ConfigurationErrors):
        for problem in error.problems:
            _say(redact(str(problem)))
        return Exit.CONFIGURATION
    if isinstance(error, SecretUnavailable):
        _say(redact(str(error)))
        return Exit.CREDENTIALS
    _say(
        f"internal error: {type(error).__name__}: {redact(' '.join(str(error).split()))}; "
        "run again with --debug and report it"
    )
    return Exit.INTERNAL


def _say(line: str) -> None:
    print(f"risk-manager: {line}", file=sys.stderr)


class _Version(argparse.Action):
    """Looks the versions up only when asked, as that imports the parts."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from risk_manager.admin.versions import versions

        found = versions()
        print(
            f"risk-manager {found['package']} "
            f"(database schema {found['schema']}, feed protocol {found['protocol']})"
        )
        parser.exit(Exit.DONE)


def command_parser(registered: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of these commands. The daemon keeps its parser, and needs no other's."""
    parser = argparse.ArgumentParser(
        prog="risk-manager",
        description=DESCRIPTION,
        epilog=ENDINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the versions of the program's parts"
    )
    add_debug(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in registered:
        import_module(f"{__name__}.{name}").register(commands)
    return parser
