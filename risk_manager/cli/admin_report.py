"""`admin report`: what happened on a trading day or in a week."""

import argparse
import json
import os
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from risk_manager.cli.admin_history import day as trading_date
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_account, add_json, add_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from risk_manager.admin.reports.report import Report
    from risk_manager.cli.groups import Commands
    from risk_manager.domain.symbols import Symbols
    from risk_manager.domain.trading_calendar import TradingDay

ABOUT = {
    "day": "result, trades, interventions, discipline, locks and gaps of a trading day",
    "week": "the same of the week, from Monday to Friday, that a date belongs to",
}
_WEEKDAYS = 5


def register(groups: "Commands") -> None:
    _, report = add_group(
        groups, "report", "a day or a week from the stored record, to read or to print"
    )
    for span, about in ABOUT.items():
        parser = add_command(report, span, about)
        parser.add_argument(
            "day",
            type=trading_date,
            nargs="?",
            metavar="DATE",
            help="the trading date, as 2026-11-23 (default: today's)",
        )
        add_account(parser)
        parser.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="write a page to look at or print, under a new name",
        )
        add_json(parser)
        add_places(parser)
        parser.set_defaults(command=_report, span=span)


def _report(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.reports.report import plain
    from risk_manager.admin.reports.text import as_text

    reports = _made(arguments)
    if arguments.html is not None:
        _write(arguments.html, reports)
    if arguments.json:
        print(json.dumps([plain(report) for report in reports], indent=2))
    elif arguments.html is not None:
        print(f"written to {arguments.html}")
    else:
        print("\n\n".join(as_text(report) for report in reports))
    return Exit.DONE


def _made(arguments: argparse.Namespace) -> "list[Report]":
    from risk_manager.admin.records import RecordsUnreadable
    from risk_manager.admin.reports.records import read_records, stored_accounts
    from risk_manager.admin.reports.report import make_report

    now = datetime.now(UTC)
    symbols, day = _settings(arguments.config)
    asked: date = arguments.day or day.date_of(now)
    if arguments.span == "week":
        first = day.week_of(asked)
        last = first + timedelta(days=_WEEKDAYS - 1)
    elif asked.weekday() >= _WEEKDAYS:
        arguments.usage(f"{asked} is a {asked:%A}; Saturday and Sunday belong to Monday's date")
    else:
        first = last = asked
    try:
        known = stored_accounts(arguments.data)
        if arguments.account is not None and arguments.account not in known:
            ids = ", ".join(map(str, known)) or "none"
            raise CommandFailed(
                Exit.REFUSED, f"nothing is stored of account {arguments.account}; known: {ids}"
            )
        if not known:
            raise CommandFailed(Exit.REFUSED, f"no account is stored in {arguments.data} yet")
        return [
            make_report(
                read_records(arguments.data, account, name, day, first, last), symbols, day, now
            )
            for account, name in known.items()
            if arguments.account in (None, account)
        ]
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None


def _settings(config: Path) -> "tuple[Symbols, TradingDay]":
    """Return what the files say of products and of the day; the defaults where they have errors."""
    from risk_manager.domain.symbols import Symbols
    from risk_manager.domain.trading_calendar import TradingDay
    from risk_manager.settings import ConfigurationErrors, load

    try:
        rulebook = load(config).rulebook()
    except ConfigurationErrors:
        day = TradingDay()
        print(
            f"the files in {config} cannot be used: products and the trading day as by default "
            f"(reset {day.reset:%H:%M} {day.timezone})",
            file=sys.stderr,
        )
        return Symbols(), day
    return rulebook.symbols, rulebook.day


def _write(to: Path, reports: "Sequence[Report]") -> None:
    """Write the page into a new file that only its owner can read."""
    from risk_manager.admin.reports.page import as_page

    text = as_page(reports)
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode("utf-8", "replace"))
    except FileExistsError:
        raise CommandFailed(Exit.REFUSED, f"{to} is there already; give another name") from None
    except OSError as error:
        raise CommandFailed(
            Exit.REFUSED, f"{to} cannot be written: {error.strerror or error}"
        ) from None
