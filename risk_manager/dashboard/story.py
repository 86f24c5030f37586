"""The story of the day: what was told since the screen was opened, and one line for each incident.

A decision, the calls that followed and the lock it set are one incident. Old entries come with the
snapshot; those that arrive later are added to them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from risk_manager.dashboard.waiting_limits import LimitsNews
from risk_manager.dashboard.wording import (
    called,
    cleared,
    clock,
    done,
    duration,
    lock_word,
    release,
)
from risk_manager.feed.messages import (
    AlarmRow,
    DailyReset,
    EnforcementAction,
    LockoutCleared,
    LockoutSet,
    LockRow,
    Snapshot,
)

WORD_WIDTH = len("NO NEW ENTRIES")
"""Of the longest word of an incident."""
KEPT = 500
JOINED_WITHIN = timedelta(seconds=60)
"""A call that begins later than this after a decision is an incident of its own."""
SAME_INSTANT = timedelta(milliseconds=2)
"""When a call began is known from its end and its duration, which are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEnded:
    """The feed was lost: from here on the screen cannot say what happened."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionMade:
    """The feed is back after `gap_s`. `new_run`: another run of the daemon answers."""

    gap_s: float
    new_run: bool


Deed = (
    EnforcementAction
    | LockoutSet
    | LockoutCleared
    | DailyReset
    | AlarmRow
    | ConnectionEnded
    | ConnectionMade
    | LimitsNews
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that was told. `account_id` None concerns everyone."""

    at: datetime
    account_id: int | None
    deed: Deed


@dataclass(frozen=True, slots=True)
class Story:
    """Entries by what they are about, in the order in which they were first told."""

    entries: Mapping[tuple[object, ...], Entry] = field(default_factory=dict)

    def told(
        self,
        account_id: int | None,
        *deeds: Deed,
        at: datetime | None = None,
        kept: int | None = KEPT,
    ) -> "Story":
        """With more entries. The same thing told again replaces what was known of it.

        Of more than `kept` entries the oldest are dropped.
        """
        known = dict(self.entries)
        for deed in deeds:
            entry = Entry(at=at or _at(deed), account_id=account_id, deed=deed)
            key = _key(entry)
            before = known.get(key)
            # A call keeps the instant at which it was first told.
            known[key] = entry if before is None else replace(entry, at=min(before.at, entry.at))
        if kept is not None and len(known) > kept:
            oldest = sorted(known, key=lambda key: known[key].at)[: len(known) - kept]
            for key in oldest:
                del known[key]
        return Story(known)

    def with_snapshot(self, snapshot: Snapshot) -> "Story":
        """With all that a complete snapshot tells of what happened."""
        story = self
        for account in snapshot.accounts:
            deeds: list[Deed] = [*reversed(account.enforcements)]
            deeds += [_lock_set(lock) for lock in account.locks]
            story = story.told(account.account_id, *deeds)
        for alarm in reversed(snapshot.alarms):
            story = story.told(alarm.account_id, alarm)
        return story


@dataclass(slots=True, kw_only=True)
class Incident:
    """One line. `rule_ids` are empty where no rule is concerned."""

    at: datetime
    account_id: int | None
    key: tuple[object, ...]
    """The same for as long as the story tells of it."""
    word: str
    """A mark for the kind: DONE, FAILED, LOCKED, ALARM, ..."""
    tone: str = ""  # good, care, bad, dim
    reason: str = ""
    rule_ids: tuple[str, ...] = ()
    decision: EnforcementAction | None = None
    calls: list[EnforcementAction] = field(default_factory=list)
    locks: list[LockoutSet] = field(default_factory=list)

    def sentence(self, now: datetime | None) -> str:
        """What happened and what came of it."""
        done = [*_calls(self.calls), *(_lock(lock, now, self.word) for lock in self.locks)]
        if not done and self.decision is not None:
            done = [_decided(self.decision)]
        came = ", ".join(filter(None, done))
        return f"{self.reason}: {came}" if self.reason and came else self.reason or came


def incidents(
    story: Story, accounts: Iterable[int] | None = None, rule_id: str = ""
) -> list[Incident]:
    """The story as incidents, the newest first, of these accounts (None: all) and this rule."""
    wanted = None if accounts is None else {None, *accounts}
    told = sorted(story.entries.values(), key=_place)
    found: list[Incident] = []
    open_now: dict[tuple[int | None, str], Incident] = {}  # the last decision of each rule
    for entry in told:
        if wanted is not None and entry.account_id not in wanted:
            continue
        _add(found, open_now, entry)
    shown = [i for i in found if not rule_id or rule_id in i.rule_ids]
    for incident in shown:
        _judge(incident)
    return sorted(shown, key=lambda i: i.at, reverse=True)


