"""`admin config` and `admin rules`: the verbs that read the files; the others register here."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from risk_manager.cli import admin_changes, admin_rules
from risk_manager.cli.admin_daemon import reload_config
from risk_manager.cli.exits import Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.places import add_account, add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.admin.effective import Standing
    from risk_manager.cli.groups import Commands
    from risk_manager.settings import Configuration, Problem


def register(groups: "Commands") -> None:
    _, config = add_group(groups, "config", "the configuration files")
    validate = add_command(config, "validate", "check all files and say everything that is wrong")
    show = add_command(
        config, "show", "the configuration, what of it is in force now, and what waits until when"
    )
    reload = add_command(
        config, "reload", "have the running daemon read the files again; looser limits wait"
    )
    for add in (add_places, add_url, add_json, add_password_stdin):
        add(reload)
    reload.set_defaults(command=reload_config)
    admin_changes.register(config)
    _, rules = add_group(groups, "rules", "the rules")
    listing = add_command(rules, "list", "the rules of each account")
    add_account(listing)
    admin_rules.register(rules)
    for parser, command in ((validate, _validate), (show, _show), (listing, _list_rules)):
        add_places(parser, looks_into_data=parser is not validate)
        add_json(parser)
        parser.set_defaults(command=command)


def _validate(arguments: argparse.Namespace) -> int:
    from risk_manager.settings import ConfigurationErrors, load

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    digest = ""
    try:
        configuration = load(arguments.config)
        warnings, digest = configuration.warnings, configuration.digest
    except ConfigurationErrors as found:
        errors = found.problems
    if arguments.json:
        report = {
            "valid": not errors,
            "digest": digest or None,
            "errors": [_problem(p) for p in errors],
            "warnings": [_problem(p) for p in warnings],
        }
        print(json.dumps(report, indent=2))
    else:
        for problem in errors:
            print(problem, file=sys.stderr)
        for problem in warnings:
            print(f"warning: {problem}", file=sys.stderr)
        if not errors:
            print(f"valid: {arguments.config} (digest {digest[:12]})")
    return Exit.CONFIGURATION if errors else Exit.DONE


def _problem(problem: "Problem") -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line or None,
        "key": problem.key,
        "message": problem.message,
    }


def _show(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.effective import shown
    from risk_manager.settings import load

    files = load(arguments.config)
    effective = shown(files, _standing(arguments, files))
    if arguments.json:
        print(json.dumps(effective, indent=2))
        return Exit.DONE
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 100
    yaml.dump(effective, sys.stdout)
    return Exit.DONE


def _standing(arguments: argparse.Namespace, files: "Configuration") -> "Standing":
    """Return the limits in force for a daemon with this data folder."""
    from datetime import UTC, datetime

    from risk_manager.admin.effective import standing

    found = standing(files, arguments.data / "limits.json", datetime.now(UTC))
    if found.unread and not arguments.json:
        print(
            "the files were edited since the daemon read them: what they say now counts after "
            "`risk-manager admin config reload`, or from the next start",
            file=sys.stderr,
        )
    return found


def _list_rules(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.effective import rows_in_force, told_time
    from risk_manager.cli.exits import CommandFailed
    from risk_manager.settings import load

    configuration = load(arguments.config)
    if arguments.account is not None and configuration.accounts.find(arguments.account) is None:
        known = ", ".join(str(a.id) for a in configuration.accounts.accounts)
        raise CommandFailed(
            Exit.REFUSED, f"account {arguments.account} is not in accounts.yaml; there are {known}"
        )
    rows = rows_in_force(_standing(arguments, configuration), arguments.account)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return Exit.DONE
    account = None
    for row in rows:
        if row["account"] != account:
            account = row["account"]
            print(f"account {account} ({row['account_name']}), {row['mode']}")
        flags = "".join(
            f" [{word}]" for word in ("disabled", "shadow", "overridden") if row.get(word)
        )
        if row["covered_by"]:
            flags += f" [{row['covered_by']} is tighter]"
        if row["counts_from"]:
            flags += f" [counts from {told_time(row['counts_from'])}]"
        if row["holds_until"]:
            flags += f" [in force until {told_time(row['holds_until'])}]"
        print(f"  {row['spec_id']}  {row['id']:<30} {row['limits']}{flags}")
    return Exit.DONE
