"""`doctor`: everything an operator can get wrong, one line each, with the fix."""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from risk_manager.cli.exits import Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_json, add_places

if TYPE_CHECKING:
    from risk_manager.admin.finding import Finding
    from risk_manager.cli.groups import Commands


def register(commands: "Commands") -> None:
    parser = add_command(
        commands, "doctor", "check everything that can be set up wrong, and say how to mend it"
    )
    add_places(parser, looks_into_data=False)
    add_json(parser)
    parser.add_argument(
        "--gateway",
        action="store_true",
        help="log in to the gateway even while a daemon is running",
    )
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.checkup import checkup
    from risk_manager.admin.finding import Grade
    from risk_manager.admin.folder import closed_to_us

    findings = checkup(arguments.config, arguments.data, ask_gateway=arguments.gateway)
    failed = any(finding.grade is Grade.FAIL for finding in findings)
    if arguments.json:
        report = [
            {"check": f.check, "grade": str(f.grade), "found": f.found, "fix": f.fix}
            for f in findings
        ]
        print(json.dumps({"ok": not failed, "checks": report}, indent=2))
    else:
        tell_findings(findings)
    if closed_to_us(arguments.data) is not None:
        return Exit.DATABASE
    return Exit.REFUSED if failed else Exit.DONE


def tell_findings(findings: "Iterable[Finding]") -> None:
    """Print a line for each finding, with its fix."""
    from risk_manager.admin.finding import Grade

    colours = {Grade.OK: "32", Grade.WARN: "33", Grade.FAIL: "31"} if _in_colour() else {}
    for finding in findings:
        grade = f"{finding.grade:<4}"
        if finding.grade in colours:
            grade = f"\x1b[{colours[finding.grade]}m{grade}\x1b[0m"
        fix = f"; {finding.fix}" if finding.fix else ""
        print(f"{grade}  {finding.check}: {finding.found}{fix}")


def _in_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
