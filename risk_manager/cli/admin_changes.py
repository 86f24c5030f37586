"""`admin config diff|pending|cancel|apply`: edited limits, and what of them waits."""

import argparse
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import answered, call, reload_config
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.limit_edits import (
    add_edit_options,
    carry_out,
    confirm,
    refused,
    tell_changes,
)
from risk_manager.cli.places import add_json, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

NEVER_RUN = (
    "no limits are in force yet: no daemon has run with this data folder; the first start puts "
    "the files in force as they are"
)


def register(config: "Commands") -> None:
    diff = add_command(
        config,
        "diff",
        "each field of the files that differs from what the daemon has read: tighter, looser or "
        "unknown, and from when it would count",
    )
    pending = add_command(config, "pending", "the edits that wait for the reset")
    for parser, command in ((diff, _diff), (pending, _pending)):
        add_places(parser)
        add_json(parser)
        parser.set_defaults(command=command)
    add_url(diff)
    cancel = add_command(
        config,
        "cancel",
        "take back what waits for the reset: the files get the older values again, and what was "
        "tightened stays",
    )
    cancel.set_defaults(command=_cancel)
    apply = add_command(
        config, "apply", "show the edited fields, ask, and have the running daemon read the files"
    )
    apply.set_defaults(command=_apply)
    for parser in (cancel, apply):
        add_edit_options(parser)


def _diff(arguments: argparse.Namespace) -> int:
    found = _compared(arguments)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return Exit.DONE
    if found["daemon"] == "never run":
        print(NEVER_RUN)
    elif not found["changes"]:
        print("no difference: the files are as the daemon has read them")
    else:
        tell_changes(found)
        print(
            "counts after `risk-manager admin config apply`"
            if found["daemon"] == "running"
            else "the daemon does not run; it reads this at its next start"
        )
    return Exit.DONE


def _compared(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask the running daemon; without one compare with the limits it has left behind."""
    import asyncio

    from risk_manager.feed.client import AdminRefused, FeedUnreachable

    try:
        answer = asyncio.run(call(arguments, "preview_config", {}))
        return {**answer, "daemon": "running"}
    except AdminRefused as error:
        code = Exit.CONFIGURATION if error.code == "configuration" else Exit.REFUSED
        raise CommandFailed(code, error.message) from None
    except FeedUnreachable:
        from risk_manager.admin.config_changes import Committed
        from risk_manager.settings import load

        files = load(arguments.config)
        standing = Committed.read(arguments.data, datetime.now(UTC))
        if standing is None:
            nothing: dict[str, Any] = {"changes": [], "next_reset": None}
            return {"digest": files.digest, **nothing, "daemon": "never run"}
        compared = standing.compared_with(files).plain()
        return {"digest": files.digest, **compared, "daemon": "stopped"}


def _pending(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.limit_proposals import told_waiting, waiting

    waits = waiting(arguments.data)
    print(json.dumps(waits, indent=2) if arguments.json else "\n".join(told_waiting(waits)))
    return Exit.DONE


def _cancel(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.limit_proposals import cancelling, told_kept

    found = refused(lambda: cancelling(arguments.config, arguments.data))
    if found is None:
        print(
            json.dumps({"written": False, "changes": []}, indent=2)
            if arguments.json
            else "nothing waits for the reset"
        )
        return Exit.DONE
    code = carry_out(arguments, found.proposal)
    if not (arguments.json or arguments.dry_run):
        for line in told_kept(found.kept):
            print(line)
    return code


def _apply(arguments: argparse.Namespace) -> int:
    found = answered(call(arguments, "preview_config", {}))
    if not arguments.json:
        if not found["changes"]:
            print("no difference: the files are as the daemon has read them")
            return Exit.DONE
        tell_changes(found)
    if arguments.dry_run:
        print(json.dumps(found, indent=2) if arguments.json else "nothing was read (--dry-run)")
        return Exit.DONE
    confirm(arguments, "Have the daemon read this?")
    return reload_config(arguments)
