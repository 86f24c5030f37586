"""Formats locks and the effects of an order for a person, from the rows of the daemon's answer.

Times are in the reader's time zone.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from risk_manager.domain.scope import scope_name

Row = dict[str, Any]

SOON = timedelta(minutes=5)
ENDS = {
    "reset": "the daily reset",
    "session_start": "the session opens",
    "can_trade": "the platform lets the account trade again",
    "config": "the configuration is changed",
    "manual": "it is cleared",
}
POLICIES = {"flat": "flat", "no_entries": "no entries"}
# For sorting: a lock that an administrator, a rule or the platform ends has no end time.
_ENDLESS = datetime.max.replace(tzinfo=UTC)


def named(account: Row) -> str:
    """Format an account: "account 101 (combine-50k)", or the number alone without a name."""
    account_id, name = account["account_id"], account.get("name") or ""
    return f"account {account_id}" + (f" ({name})" if name not in ("", str(account_id)) else "")


def clock(text: str, now: datetime) -> str:
    """Format a time: "13:42", with seconds if it is soon, with the day if it is not today."""
    at = datetime.fromisoformat(text)
    local = at.astimezone()
    told = local.strftime("%H:%M:%S" if abs(at - now) < SOON else "%H:%M")
    return told if local.date() == now.astimezone().date() else f"{local:%a} {told}"


def until(lock: Row, now: datetime) -> str:
    """Return when a lock ends, or what ends it."""
    at = "" if lock["expires_at"] is None else clock(lock["expires_at"], now)
    if lock["release"] == "time":
        return f"until {at}" if at else "without an end"
    what = ENDS.get(lock["release"], str(lock["release"]))
    return f"until {what}" + (f" ({at})" if at else "")


def where(lock: Row) -> str:
    """Return the product or contract; empty for the whole account."""
    name = scope_name(str(lock["scope"]))
    return f"{name} " if name else ""


def in_force(lock: Row, now: datetime) -> str:
    """Describe one lock: its effect, how long it lasts, and why."""
    policy = POLICIES.get(lock["policy"], str(lock["policy"]))
    return f"{where(lock)}{policy} {until(lock, now)}, {lock['rule_id']}: {lock['reason']}"


def locked(locks: Iterable[Row], now: datetime) -> str:
    """Describe all locks of an account in a few words: the strictest of each scope."""
    scopes: dict[str, list[Row]] = {}
    for lock in locks:
        scopes.setdefault(lock["scope"], []).append(lock)
    whole = scopes.pop("account", None)
    told = [f"locked {_effect(whole, now)}"] if whole else []
    told += [f"{where(of[0])}locked {_effect(of, now)}" for of in scopes.values()]
    return ", ".join(told) or "not locked"


def _effect(locks: list[Row], now: datetime) -> str:
    """Describe the joint effect of the locks of one scope now, and until when."""
    lock = _decisive(locks)
    return f"{POLICIES.get(lock['policy'], str(lock['policy']))} {until(lock, now)}"


def _decisive(locks: list[Row]) -> Row:
    """Return the strictest lock, and of equally strict ones the one that ends last."""
    return max(locks, key=lambda lock: (lock["policy"] == "flat", _end(lock)))


def _end(lock: Row) -> datetime:
    if lock["release"] not in ("time", "reset", "session_start") or lock["expires_at"] is None:
        return _ENDLESS
    return datetime.fromisoformat(lock["expires_at"])


# --- orders ---------------------------------------------------------------------------------------


def of_lock(account_id: int, new: Row, locks: list[Row], now: datetime) -> Iterator[str]:
    """Describe the effect of a lock that was set, together with those already there."""
    same = [x for x in locks if x["scope"] in ("account", new["scope"])]
    decisive = _decisive(same)
    remark = ""
    if decisive["lockout_id"] != new["lockout_id"]:
        remark = f" by an existing lock; the new one is {POLICIES[new['policy']]} {until(new, now)}"
    elif any(_end(x) > _end(new) for x in same):
        remark = " (an existing lock ends later)"
    effect = _effect([decisive], now)
    yield f"account {account_id}: {where(new)}locked {effect}{remark}"
    if len(same) > 1:
        for lock in same:
            yield f"  {in_force(lock, now)}"


def of_clear(account_id: int, lifted: list[Row], stays: list[Row], now: datetime) -> Iterator[str]:
    """Describe the locks lifted, those that stay, and who may lift them."""
    for lock in lifted:
        yield f"account {account_id}: lifted: {in_force(lock, now)}"
    for lock in stays:
        yield f"account {account_id}: stays: {in_force(lock, now)} ({lock['who']})"
    if not stays:
        yield f"account {account_id}: no lock is in force"


def of_panic(row: Row, now: datetime) -> Iterator[str]:
    """Describe the result of `panic` in one account."""
    done = [
        f"{word} {', '.join(said)}"
        for word, said in (
            ("closed", [_position(p) for p in row["closed"]]),
            ("cancelled", [_order(o) for o in row["cancelled"]]),
            ("filled before it could be cancelled:", [_order(o) for o in row["filled"]]),
            ("gone before it could be cancelled:", [_order(o) for o in row.get("gone", ())]),
        )
        if said
    ]
    left = [
        *(f"NOT CLOSED: {_position(p)}{_tried(p)}" for p in row["still_open"]),
        *(f"NOT CANCELLED: {_order(o)}{_tried(o)}" for o in row["still_working"]),
        *(f"OPENED SINCE, not closed: {_position(p)}" for p in row["opened_since"]),
        *(f"PLACED SINCE, not cancelled: {_order(o)}" for o in row["placed_since"]),
    ]
    verdict = "; ".join(done) or ("" if left else "nothing was open or working")
    if row["verified"]:
        confirmed = f"confirmed by the gateway at {clock(row['verified_at'], now)}"
        verdict += f"; {confirmed}" if verdict else confirmed
    elif not (row["still_open"] or row["still_working"]):
        why = row.get("why") or "the gateway could not be asked in time"
        left.append(f"NOT CONFIRMED: {why}; look at the platform")
    yield f"{named(row)}: {verdict or 'not done yet'}"
    for line in left:
        yield f"  {line}"
    if row["still_open"] or row["still_working"]:
        goes_on = "it is tried again and again; close by hand in the platform what must not wait"
        is_over = (
            "it is not tried any longer: close it by hand in the platform, or give panic again"
        )
        yield f"  {is_over if row.get('is_over') else goes_on}"


def is_done(row: Row) -> bool:
    """Whether the account is known to be flat."""
    left = ("still_open", "still_working", "opened_since", "placed_since")
    return bool(row["verified"]) and not any(row[key] for key in left)


def _position(row: Row) -> str:
    return f"{abs(row['net'])} {row['symbol']} {'long' if row['net'] > 0 else 'short'}"


def _order(row: Row) -> str:
    kind = row["type"].replace("_", " ")
    return f"{row['side']} {row['size']} {row['symbol']} {kind} (order {row['order_id']})"


def _tried(row: Row) -> str:
    if not row["tries"]:
        return ""
    tries = "1 try" if row["tries"] == 1 else f"{row['tries']} tries"
    return f" ({tries}, {row['outcome'] or 'no answer yet'})"
