"""Prints the snapshot once, for a script or a quick look. Does not import Textual."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from risk_manager.dashboard.ahead import DIFFERS, name_of, next_edge, next_hours
from risk_manager.dashboard.drill import last_drill
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.story import WORD_WIDTH, incidents
from risk_manager.dashboard.verdict import verdict, what_is_next
from risk_manager.dashboard.waiting_limits import in_full
from risk_manager.dashboard.wording import (
    UNKNOWN,
    age,
    clock,
    countdown,
    dollars,
    in_force,
    lock_word,
    price,
    release,
    rules_named,
    signed,
)
from risk_manager.feed.client import Connected, FeedUnreachable, read_once
from risk_manager.feed.messages import (
    NAMES,
    AccountSnapshot,
    DaemonStatus,
    Data,
    Message,
    MeterRow,
    Snapshot,
)

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
        raw["accounts"] = _of(raw["accounts"], account)
        if raw.get("outlook") is not None:
            raw["outlook"]["rules"] = _of(raw["outlook"]["rules"], account)
            if account is not None and raw["outlook"].get("waiting") is not None:
                waiting = raw["outlook"]["waiting"]
                waiting["changes"] = [
                    c for c in waiting["changes"] if c["account_id"] in (None, account)
                ]
        sys.stdout.write(orjson.dumps(raw, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    for line in summary(status, message.data, chosen):
        print(line)
    return 0


def _of(rows: list[dict[str, Any]], account: int | None) -> list[dict[str, Any]]:
    return [row for row in rows if account in (None, row["account_id"])]


def summary(
    status: DaemonStatus, snapshot: Snapshot, accounts: list[AccountSnapshot]
) -> Iterator[str]:
    """The lines of a plain text summary: what the tabs show, one after the other."""
    picture = _picture(status, snapshot)
    now = snapshot.timestamp
    hubs = ", ".join(f"{name} hub {hub.state}" for name, hub in snapshot.hubs.items())
    yield f"daemon {status.status}, {hubs or 'no hub yet'}, {clock(now)}"
    yield f"  version {status.version}, run {status.run_id}, {status.message}".rstrip(", ")
    yield from _connections(snapshot)
    for account in accounts:
        yield ""
        yield from _account(snapshot, _glance(picture, account))
    shown = [account.account_id for account in accounts]
    yield from _calendar(snapshot, shown)
    yield from _log(picture, shown, now)
    for alarm in snapshot.alarms[:3]:
        over = "" if alarm.over_at is None else f", over {clock(alarm.over_at, now)}"
        yield f"alarm {clock(alarm.at, now)}{over}: {alarm.message}"


def _picture(status: DaemonStatus, snapshot: Snapshot) -> Picture:
    """The picture that a screen would have at this instant."""
    picture = Picture().with_item(Connected(""), 0.0)
    parts: tuple[Data, ...] = (status, snapshot)
    for number, data in enumerate(parts, 1):
        told = Message(
            seq=number, ts=snapshot.timestamp, type=NAMES[type(data)], account_id=None, data=data
        )
        picture = picture.with_item(told, 0.0)
    return picture


def _glance(picture: Picture, account: AccountSnapshot) -> Glance:
    return Glance(picture=picture, account=account, now=picture.told_at, mono=0.0)


def _connections(snapshot: Snapshot) -> Iterator[str]:
    for name, hub in snapshot.hubs.items():
        yield (
            f"  {name} stream {hub.state} since {clock(hub.since, snapshot.timestamp)} {hub.reason}"
        ).rstrip()
    if not snapshot.hubs:
        yield "  no stream yet"
    for name, ok, told in (
        ("gateway REST", snapshot.rest.ok, snapshot.rest.message),
        ("database", snapshot.db.ok, snapshot.db.message),
    ):
        word = {True: "OK", False: "ILL", None: UNKNOWN}[ok]
        yield f"  {name} {word} {told}".rstrip()
    if snapshot.token_expires_at is not None:
        left = countdown(snapshot.token_expires_at - snapshot.timestamp)
        yield f"  gateway login valid for {left}"
    if snapshot.outlook is not None:
        word, _, more = last_drill(snapshot.outlook.drill, snapshot.timestamp)
        yield f"  fire drill: {word}; {more}"
    for doubt in snapshot.doubts:
        word = "CRITICAL" if doubt.critical else "in doubt"
        yield f"  {word} for {age(doubt.age_s)}: {doubt.reason}"


def _account(snapshot: Snapshot, glance: Glance) -> Iterator[str]:
    account, now = glance.account, snapshot.timestamp
    assert account is not None
    yield (
        f"{account.name or 'account'} ({account.account_id}), {account.mode}, "
        f"balance {dollars(account.balance)}, trading date {account.trading_date}"
    )
    told = verdict(glance)
    yield f"  {told.word}" + (f": {told.why}" if told.why else "")
    if account.clocked_in_at is not None:
        yield f"  clocked in since {clock(account.clocked_in_at, now)}"
    yield (
        f"  realised {signed(account.realised_net)}  open {signed(account.unrealised)}  "
        f"total {signed(account.total)}" + ("  (– is unknown)" if account.total is None else "")
    )
    yield from _locks(account, now)
    yield from _positions(account)
    for trade in account.trades:
        yield (
            f"  trade {clock(trade.closed_at, now)} {trade.size} {trade.symbol} "
            f"{signed(trade.net)} net"
        )
    texts = () if snapshot.outlook is None else snapshot.outlook.rules
    words = {r.rule_id: r.text for r in texts if r.account_id == account.account_id}
    for meter in account.meters:
        yield _meter(meter, now)
        if words.get(meter.rule_id):
            yield f"          {words[meter.rule_id]}"
    if snapshot.outlook is not None and snapshot.outlook.waiting is not None:
        since = clock(snapshot.outlook.waiting.counts_from, now)
        for line in in_full(snapshot.outlook, account.account_id, glance.picture.accounts):
            yield f"  waits until {since}: {line}"
    for left, what in what_is_next(glance):
        yield f"  next {countdown(left)} {what}"


def _locks(account: AccountSnapshot, now: datetime) -> Iterator[str]:
    for lock in account.locks:
        word = lock_word(lock.policy, lock.scope)
        ends = (
            f"released {release(lock.release)}"
            if lock.expires_at is None
            else f"released in {countdown(lock.expires_at - now)}"
        )
        yield f"  {word} ({lock.scope}): {lock.reason}; {ends}"


def _positions(account: AccountSnapshot) -> Iterator[str]:
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
        role = f", {order.role}" if order.role else ""
        result = "" if order.result is None else f", {signed(order.result)} there"
        yield (
            f"  order {order.order_id} {order.side} {order.size - order.filled} {order.symbol} "
            f"{order.type.replace('_', ' ')}"
            + ("" if at is None else f" at {price(at)}")
            + role
            + result
        )


def _meter(meter: MeterRow, now: datetime) -> str:
    used = UNKNOWN if meter.used is None else f"{meter.used * 100:.0f}%"
    word = meter.state.upper() if meter.counts_from is None else "WAITS"
    since = in_force(meter, now)
    shadow = " (shadow)" if meter.shadow else ""
    return f"  {word:<7} {meter.title}{shadow}: {meter.sentence} ({used})" + (
        since and f"; {since}"
    )


def _calendar(snapshot: Snapshot, accounts: list[int]) -> Iterator[str]:
    outlook, now = snapshot.outlook, snapshot.timestamp
    if outlook is None:
        return
    yield ""
    yield "calendar"
    for market in outlook.markets:
        edge = next_edge(market, now)
        word = "shut" if edge is None or edge.is_opening else "open"
        then = "" if edge is None else f" until {_when(edge.at)}"
        yield f"  {name_of(market)} ({' '.join(market.products)}): {word}{then}"
        for day in market.days:
            if day.differs:
                at = "" if day.closes_at is None else f", closes {_when(day.closes_at)}"
                word = DIFFERS.get(day.differs, day.differs)
                yield f"    {day.date} {word}{at} {day.note}".rstrip()
    for row in outlook.allowed:
        if set(row.accounts) & set(accounts):
            edge = next_hours(row, now)
            word = "shut" if edge is None or edge.is_opening else "allowed"
            then = "" if edge is None else f" until {_when(edge.at)}"
            yield f"  {row.title} ({' '.join(row.products)}): {word}{then}"
    for reset in outlook.resets[:2]:
        yield f"  daily reset {_when(reset)}"


def _log(picture: Picture, accounts: list[int], now: datetime) -> Iterator[str]:
    yield ""
    yield "log"
    found = incidents(picture.story, accounts)
    for incident in found:
        named = rules_named(incident.rule_ids)
        rules = f"  ({named})" if named else ""
        word = f"{incident.word:<{WORD_WIDTH}}"
        yield f"  {clock(incident.at, now)} {word} {incident.sentence(now)}{rules}"
    if not found:
        yield "  nothing today"


def _when(at: datetime) -> str:
    return f"{at.astimezone():%a %d %b %H:%M}"
