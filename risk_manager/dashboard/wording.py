"""Formats figures, ages and times for a trader. Unknown is a dash, never a zero."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from risk_manager.feed.messages import EnforcementAction, LockRow, MeterRow

UNKNOWN = "–"
MANUAL = "manual"
"""Stands for a rule's id in what an administrator did."""

GAIN = "$text-success"
LOSS = "$text-error"
FLAT = "$foreground"
DIM = "dim"


def whole_words(text: str, room: int) -> str:
    """The text, or as many whole words as fit and an ellipsis: an amount is never cut."""
    if len(text) <= room:
        return text
    words = text.split(" ")
    for count in range(len(words) - 1, 0, -1):
        fits = " ".join(words[:count]).rstrip(" ,;:=")
        told = f"{fits}{'' if fits.rpartition(' ')[2].isalpha() else ' '}…"
        if len(told) <= room:
            return told
    return text


def signed(amount: float | None, *, cents: bool = True) -> str:
    """Format an amount: +1,234.50. The sign is always shown, so that it never needs colour."""
    if amount is None:
        return UNKNOWN
    text = f"{abs(amount):,.2f}" if cents else f"{abs(amount):,.0f}"
    if not any(digit in text for digit in "123456789"):
        return text
    return ("-" if amount < 0 else "+") + text


def dollars(amount: float | None) -> str:
    if amount is None:
        return UNKNOWN
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def price(value: float | None) -> str:
    """Format a price as the gateway states it, without rounding noise of floats."""
    if value is None:
        return UNKNOWN
    text = f"{value:.8f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"


def colour_of(amount: float | None) -> str:
    if amount is None:
        return DIM
    if amount > 0:
        return GAIN
    return LOSS if amount < 0 else FLAT


def age(seconds: float) -> str:
    """Format an age: 0.4s, 12s, 3m05s, 2h10m, 4d."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole // 60 % 60:02d}m"
    return f"{whole // 86_400}d"


def duration(seconds: float) -> str:
    """As an age, without tenths: for what lasts."""
    return age(seconds) if seconds >= 9.95 else f"{max(int(seconds), 0)}s"


_ACTIONS = {
    "WARN": "warning",
    "COOLDOWN": "pause entries",
    "LOCKOUT": "lock",
    "CLOSE_ALL_AND_LOCKOUT": "close all and lock",
    "AUTO_STOP_LOSS": "place a stop",
}


def called(entry: EnforcementAction) -> str:
    """An enforcement by its name: close position MNQZ6."""
    action = _ACTIONS.get(entry.action, entry.action.replace("_", " ").lower())
    return " ".join(filter(None, (action, entry.symbol)))


_DONE = {
    "CLOSE_POSITION": "closed",
    "REDUCE_POSITION": "reduced",
    "CANCEL_ORDER": "cancelled an order of",
    "PLACE_EXIT": "placed an exit of",
    "MOVE_STOP": "moved the stop of",
}
_DONE_OFTEN = {
    "CANCEL_ORDER": "cancelled {} orders of",
    "PLACE_EXIT": "placed {} exits of",
    "MOVE_STOP": "moved {} stops of",
}


def done(entry: EnforcementAction, times: int = 1) -> str:
    """Calls of one kind that were carried out: closed MNQZ6, cancelled 2 orders of MNQZ6."""
    verb = _DONE.get(entry.action)
    told = called(entry) if verb is None or entry.symbol is None else f"{verb} {entry.symbol}"
    if times == 1:
        return told
    often = _DONE_OFTEN.get(entry.action)
    if often is None or entry.symbol is None:
        return f"{told} {times} times"
    return f"{often.format(times)} {entry.symbol}"


def to_the_ms(at: datetime) -> str:
    """Format the viewer's local time of day with milliseconds."""
    local = at.astimezone()
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"


