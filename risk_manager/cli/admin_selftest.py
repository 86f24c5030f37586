"""`admin selftest`: the fire drill, in a process of its own beside the daemon."""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_account, add_json, add_places

if TYPE_CHECKING:
    from risk_manager.admin.drill_record import DrilledRule, DrillRecord
    from risk_manager.cli.groups import Commands
    from risk_manager.settings.configuration import Configuration

_ABOUT = (
    "fire drill: drive each armed rule to its breach on the practice exchange, with the limits of "
    "your files, and name every rule that can never fire. It runs beside the daemon and touches "
    "neither it nor the gateway."
)


def register(groups: "Commands") -> None:
    selftest = add_command(groups, "selftest", _ABOUT)
    add_account(selftest)
    add_places(selftest)
    add_json(selftest)
    selftest.set_defaults(command=_selftest)


def _selftest(arguments: argparse.Namespace) -> int:
    from risk_manager import __version__
    from risk_manager.admin.drill_record import DrillRecord, keep
    from risk_manager.settings import load

    configuration = load(arguments.config)
    chosen = _of_one_account(configuration, arguments.account)
    if not chosen.accounts.enabled:
        raise CommandFailed(
            Exit.REFUSED, "no account is enabled in accounts.yaml: nothing to drill"
        )
    began = datetime.now(UTC)
    rules = _drilled(chosen, arguments.data, began, arguments)
    record = DrillRecord(
        at=began, digest=configuration.digest, version=__version__, rules=tuple(rules)
    )
    if arguments.account is None:  # a drill of one account says nothing of the others
        try:
            keep(arguments.data, record)
        except OSError as error:
            print(f"the result could not be stored in {arguments.data} ({error})", file=sys.stderr)
    _print(record, arguments)
    return Exit.REFUSED if record.faults else Exit.DONE


def _of_one_account(configuration: "Configuration", account_id: int | None) -> "Configuration":
    """Return the configuration as if this account were the only one; None: all of them."""
    if account_id is None:
        return configuration
    listed = configuration.accounts.find(account_id)
    if listed is None:
        known = ", ".join(str(a.id) for a in configuration.accounts.accounts)
        raise CommandFailed(
            Exit.REFUSED, f"account {account_id} is not in accounts.yaml; there are {known}"
        )
    accounts = configuration.accounts.model_copy(update={"accounts": (listed,)})
    return replace(configuration, accounts=accounts)


def _drilled(
    configuration: "Configuration", data: Path, began: datetime, arguments: argparse.Namespace
) -> "list[DrilledRule]":
    import asyncio

    from risk_manager.admin.drill_record import DrilledRule
    from risk_manager.admin.live_accounts import known_live
    from risk_manager.admin.never_firing import silent_rules
    from risk_manager.drill.drill import drilled
    from risk_manager.instance_lock import CannotStart

    silent = silent_rules(configuration, live=known_live(data), now=began)
    if arguments.account is not None:  # a rule of other accounts is not without accounts
        silent = [s for s in silent if s.accounts]
    rules = [
        DrilledRule(
            rule_id=s.rule_id,
            accounts=s.accounts,
            fired=False,
            what=s.why,
            silence=str(s.silence),
        )
        for s in silent
    ]
    many = len(configuration.accounts.enabled) > 1

    def report(result: DrilledRule) -> None:
        rules.append(result)
        if not arguments.json:
            print(_line(result, many=many), flush=True)

    with tempfile.TemporaryDirectory(
        prefix="risk_manager_drill_", ignore_cleanup_errors=True
    ) as folder:
        try:
            asyncio.run(drilled(configuration, silent, Path(folder), began, report))
        except (CannotStart, TimeoutError, ValueError) as problem:
            raise CommandFailed(Exit.INTERNAL, f"the drill could not be held: {problem}") from None
    return rules


def _print(record: "DrillRecord", arguments: argparse.Namespace) -> None:
    if arguments.json:
        sums = {"armed": record.armed, "fired": record.fired, "ok": not record.faults}
        print(json.dumps({**sums, **record.model_dump(mode="json")}, indent=2))
        return
    for rule in record.rules:
        if rule.silence:
            print(_line(rule, many=True))
    seconds = (datetime.now(UTC) - record.at).total_seconds()
    print(f"{record.sum} ({seconds:.0f} s)")
    for rule in record.faults:
        print(f"NOT AS IT SHOULD: {rule.rule_id}: {rule.what}")


def _line(rule: "DrilledRule", *, many: bool) -> str:
    whose = f" ({', '.join(map(str, rule.accounts))})" if many and rule.accounts else ""
    word = rule.silence or ("fired" if rule.fired else "NO")
    took = f", after {rule.took_ms:.0f} ms" if rule.took_ms is not None else ""
    return f"{word:<8}  {rule.rule_id}{whose}: {rule.what}{took}"