def _place(entry: Entry) -> datetime:
    """By time; what follows from a decision comes after it, although it is of the same instant."""
    is_decision = isinstance(entry.deed, EnforcementAction) and entry.deed.action_id is None
    return entry.at if is_decision else entry.at + SAME_INSTANT


def _add(
    found: list[Incident], open_now: dict[tuple[int | None, str], Incident], entry: Entry
) -> None:
    deed = entry.deed
    match deed:
        case EnforcementAction(action_id=None):
            incident = Incident(
                at=entry.at,
                account_id=entry.account_id,
                key=_key(entry),
                word="",
                reason=deed.reason,
                rule_ids=deed.rule_ids,
                decision=deed,
            )
            open_now.update({(entry.account_id, rule): incident for rule in deed.rule_ids})
        case EnforcementAction():
            belongs = _belongs_to(open_now, entry, deed.rule_ids)
            if belongs is not None:
                belongs.calls.append(deed)
                return
            incident = Incident(
                at=entry.at,
                account_id=entry.account_id,
                key=_key(entry),
                word="",
                reason=deed.reason,
                rule_ids=deed.rule_ids,
                calls=[deed],
            )
            open_now.update({(entry.account_id, rule): incident for rule in deed.rule_ids})
        case LockoutSet():
            belongs = _belongs_to(open_now, entry, (deed.rule_id,))
            if belongs is not None and not belongs.locks:
                belongs.locks.append(deed)
                return
            incident = Incident(
                at=entry.at,
                account_id=entry.account_id,
                key=_key(entry),
                word="",
                reason=deed.reason,
                rule_ids=(deed.rule_id,),
                locks=[deed],
            )
        case _:
            incident = _plain(entry)
    found.append(incident)


def _belongs_to(
    open_now: Mapping[tuple[int | None, str], Incident], entry: Entry, rule_ids: Iterable[str]
) -> Incident | None:
    near = (open_now.get((entry.account_id, rule)) for rule in rule_ids)
    fits = [i for i in near if i is not None and entry.at - i.at <= JOINED_WITHIN]
    return max(fits, key=lambda i: i.at, default=None)


def _plain(entry: Entry) -> Incident:
    """An incident that nothing else can join."""
    deed = entry.deed
    rule_ids: tuple[str, ...] = ()
    match deed:
        case LockoutCleared():
            word, tone = "RELEASED", "good"
            reason = f"lock on {_where(deed.scope)} ended: {cleared(deed.cleared_by)}"
            rule_ids = (deed.rule_id,)
        case DailyReset():
            word, tone = "NEW DAY", "dim"
            reason = (
                f"trading day {deed.trading_date} began; {deed.previous_date} ended at "
                f"{deed.previous_pnl:+,.2f} net, {deed.previous_trade_count} fills"
            )
            if deed.lockouts_cleared_count:
                count = deed.lockouts_cleared_count
                reason += f"; {count} lock{'s' if count > 1 else ''} ended"
        case AlarmRow():
            word, tone = "ALARM", {"critical": "bad", "info": "dim"}.get(deed.severity, "care")
            if deed.severity == "info":
                word = "NOTE"
            reason = deed.message
            if deed.over_at is not None and deed.over_at > deed.at:
                reason += f" (over {clock(deed.over_at, entry.at)})"
                tone = "dim"
        case LimitsNews():
            word, tone, reason = deed.word, "care", deed.sentence
        case ConnectionEnded():
            word, tone, reason = "LOST", "bad", f"the screen lost the daemon: {deed.reason}"
        case ConnectionMade():
            word, tone = "BACK", "care"
            reason = f"the daemon is heard again after {duration(deed.gap_s)}"
            if deed.new_run:
                reason += "; it was started anew, and nobody guarded until then"
        case _:
            word, tone, reason = "NOTE", "dim", ""
    return Incident(
        at=entry.at,
        account_id=entry.account_id,
        key=_key(entry),
        word=word,
        tone=tone,
        reason=reason,
        rule_ids=rule_ids,
    )


