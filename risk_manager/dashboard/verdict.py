"""May I trade? One answer from locks, status, streams, REST and the feed together."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

from risk_manager.dashboard.ahead import edges_ahead, held_by
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.picture import STUCK_AFTER_S
from risk_manager.dashboard.shades import SIZES, is_counting_down, place
from risk_manager.dashboard.waiting_limits import at_the_reset
from risk_manager.dashboard.wording import clock, countdown, duration, lock_word, release
from risk_manager.feed.messages import DEGRADED, RUNNING, AccountSnapshot, LockRow, MeterRow

_NEVER = datetime.max.replace(tzinfo=UTC)
LONGEST_ROOM = 52  # a list of all limits is for the tab Rules
IN_ALL = "RULE-001"  # counts the contracts of all products
START = "start it with: risk-manager run"


class Tone(Enum):
    GOOD = "-green"
    CARE = "-amber"
    STOP = "-red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`word` is the answer, with its countdown; `why` what it comes from and what ends it."""

    word: str
    why: str
    tone: Tone


def verdict(glance: Glance) -> Verdict:
    """Being unguarded outranks any lock: a lock nobody enforces is only a word."""
    account = glance.account
    unguarded = _unguarded(glance)
    lock = None if account is None else decisive(account)
    if unguarded is not None:
        if lock is None:
            return unguarded
        return replace(unguarded, why=f"{unguarded.why}; and {_locked(glance, lock).word}")
    if account is None:
        return Verdict(word="NOT KNOWN", why="no such account is guarded here", tone=Tone.CARE)
    if not account.known:
        why = "the account has not been read from the broker since the daemon started"
        return Verdict(word="NOT KNOWN YET", why=why, tone=Tone.CARE)
    barred = _except(account)
    if lock is not None:
        told = _locked(glance, lock)
        return replace(told, why=told.why + barred)
    if account.can_trade is False:
        return Verdict(word="NO TRADING", why="the platform does not allow it", tone=Tone.STOP)
    free = _free(account)
    return replace(free, why=(free.why + barred).removeprefix("; "))


def _except(account: AccountSnapshot) -> str:
    """Products that are locked by themselves; empty where none is."""
    parts = sorted({x.scope.partition(":")[2] for x in account.locks if x.scope != "account"})
    return f"; not {', '.join(parts)}" if parts else ""


def decisive(account: AccountSnapshot) -> LockRow | None:
    """The lock on the whole account that bars most, for longest."""
    locks = [lock for lock in account.locks if lock.scope == "account"]
    return max(locks, key=lambda x: (x.policy == "flat", _lasts(x)), default=None)


def _lasts(lock: LockRow) -> datetime:
    return lock.expires_at or _NEVER


def _unguarded(glance: Glance) -> Verdict | None:
    picture = glance.picture
    if picture.told_at is None:
        if picture.line.up:
            return Verdict(word="WAITING", why="for the daemon's first word", tone=Tone.CARE)
        why = f"the daemon is not reached; {START}"
        return Verdict(word="NOT GUARDED", why=why, tone=Tone.STOP)
    if not glance.live:
        heard = picture.told_at
        if picture.line.up:
            silent = duration(picture.line.silence_s(glance.mono) or 0.0)
            why = f"nothing heard from the daemon for {silent}; the figures are old"
            return Verdict(word="NOT KNOWN", why=why, tone=Tone.STOP)
        since = clock(heard, glance.now)
        why = f"the daemon is not reached; {START}"
        return Verdict(word=f"NOT GUARDED since {since}", why=why, tone=Tone.STOP)
    if picture.status not in (RUNNING, DEGRADED):
        why = f"the daemon is {picture.status}" + (
            f": {picture.message}" if picture.message else ""
        )
        tone = Tone.CARE if picture.status == "STARTING" else Tone.STOP
        return Verdict(word="NOT GUARDED", why=why, tone=tone)
    broken = broken_link(glance)
    return Verdict(word="NOT GUARDED", why=broken, tone=Tone.STOP) if broken else None


def broken_link(glance: Glance) -> str:
    """What keeps a running daemon from seeing or acting; empty when nothing does."""
    picture = glance.picture
    if picture.state_age_s > STUCK_AFTER_S:
        return f"the daemon has not judged for {duration(picture.judgement_age_s(glance.mono))}"
    for name, row in picture.hubs.items():
        if row.state == "down":
            lasts = duration(glance.seconds_since(row.since))
            return f"the {name} stream is down for {lasts}: {row.reason}".rstrip(": ")
    if picture.rest.ok is False:
        return f"the gateway does not answer: {picture.rest.message}".rstrip(": ")
    return ""


def _locked(glance: Glance, lock: LockRow) -> Verdict:
    word = lock_word(lock.policy, lock.scope)
    tone = Tone.STOP if lock.policy == "flat" else Tone.CARE
    if lock.expires_at is None or glance.now is None:
        ends = release(lock.release)
        return Verdict(word=word, why=f"{lock.reason}; ends {ends}", tone=tone)
    left = max(lock.expires_at - glance.now, timedelta(0))
    word += f" {countdown(left)} until {clock(lock.expires_at, glance.now)}"
    lifts = "" if lock.admin_may_clear else "; nobody can lift it"
    return Verdict(word=word, why=f"{lock.reason}{lifts}", tone=tone)


