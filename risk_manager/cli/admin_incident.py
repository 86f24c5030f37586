"""`admin incident`: packs the record of a failure of the platform, and checks what was packed."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_json, add_places

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands


def register(groups: "Commands") -> None:
    parser = add_command(
        groups,
        "incident",
        "pack the record of a failure of the platform, with hashes, or check a packed one",
    )
    parser.add_argument(
        "--from", dest="start", type=instant, metavar="TIME",
        help="from this time on, as 2026-11-23T15:30 (of this machine's zone) or with its own zone",
    )  # fmt: skip
    parser.add_argument("--to", dest="end", type=instant, metavar="TIME", help="up to this time")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the zip file to be made (default: a name with the time)",
    )
    parser.add_argument(
        "--mask",
        action="store_true",
        help="mask the numbers and names of accounts; the audit's chain cannot be checked then",
    )
    parser.add_argument(
        "--verify", type=Path, metavar="FILE", help="check a packed file instead of packing one"
    )
    add_json(parser)
    add_places(parser)
    parser.set_defaults(command=_incident)


def instant(text: str) -> datetime:
    """A time; without a zone it is one of this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write it as 2026-11-23T15:30 or 2026-11-23T20:30Z"
        ) from None


def _incident(arguments: argparse.Namespace) -> int:
    if arguments.verify is not None:
        if arguments.start or arguments.end or arguments.out or arguments.mask:
            arguments.usage("--verify takes no other option of packing")
        return _verify(arguments)
    if arguments.start is None or arguments.end is None:
        arguments.usage("--from and --to are needed, or --verify")
    if arguments.start > arguments.end:
        arguments.usage("--from is after --to")
    return _pack(arguments)


def _pack(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.exports import ExportRefused, default_name
    from risk_manager.admin.incident import Span, pack_incident
    from risk_manager.admin.records import RecordsUnreadable

    to = arguments.out or default_name("incident", "zip")
    accounts = _accounts(arguments) if arguments.mask else None
    if arguments.mask and not accounts:
        raise CommandFailed(Exit.REFUSED, "no account is known here, so that none can be masked")
    try:
        made = pack_incident(arguments.data, to, Span(arguments.start, arguments.end), accounts)
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None
    except ExportRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        print(json.dumps(made, indent=2))
    else:
        print(f"packed into {made['file']}: {_counted(made['lines'])}")
        print(f"the list of hashes has SHA-256 {made['sums']}; keep it apart from the file")
        if not made["audit"]["is_whole"]:
            print(f"warning: the audit is BROKEN at row {made['audit']['broken_at']}")
    return Exit.DONE


def _accounts(arguments: argparse.Namespace) -> dict[int, str]:
    from risk_manager.admin.exports import known_accounts
    from risk_manager.settings import ConfigurationErrors, load

    try:
        configuration = load(arguments.config)
    except ConfigurationErrors:
        configuration = None
    return known_accounts(arguments.data, configuration)


def _counted(lines: dict[str, int]) -> str:
    return ", ".join(f"{count} lines of {name}" for name, count in lines.items())


def _verify(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.exports import ExportRefused
    from risk_manager.admin.incident_check import check_incident

    try:
        found: dict[str, Any] = check_incident(arguments.verify)
    except ExportRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        print(json.dumps(found, indent=2))
        return Exit.DONE if found["ok"] else Exit.REFUSED
    for problem in found["problems"]:
        print(problem)
    if found["ok"]:
        chain = "not checked, as it is masked" if found["is_masked"] else "whole"
        print(f"{found['files']} files are as they were packed; the chain of the audit is {chain}")
    print(f"the list of hashes has SHA-256 {found['sums']}")
    return Exit.DONE if found["ok"] else Exit.REFUSED