def countdown(left: timedelta) -> str:
    """Format the time left: 0:09, 12:30, 5:00:00, 2d 5:00:00."""
    whole = max(int(left.total_seconds() + 0.999), 0)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours or days else f"{minutes}:{seconds:02d}"
    return f"{days}d {text}" if days else text


def clock(at: datetime, now: datetime | None = None) -> str:
    """Format the viewer's local time of day, with the weekday if it is not today."""
    local = at.astimezone()
    if now is not None and local.date() != now.astimezone().date():
        return local.strftime("%a %H:%M:%S")
    return local.strftime("%H:%M:%S")


def day_and_clock(at: datetime, now: datetime | None) -> str:
    """Format the viewer's local time of day, with the date where it is not today."""
    local = at.astimezone()
    if now is not None and local.date() == now.astimezone().date():
        return local.strftime("%H:%M:%S")
    return local.strftime("%d %b %H:%M")


def date_and_clock(at: datetime, now: datetime | None) -> str:
    """Format the viewer's local date and time, and how long ago in whole days."""
    told = f"{at.astimezone():%d %b %Y %H:%M}"
    if now is None:
        return told
    days = (now - at).days
    if days < 1:
        return f"{told}, today" if at.astimezone().date() == now.astimezone().date() else told
    return f"{told}, {days} day{'' if days == 1 else 's'} ago"


RELEASES = {
    "time": "when its time is over",
    "reset": "at the daily reset",
    "session_start": "when the session opens",
    "can_trade": "when the platform allows trading again",
    "config": "when the configuration is changed",
    "manual": "when an administrator lifts it",
}


def release(how: str) -> str:
    """Return what ends a lock that has no end time."""
    return RELEASES.get(how, how)


_CLEARED = {
    "TIMER_EXPIRY": "its time was over",
    "DAILY_RESET": "daily reset",
    "ADMIN_OVERRIDE": "lifted by an administrator",
    "STARTUP_EXPIRED": "over while the daemon did not run",
}


def cleared(by: str) -> str:
    """Why a lock ended."""
    return _CLEARED.get(by, by.replace("_", " ").lower())


def set_by(rule_id: str) -> str:
    """Who set a lock: a rule by its id, or an administrator."""
    return "an administrator" if rule_id == MANUAL else rule_id


def rules_named(rule_ids: Iterable[str]) -> str:
    """The rules by their ids; what an administrator did is of none."""
    return ", ".join(rule for rule in rule_ids if rule != MANUAL)


def in_force(meter: MeterRow, now: datetime | None) -> str:
    """Return which of two versions of a limit counts today; empty if there is only one."""
    if meter.counts_from is not None:
        return f"counts from {clock(meter.counts_from, now)}"
    if meter.holds_until is not None:
        return f"holds until {clock(meter.holds_until, now)}"
    return ""


def lock_word(policy: str, scope: str) -> str:
    """What a lock is called: LOCKED, BLOCKED where it is of one product, or NO NEW ENTRIES."""
    flat = "LOCKED" if scope == "account" else "BLOCKED"
    return {"flat": flat, "no_entries": "NO NEW ENTRIES"}.get(policy, policy.upper())


def lock_ends(lock: LockRow, now: datetime | None) -> str:
    """How long still, or what it waits for. The countdown comes first."""
    if lock.expires_at is None or now is None:
        return f"ends {release(lock.release)}"
    if lock.expires_at <= now:
        return "ending now"
    return f"{countdown(lock.expires_at - now)} until {clock(lock.expires_at, now)}"


PHASES = {
    "decided": "DECIDED",
    "started": "SENT",
    "confirmed": "DONE",
    "failed": "FAILED",
    "uncertain": "UNSURE",
}


WARNED = "WARNED"


def phase(entry: EnforcementAction) -> str:
    """What became of an enforcement, in a word."""
    if entry.phase == "decided" and entry.action == "WARN" and not entry.shadow:
        return WARNED
    return "SHADOW" if entry.shadow else PHASES.get(entry.phase, entry.phase.upper())
