"""Prints the snapshot once, for a script or a quick look. Does not import Textual."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from risk_manager.dashboard.wording import (
    UNKNOWN,
    clock,
    countdown,
    dollars,
    in_force,
    price,
    release,
    signed,
)
from risk_manager.feed.client import FeedUnreachable, read_once
from risk_manager.feed.messages import AccountSnapshot, DaemonStatus, Snapshot

UNREACHABLE = 3


def print_once(
    data_dir: Path, url: str | None = None, as_json: bool = False, account: int | None = None
) -> int:
    """Print the snapshot and return the exit code. Without a daemon: one line, and code 3."""
    try:
        status, raw, message = asyncio.run(read_once(data_dir, url))
    except FeedUnreachable as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    assert isinstance(message.data, Snapshot)
    chosen = [a for a in message.data.accounts if account in (None, a.account_id)]
    if account is not None and not chosen:
        known = ", ".join(str(a.account_id) for a in message.data.accounts) or "none"
        print(f"account {account} is not watched; watched: {known}", file=sys.stderr)
        return 1
    if as_json:
        raw["accounts"] = [a for a in raw["accounts"] if account in (None, a["account_id"])]
        sys.stdout.write(orjson.dumps(raw, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    for line in summary(status, message.data, chosen):
        print(line)
    return 0


def summary(
    status: DaemonStatus, snapshot: Snapshot, accounts: list[AccountSnapshot]
) -> Iterator[str]:
    """The lines of a plain text summary."""
    hubs = ", ".join(f"{name} hub {hub.state}" for name, hub in snapshot.hubs.items())
    yield f"daemon {status.status}, {hubs or 'no hub yet'}, {clock(snapshot.timestamp)}"
    for account in accounts:
        yield ""
        yield from _account(snapshot, account)
    for alarm in snapshot.alarms[:3]:
        yield f"alarm {clock(alarm.at, snapshot.timestamp)}: {alarm.message}"


def _account(snapshot: Snapshot, account: AccountSnapshot) -> Iterator[str]:
    yield (
        f"{account.name or 'account'} ({account.account_id}), {account.mode}, "
        f"balance {dollars(account.balance)}, trading date {account.trading_date}"
    )
    yield (
        f"  realised {signed(account.realised_net)}  open {signed(account.unrealised)}  "
        f"total {signed(account.total)}" + ("  (– is unknown)" if account.total is None else "")
    )
    for lock in account.locks:
        word = "LOCKED" if lock.policy == "flat" else "NO ENTRIES"
        ends = (
            f"released {release(lock.release)}"
            if lock.expires_at is None
            else f"released in {countdown(lock.expires_at - snapshot.timestamp)}"
        )
        yield f"  {word} ({lock.scope}): {lock.reason}; {ends}"
    for position in account.positions:
        net = f"{position.net:+d}" if position.sided else f"{position.net} (side unknown)"
        yield (
            f"  position {position.symbol} {net} at {price(position.average_price)}, "
            f"open {signed(position.unrealised)}"
        )
    if not account.positions:
        yield "  flat"
    for order in account.orders:
        at = order.stop_price if order.stop_price is not None else order.limit_price
        yield (
            f"  order {order.order_id} {order.side} {order.size - order.filled} {order.symbol} "
            f"{order.type.replace('_', ' ')}" + ("" if at is None else f" at {price(at)}")
        )
    for meter in account.meters:
        used = UNKNOWN if meter.used is None else f"{meter.used * 100:.0f}%"
        word = meter.state.upper() if meter.counts_from is None else "WAITS"
        since = in_force(meter, snapshot.timestamp)
        yield f"  {word:<7} {meter.title}: {meter.sentence} ({used})" + (since and f"; {since}")