def _judge(incident: Incident) -> None:
    """Give it its word: the gravest of what came of it, a failure that was made good left out."""
    if incident.word:
        return
    decision = incident.decision
    last = {_about(call): call.phase for call in sorted(incident.calls, key=_at)}
    phases = set(last.values())
    if decision is not None and decision.shadow:
        incident.word, incident.tone = "SHADOW", "dim"
    elif "failed" in phases:
        incident.word, incident.tone = "FAILED", "bad"
    elif "uncertain" in phases:
        incident.word, incident.tone = "UNSURE", "care"
    elif any(lock.policy == "flat" for lock in incident.locks):
        whole = any(lock.scope == "account" for lock in incident.locks)
        incident.word, incident.tone = "LOCKED" if whole else "BLOCKED", "bad"
    elif incident.locks:
        incident.word, incident.tone = lock_word(incident.locks[0].policy, "account"), "care"
    elif "started" in phases:
        incident.word, incident.tone = "SENT", "care"
    elif phases:
        incident.word, incident.tone = "DONE", "good"
    elif decision is not None and decision.severity in ("warning", "info"):
        told = decision.action in ("WARN", "") or decision.severity == "info"
        incident.word, incident.tone = ("WARNED" if told else "DECIDED"), "care"
    else:
        incident.word, incident.tone = "DECIDED", "care"


def _about(call: EnforcementAction) -> tuple[object, ...]:
    """The same for each try of one matter."""
    return call.action, call.contract_id, call.symbol, call.details.get("order_id")


def _calls(calls: Iterable[EnforcementAction]) -> Iterator[str]:
    """Calls in words, those of one kind and end together."""
    alike: dict[tuple[str, str], list[EnforcementAction]] = {}
    for call in calls:
        alike.setdefault((called(call), call.phase), []).append(call)
    for (what, phase), of_these in alike.items():
        many = f" {len(of_these)} times" if len(of_these) > 1 else ""
        took = max((c.duration_ms for c in of_these if c.duration_ms is not None), default=None)
        told = next((str(c.details["message"]) for c in of_these if c.details.get("message")), "")
        match phase:
            case "confirmed":
                ms = "" if took is None else f" in {took:,.0f} ms"
                yield f"{done(of_these[0], len(of_these))}{ms}"
            case "started":
                yield f"{what} is under way"
            case "failed":
                yield f"{what} FAILED{many}" + (f" ({told})" if told else "")
            case _:
                yield f"{what} {phase}{many}"


def _decided(decision: EnforcementAction) -> str:
    if decision.action == "WARN":
        return ""
    return f"{'would ' if decision.shadow else ''}{called(decision)}"


def _lock(lock: LockoutSet, now: datetime | None, said: str) -> str:
    """What a lock does and until when; a pause of entries is not `said` twice."""
    word = {"flat": "locked", "no_entries": "no new entries"}.get(lock.policy, lock.policy)
    if lock.policy == "no_entries" and said == lock_word(lock.policy, lock.scope):
        word = ""
    where = "" if lock.scope == "account" else f" {_where(lock.scope)}"
    if lock.locked_until is None:
        return f"{word}{where}, ends {release(lock.release)}".strip(" ,")
    return f"{word}{where} until {clock(lock.locked_until, now)}".strip()


def _where(scope: str) -> str:
    return "the account" if scope == "account" else scope.partition(":")[2]


def _lock_set(lock: LockRow) -> LockoutSet:
    return LockoutSet(
        lockout_id=lock.lockout_id,
        rule_id=lock.rule_id,
        scope=lock.scope,
        policy=lock.policy,
        kind=lock.kind,
        release=lock.release,
        reason=lock.reason,
        locked_at=lock.set_at,
        locked_until=lock.expires_at,
        admin_may_clear=lock.admin_may_clear,
    )


def _at(deed: Deed) -> datetime:
    match deed:
        case EnforcementAction():
            # A call that has ended began this long before.
            return deed.timestamp - timedelta(milliseconds=deed.duration_ms or 0.0)
        case LockoutSet():
            return deed.locked_at
        case LockoutCleared():
            return deed.cleared_at
        case DailyReset():
            return deed.reset_time
        case AlarmRow():
            return deed.at
    raise ValueError(f"the instant of a {type(deed).__name__} must be given")


def _key(entry: Entry) -> tuple[object, ...]:
    deed = entry.deed
    match deed:
        case EnforcementAction(action_id=None):
            return "decided", entry.account_id, deed.timestamp, deed.rule_ids, deed.reason
        case EnforcementAction():
            return "call", entry.account_id, deed.action_id
        case LockoutSet():
            return "lock", entry.account_id, deed.scope, deed.rule_id, deed.locked_at
        case LockoutCleared():
            return "cleared", entry.account_id, deed.scope, deed.rule_id, deed.cleared_at
        case DailyReset():
            return "reset", entry.account_id, deed.trading_date
        case AlarmRow():
            return "alarm", deed.at, deed.code, deed.account_id
        case LimitsNews():
            return "limits", entry.at, deed.word
    return type(deed).__name__, entry.at
