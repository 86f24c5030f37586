"""`admin audit|db|journal|logs`: stored records, read without the daemon."""

import argparse
import json
from datetime import date
from typing import TYPE_CHECKING, Any

from risk_manager.cli import admin_history, admin_whatif
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import count
from risk_manager.cli.places import add_json, add_places

if TYPE_CHECKING:
    from collections.abc import Callable

    from risk_manager.cli.groups import Commands

NEWEST = 20


def register(groups: "Commands") -> None:
    _, audit = add_group(groups, "audit", "the record of everything decided and done")
    verify = add_command(audit, "verify", "check that no row was edited, removed or moved")
    tail = add_command(audit, "tail", "the newest rows")
    admin_history.register_audit(audit)
    _, db = add_group(groups, "db", "the daemon's database")
    backup = add_command(db, "backup", "make a verified copy now, also while the daemon runs")
    check = add_command(db, "check", "look for damage")
    migrate = add_command(
        db, "migrate", "bring the database of a stopped daemon up to date, after a verified copy"
    )
    migrate.add_argument(
        "--dry-run", action="store_true", help="only say which migrations are missing"
    )
    _, journal = add_group(groups, "journal", "every event, to judge a day again")
    replay = add_command(journal, "replay", "judge a trading day again and say what was decided")
    replay.add_argument("day", type=_day, metavar="DATE", help="the trading date, as 2026-11-23")
    admin_whatif.register(journal)
    _, logs = add_group(groups, "logs", "the log files")
    admin_history.register_logs(logs)
    entries = add_command(logs, "tail", "the newest entries")
    entries.add_argument(
        "--log",
        choices=("daemon", "enforcement", "api", "error"),
        default="daemon",
        help="which (default: daemon)",
    )
    for parser in (tail, entries):
        parser.add_argument(
            "-n", type=count, default=NEWEST, metavar="N", help=f"how many (default: {NEWEST})"
        )
    for parser, command in (
        (verify, _verify),
        (tail, _tail),
        (backup, _backup),
        (check, _check),
        (migrate, _migrate),
        (replay, _replay),
        (entries, _entries),
    ):
        add_places(parser)
        add_json(parser)
        parser.set_defaults(command=command)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2026-11-23") from None


def _asked[T](ask: "Callable[[], T]") -> T:
    from risk_manager.admin.records import RecordsUnreadable

    try:
        return ask()
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def _verify(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import audit_verdict

    verdict = _asked(lambda: audit_verdict(arguments.data))
    if arguments.json:
        _print_json(verdict)
    elif verdict["ok"]:
        print(f"the audit is whole: {verdict['rows_to']} rows, head {verdict['head'][:16]}")
    else:
        print(f"the audit is BROKEN at row {verdict['broken_at']}: {verdict['why']}")
    return Exit.DONE if verdict["ok"] else Exit.REFUSED


def _tail(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import audit_rows

    rows = _asked(lambda: audit_rows(arguments.data, arguments.n))
    if arguments.json:
        _print_json(rows)
        return Exit.DONE
    for row in rows:
        told = json.dumps(row["new"], default=str) if row["new"] else ""
        failed = "" if row["ok"] else "  FAILED"
        print(
            f"{row['id']:>7}  {row['at']:%Y-%m-%d %H:%M:%S}  {row['actor']}  {row['action']}  "
            f"{row['target']}{failed}  {told[:200]}".rstrip()
        )
    return Exit.DONE


def _backup(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import back_up

    made = _asked(lambda: back_up(arguments.data))
    if arguments.json:
        _print_json({"file": str(made), "size_bytes": made.stat().st_size})
    else:
        print(f"backed up and verified: {made}")
    return Exit.DONE


def _check(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import check_database

    verdict = _asked(lambda: check_database(arguments.data))
    if arguments.json:
        _print_json(verdict)
    elif verdict["ok"]:
        print(
            f"the database is whole: schema {verdict['schema']}, {verdict['size_bytes']:,} bytes, "
            f"newest backup {verdict['newest_backup'] or 'none'}"
        )
    else:
        for problem in verdict["problems"]:
            print(problem)
    return Exit.DONE if verdict["ok"] else Exit.REFUSED


def _migrate(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.db_migration import DaemonRuns, migrate_database

    try:
        done = _asked(lambda: migrate_database(arguments.data, dry_run=arguments.dry_run))
    except DaemonRuns as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        _print_json(
            {
                "found": done.found,
                "newest": done.newest,
                "pending": done.pending,
                "backup": done.backup,
            }
        )
    elif not done.pending:
        print(f"the database is up to date: schema {done.found}")
    elif done.backup is None:
        print(f"schema {done.found} of {done.newest}; missing: {', '.join(done.pending)}")
    else:
        print(
            f"migrated from schema {done.found} to {done.newest}: {', '.join(done.pending)}\n"
            f"the database as it was: {done.backup}"
        )
    return Exit.DONE


def _replay(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import replayed

    done = _asked(lambda: replayed(arguments.data, arguments.day))
    if arguments.json:
        _print_json(done)
        return Exit.DONE
    print(f"{done['day']}: {done['events']} events in {done['runs']} runs judged again")
    if done["missing"] or done["dropped"]:
        print(
            f"warning: {done['missing']} events are missing and {done['dropped']} were dropped; "
            "what follows them may differ from what happened"
        )
    for row in sorted(
        [
            *({**d, "what": f"{d['rule_id']}: {d['reason']}"} for d in done["decisions"]),
            *done["facts"],
        ],
        key=lambda r: r["at"],
    ):
        print(f"{row['at']:%H:%M:%S}  account {row['account_id'] or '-'}  {row['what']}")
    print(f"{len(done['decisions'])} decisions, {len(done['actions'])} calls to the broker")
    for unknown in done["not_in_the_record"]:
        print(f"not in the record of that day: {unknown}")
    return Exit.DONE


def _entries(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import log_lines

    try:
        entries = log_lines(arguments.data, arguments.log, arguments.n)
    except PermissionError:
        raise
    except OSError as error:
        raise CommandFailed(
            Exit.REFUSED, f"the log cannot be read: {error.filename}: {error.strerror}"
        ) from None
    if arguments.json:
        _print_json(entries)
        return Exit.DONE
    for entry in entries:
        known = {k: v for k, v in entry.items() if k not in ("ts", "level", "event", "logger")}
        more = " ".join(f"{k}={v}" for k, v in known.items())
        print(f"{entry.get('ts', '')} {entry.get('level', '')} {entry.get('event', '')} {more}")
    return Exit.DONE
