"""How the daemon and its accounts are, in lines for a person, from the feed's snapshot."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.drill_record import drill_told
from risk_manager.admin.key_age import RENEW, known_age
from risk_manager.admin.order_effects import locked, named

Snapshot = dict[str, Any]


def status_lines(
    message: str, snapshot: Snapshot, config: Path, data: Path, now: datetime
) -> Iterator[str]:
    """Yield the daemon, each account, the key's age if it is old, and the last fire drill.

    `message` is what the daemon says about its status.
    """
    hubs = ", ".join(f"{name} stream {hub['state']}" for name, hub in snapshot["hubs"].items())
    status = snapshot["status"] + (f" ({message})" if message else "")
    yield f"daemon {status}, version {snapshot['version']}" + (f"; {hubs}" * bool(hubs))
    for account in snapshot["accounts"]:
        yield f"{named(account)}, {account['mode']}: {_in_a_line(account, now)}"
        if account.get("mode_reason"):
            yield f"  {account['mode_reason']}"
    if not snapshot["accounts"]:
        yield "accounts: not known yet" if is_starting(snapshot) else "no account is watched"
    reminder = key_reminder(data, now)
    if reminder is not None:
        yield f"{reminder}: {RENEW}"
    yield f"fire drill: {drill_told(config, data)}"


def key_reminder(data: Path, now: datetime) -> str | None:
    """Return a reminder to renew the key; None while it is young, or its age unknown."""
    age = known_age(data)
    return None if age is None else age.reminder(now)


def is_starting(snapshot: Snapshot) -> bool:
    return bool(snapshot["status"] == "STARTING")


def _in_a_line(account: dict[str, Any], now: datetime) -> str:
    locks = locked(account["locks"], now)
    if not account.get("known", True):
        # A stored lock is in force. That there is none is not known before the account is read.
        return f"not known yet, {locks}" if account["locks"] else "not known yet"
    held = account["contracts_held"]
    return (
        f"{_money(account['realised_net'])} realised, {_money(account['unrealised'])} open, "
        f"{held} contract{'' if held == 1 else 's'}, {locks}"
    )


def _money(amount: float | None) -> str:
    if amount is None:
        return "unknown"
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"
