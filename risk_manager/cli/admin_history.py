"""`admin history`, and the exports of the audit and the logs: what is stored, read and given on."""

import argparse
import csv
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import count
from risk_manager.cli.places import add_account, add_json, add_places

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

NEWEST = 20
ABOUT = {
    "trades": "executions, with costs and result",
    "enforcement": "what was decided, and each call to the broker with its outcome",
    "lockouts": "every lock: why, until when, and what ended it",
    "days": "one row a finished trading day and account",
}


def register(groups: "Commands") -> None:
    _, history = add_group(groups, "history", "what is stored of the past, newest last")
    for kind, about in ABOUT.items():
        parser = add_command(history, kind, about)
        add_account(parser)
        parser.add_argument(
            "--from", dest="first", type=day, metavar="DATE", help="from this trading date on"
        )
        parser.add_argument(
            "--to", dest="last", type=day, metavar="DATE", help="up to this trading date"
        )
        limit = parser.add_mutually_exclusive_group()
        limit.add_argument(
            "-n", type=count, default=NEWEST, metavar="N", help=f"how many (default: {NEWEST})"
        )
        limit.add_argument("--all", action="store_true", help="all rows")
        form = parser.add_mutually_exclusive_group()
        add_json(form)
        form.add_argument("--csv", action="store_true", help="print CSV, for a spreadsheet")
        add_places(parser)
        parser.set_defaults(command=_history, kind=kind)


def register_audit(audit: "Commands") -> None:
    parser = add_command(
        audit, "export", "write every row to a file, as JSON lines, and check the chain"
    )
    _add_target(parser, _export_audit)


def register_logs(logs: "Commands") -> None:
    parser = add_command(
        logs,
        "export",
        "pack the logs for somebody else: keys, account numbers and account names are masked",
    )
    _add_target(parser, _export_logs)


def _add_target(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]
) -> None:
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="the file to be made (default: a name with the time)",
    )
    add_places(parser)
    add_json(parser)
    parser.set_defaults(command=command)


def day(text: str) -> date:
    """A trading date."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2026-11-23") from None


def _history(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.history import Wanted, read_history
    from risk_manager.admin.records import RecordsUnreadable

    if arguments.first and arguments.last and arguments.first > arguments.last:
        arguments.usage("--from is after --to")
    wanted = Wanted(
        account_id=arguments.account,
        first=arguments.first,
        last=arguments.last,
        limit=None if arguments.all else arguments.n,
    )
    try:
        rows = read_history(arguments.data, arguments.kind, wanted)
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None
    if arguments.json:
        print(json.dumps(rows, indent=2, default=_plain))
    elif arguments.csv:
        if rows:
            out = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
            out.writeheader()
            out.writerows({k: _plain(v) for k, v in row.items()} for row in rows)
    else:
        for row in rows:
            print(_TOLD[arguments.kind](row))
        if not rows:
            print("nothing is stored" + (" for this" if _is_narrow(wanted) else " yet"))
    return Exit.DONE


def _is_narrow(wanted: Any) -> bool:
    return any(x is not None for x in (wanted.account_id, wanted.first, wanted.last))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _trade(row: dict[str, Any]) -> str:
    net = "opens" if row["net"] is None else f"net {_money(row['net'])}"
    return (
        f"{_time(row['at'])}  account {row['account_id']}  {row['side']:<4} {row['size']} "
        f"{row['symbol']} at {row['price']}  {net}, costs {_money(row['costs'])}"
        + ("  VOIDED" if row["voided"] else "")
    )


def _enforcement(row: dict[str, Any]) -> str:
    took = "" if row["duration_ms"] is None else f" in {row['duration_ms']:.0f} ms"
    times = f" ({row['count']} times)" if row["count"] > 1 else ""
    return (
        f"{_time(row['at'])}  account {row['account_id']}  {row['rule_id']}: {row['action']} "
        f"{row['subject']}: {row['reason']}{times}: {row['outcome']}{took}"
    )


def _lockout(row: dict[str, Any]) -> str:
    if row["ended_at"] is not None:
        end = f"ended {_time(row['ended_at'])} by {row['ended_by']}"
    elif row["until"] is not None:
        end = f"in force until {_time(row['until'])}"
    else:
        end = f"in force, released by {row['release']}"
    where = "" if row["scope"] == "account" else f" {row['scope']}"
    return (
        f"{_time(row['at'])}  account {row['account_id']}{where}  {row['policy']} "
        f"{row['rule_id']}: {row['reason']}; {end}"
    )


def _day(row: dict[str, Any]) -> str:
    low, high = row["unrealized_low"], row["unrealized_high"]
    span = "" if low is None or high is None else f", open {_money(low)} to {_money(high)}"
    return (
        f"{row['trading_day']}  account {row['account_id']}  net {_money(row['net'])} "
        f"({_money(row['realized'])} less {_money(row['costs'])}), {row['trades']} trades{span}"
    )


_TOLD: dict[str, Callable[[dict[str, Any]], str]] = {
    "trades": _trade,
    "enforcement": _enforcement,
    "lockouts": _lockout,
    "days": _day,
}


def _time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _money(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def _export_audit(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.exports import ExportRefused, default_name, export_audit
    from risk_manager.admin.records import RecordsUnreadable

    to = arguments.to or default_name("audit", "jsonl")
    try:
        made = export_audit(arguments.data, to)
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None
    except ExportRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        print(json.dumps(made, indent=2))
    else:
        state = "whole" if made["ok"] else f"BROKEN at row {made['broken_at']}: {made['why']}"
        print(f"{made['rows']} rows in {to}; the chain is {state}; head {made['head'][:16]}")
    return Exit.DONE if made["ok"] else Exit.REFUSED


def _export_logs(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.exports import ExportRefused, default_name, export_logs, known_accounts
    from risk_manager.settings import ConfigurationErrors, load

    try:
        configuration = load(arguments.config)
    except ConfigurationErrors:
        configuration = None
    to = arguments.to or default_name("logs", "zip")
    accounts = known_accounts(arguments.data, configuration)
    try:
        made = export_logs(arguments.data, to, accounts)
    except ExportRefused as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        print(json.dumps(made, indent=2))
        return Exit.DONE
    lines = sum(made["lines"].values())
    print(f"{lines} lines of {len(made['lines'])} files in {to}; keys are masked")
    print(
        f"the numbers and names of {len(accounts)} accounts are masked, too"
        if accounts
        else "no account is known here: numbers of accounts are NOT masked"
    )
    return Exit.DONE
