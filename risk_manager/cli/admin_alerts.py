"""`admin alerts`: the alerts that wait for somebody, and whether messages get through."""

import argparse
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from risk_manager.cli.admin_daemon import answered, call
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command, add_group
from risk_manager.cli.numbers import count
from risk_manager.cli.places import add_account, add_json, add_password_stdin, add_places, add_url

if TYPE_CHECKING:
    from risk_manager.cli.groups import Commands

TEST_WAIT_S = 90.0


def register(groups: "Commands") -> None:
    _, verbs = add_group(groups, "alerts", "the messages sent to people outside")
    listing = add_command(
        verbs, "list", "open alerts and those nobody has acknowledged; also while no daemon runs"
    )
    add_account(listing)
    ack = add_command(verbs, "ack", "say that somebody has seen an alert: it is not repeated")
    which = ack.add_mutually_exclusive_group(required=True)
    which.add_argument("number", type=count, nargs="?", metavar="NUMBER", help="as `list` shows it")
    which.add_argument("--all", action="store_true", help="every alert that `list` shows")
    add_password_stdin(ack)
    test = add_command(verbs, "test", "send a test to every channel, and say which arrived")
    for parser, command in ((listing, _list), (ack, _ack), (test, _test)):
        add_places(parser)
        add_url(parser)
        add_json(parser)
        parser.set_defaults(command=command)


def _list(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.alert_verbs import kept
    from risk_manager.alerts.keeping import AlertsUnreadable

    channels: list[dict[str, Any]] = []
    is_running = True
    try:
        told = answered(call(arguments, "alerts_list", {}))
        alerts, channels = told["alerts"], told["channels"]
    except CommandFailed as failure:
        if failure.code is not Exit.UNREACHABLE:
            raise
        is_running = False
        try:
            alerts = kept(arguments.data)
        except AlertsUnreadable as error:
            raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.account is not None:
        alerts = [alert for alert in alerts if alert["account_id"] == arguments.account]
    if arguments.json:
        print(json.dumps({"running": is_running, "alerts": alerts, "channels": channels}, indent=2))
        return Exit.DONE
    if not is_running:
        print("no daemon runs; these are the alerts of its last run")
    for alert in alerts:
        print(_in_a_line(alert))
    if not alerts:
        print("no alert is open, none waits to be acknowledged")
    for channel in channels:
        print(_channel(channel))
    return Exit.DONE


def _ack(arguments: argparse.Namespace) -> int:
    number = None if arguments.all else arguments.number
    done = answered(call(arguments, "alerts_ack", {"number": number}))["acknowledged"]
    if arguments.json:
        print(json.dumps(done, indent=2))
        return Exit.DONE
    for alert in done:
        print(f"acknowledged: {alert['number']} {alert['title']}")
    if not done:
        print("nothing to do: it had been acknowledged before" if number else "nothing to do")
    return Exit.DONE


def _test(arguments: argparse.Namespace) -> int:
    try:
        asked = call(arguments, "alerts_test", {}, timeout_s=TEST_WAIT_S)
        channels = answered(asked)["channels"]
    except CommandFailed as failure:
        if failure.code is not Exit.UNREACHABLE:
            raise
        channels = _tested_here(arguments)
    if arguments.json:
        print(json.dumps(channels, indent=2))
    else:
        for channel in channels:
            arrived = "sent" if channel["ok"] else f"NOT SENT: {channel['reason']}"
            print(f"{channel['name']}: {arrived}")
    return Exit.DONE if all(channel["ok"] for channel in channels) else Exit.REFUSED


def _tested_here(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Send the test from this process, as no daemon runs."""
    from risk_manager.admin.alert_verbs import NOT_CONFIGURED, tested
    from risk_manager.settings.loading import load

    configuration = load(arguments.config)
    if not configuration.settings.alerts.is_wanted:
        raise CommandFailed(Exit.REFUSED, NOT_CONFIGURED)
    return tested(configuration, os.environ)


def _in_a_line(alert: dict[str, Any]) -> str:
    began = datetime.fromisoformat(alert["began_at"]).astimezone(UTC).astimezone()
    state = alert["state"]
    if alert["waits_for_acknowledgement"]:
        state += ", not acknowledged"
    times = f", {alert['count']} times" if alert["count"] > 1 else ""
    text = "; ".join(alert["text"].splitlines())
    return (
        f"{alert['number']:>4}  {began:%a %H:%M:%S}  {alert['severity']}  {state}{times}  "
        f"{alert['title']}: {text}"
    )


def _channel(channel: dict[str, Any]) -> str:
    if not channel["ok"]:
        waiting = f"; {channel['waiting']} waiting" if channel.get("waiting") else ""
        return f"channel {channel['name']}: DOES NOT GET THROUGH: {channel['reason']}{waiting}"
    return f"channel {channel['name']}: {channel['sent']} sent, {channel['waiting']} waiting"