def _free(account: AccountSnapshot) -> Verdict:
    """Free to trade, with the limit that would end it first where one is near."""
    near = [
        m
        for m in account.meters
        if m.counts_from is None and not m.shadow and m.state in ("warn", "breach", "unknown")
    ]
    if account.failed_rules:
        why = f"rules that cannot judge: {', '.join(account.failed_rules)}"
        return Verdict(word="CARE", why=why, tone=Tone.CARE)
    if near:
        near.sort(key=lambda m: place(m, account))
        why = "; ".join(m.sentence for m in near)
        tone = Tone.STOP if any(is_counting_down(m, account) for m in near) else Tone.CARE
        return Verdict(word="OK TO TRADE, CARE", why=why, tone=tone)
    if account.mode != "enforce":
        return Verdict(
            word="OK TO TRADE",
            why=account.mode_reason or "shadow: the daemon only tells, it touches nothing",
            tone=Tone.CARE,
        )
    return Verdict(word="OK TO TRADE", why=_room(account), tone=Tone.GOOD)


def _room(account: AccountSnapshot) -> str:
    """How much more may be held, by the limits of size in force; empty without one."""
    sizes = [
        m
        for m in account.meters
        if m.unit.endswith(SIZES) and m.limit is not None and m.counts_from is None and not m.shadow
    ]
    told = []
    counted = [m for m in sizes if m.current is not None]
    product = next((m for m in counted if _product(m)), None)
    total = next((m for m in counted if m.spec_id == IN_ALL), None)
    if product is not None and total is not None:
        told.append(_room_for(product, total))
        sizes = [m for m in sizes if m not in (product, total)]
    told += [m.sentence for m in sizes if len(m.sentence) <= LONGEST_ROOM]
    return "; ".join(told[:2])


def _product(meter: MeterRow) -> str:
    """The product whose contracts it counts; empty where it counts those of more."""
    name, _, unit = meter.unit.rpartition(" ")
    return name if unit == "contracts" else ""


def _room_for(product: MeterRow, total: MeterRow) -> str:
    """The room for the product held, and that in all: an entry needs both."""
    name, room, rest = _product(product), product.headroom or 0.0, total.headroom or 0.0
    if total.unit == "contracts":
        room = min(room, rest)
    left = f"room for {room:g}" if room else "no room for more"
    in_all = f"{rest:g} in all" if rest else "none in all"
    return (
        f"{product.current:g} of {product.limit:g} {name}, "
        f"{total.current:g} of {total.limit:g} {total.unit} held, "
        f"{left} {name}, {in_all}"
    )


def what_is_next(glance: Glance) -> list[tuple[timedelta, str]]:
    """What will happen by itself, the soonest first: resets, ends of locks, a rule's deadline."""
    now, account = glance.now, glance.account
    if now is None:
        return []
    coming: list[tuple[timedelta, str]] = []
    if glance.picture.next_reset is not None:
        coming.append((glance.picture.next_reset - now, "daily reset"))
    if account is not None:
        titles = {m.rule_id: m.title for m in account.meters}
        for lock in account.locks:
            if lock.expires_at is not None:
                who = titles.get(lock.rule_id, lock.rule_id)
                ends = _still_locked(account, lock, now) or f"lock ends: {who}"
                coming.append((lock.expires_at - now, ends))
        locked_at = {(x.rule_id, x.expires_at) for x in account.locks}
        for deadline in account.deadlines:
            if (deadline.rule_id, deadline.due_at) not in locked_at:
                who = titles.get(deadline.rule_id, deadline.rule_id)
                coming.append((deadline.due_at - now, f"{who} acts"))
    outlook = glance.picture.outlook
    if outlook is not None:
        waits = at_the_reset(outlook, account, glance.picture.accounts)
        if waits and outlook.waiting is not None:
            coming.append((outlook.waiting.counts_from - now, waits))
        account_id = None if account is None else account.account_id
        edges = edges_ahead(outlook, account_id, now, held_by(account))
        coming += [(at - now, what) for at, what in edges]
    return sorted(((left, what) for left, what in coming if left > timedelta(0)))


def _still_locked(account: AccountSnapshot, lock: LockRow, now: datetime) -> str:
    """The end of a lock while another one bars the same for longer; empty where none does."""
    last = max(
        (x for x in account.locks if x.scope in ("account", lock.scope)), key=_lasts, default=lock
    )
    if _lasts(last) <= _lasts(lock):
        return ""
    what = "pause" if lock.policy == "no_entries" else "lock"
    until = "" if last.expires_at is None else f" until {clock(last.expires_at, now)}"
    return f"{what} ends, still {lock_word(last.policy, last.scope)}{until}"
