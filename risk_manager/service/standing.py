"""What stands on the accounts before a service is stopped or removed, and the leave to do so."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.daemon_line import ToDaemon, ask_daemon
from risk_manager.admin.order_effects import in_force, named
from risk_manager.feed.client import AdminRefused, FeedUnreachable, read_once


async def standing(data: Path) -> list[str]:
    """Return a line for each lock and each open position of the guarded accounts, in words.

    Empty where nothing stands, or where no daemon answers and it is not known.
    """
    try:
        _, snapshot, _ = await read_once(data)
    except FeedUnreachable:
        return []
    return list(_lines(snapshot["accounts"], datetime.now(UTC)))


def _lines(accounts: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    for account in accounts:
        name = named(dict(account))
        if held := account["contracts_held"]:
            yield f"{name}: {held} contract{'' if held == 1 else 's'} open"
        for lock in account["locks"]:
            yield f"{name}: {in_force(lock, now)}"


async def ask_to_end(daemon: ToDaemon, verb: str) -> None:
    """Have the daemon record what stands and what ends it. It wants the password where one is set.

    Raises AdminRefused or FeedUnreachable.
    """
    try:
        await ask_daemon(daemon, "end_guard", {"by": f"service {verb}"})
    except AdminRefused as refused:
        if refused.code != "unknown_method":  # a daemon of an older version
            raise
