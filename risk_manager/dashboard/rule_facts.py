"""All that the feed tells of one rule: its figures, its locks, what it waits for, what it did."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.enforcement_facts import day_began
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.shades import is_pause, percent, word_and_colour
from risk_manager.dashboard.story import incidents
from risk_manager.dashboard.waiting_limits import in_words as change_in_words
from risk_manager.dashboard.waiting_limits import of_account
from risk_manager.dashboard.wording import (
    DIM,
    UNKNOWN,
    clock,
    countdown,
    dollars,
    in_force,
    lock_ends,
)
from risk_manager.feed.messages import AccountSnapshot, EnforcementAction, MeterRow

_MEANINGS = {
    "ok": "within the limit",
    "warn": "near the limit",
    "breach": "the limit is reached",
    "unknown": "a figure it needs is not to be trusted now",
}


def history(account: AccountSnapshot, rule_id: str) -> list[EnforcementAction]:
    """What this rule decided and what was done for it, the newest first."""
    return [entry for entry in account.enforcements if rule_id in entry.rule_ids]


def last_breach(account: AccountSnapshot, rule_id: str) -> EnforcementAction | None:
    """The newest decision of the rule that was more than a warning."""
    for entry in history(account, rule_id):
        if entry.phase == "decided" and entry.severity in ("breach", "critical"):
            return entry
    return None


def figure(value: float | None, unit: str) -> str:
    if value is None:
        return UNKNOWN
    if unit == "USD":
        return dollars(value)
    return f"{value:,g} {unit}".rstrip()


def facts(glance: Glance, meter: MeterRow) -> Iterator[Content]:
    """The lines that explain one rule as it stands now."""
    account = glance.account
    assert account is not None
    word, colour = word_and_colour(meter, account)
    used = percent(meter, account)
    meaning = _MEANINGS.get(meter.state, meter.state)
    if is_pause(meter, account):
        meaning = "its pause of entries runs"
    yield Content.assemble((meter.title, "bold"), (f"   {meter.spec_id}  {meter.rule_id}", DIM))
    yield Content("")
    words = in_words(glance, account.account_id, meter.rule_id)
    if words:
        yield Content(words)
        yield Content("")
    yield Content.assemble(
        (word, f"bold {colour}"),
        f"  {meaning}" + (f": {used} of it is used" if used else ""),
    )
    yield Content(meter.sentence)
    if meter.limit is not None:
        yield Content("")
        yield Content.assemble(("now    ", DIM), (figure(meter.current, meter.unit), "bold"))
        yield Content.assemble(("limit  ", DIM), (figure(meter.limit, meter.unit), "bold"))
        yield Content.assemble(("left   ", DIM), (figure(meter.headroom, meter.unit), "bold"))
    if meter.shadow:
        yield Content("")
        yield Content("SHADOW: this rule decides and tells. It touches nothing.")
    if meter.counts_from is not None or meter.holds_until is not None:
        yield Content("")
        which = "This looser version" if meter.counts_from is not None else "This older version"
        until = meter.counts_from or meter.holds_until
        left = ""
        if until is not None and glance.now is not None:
            left = f", in {countdown(until - glance.now)}"
        force = in_force(meter, glance.now)
        yield Content(f"{which} {force}{left}. The tighter one decides today.")
    yield from _edited(glance, account, meter)
    yield from _locks(glance, account, meter)
    yield from _waiting(glance, account, meter)
    yield Content("")
    yield from _today(glance, account, meter)


def _edited(glance: Glance, account: AccountSnapshot, meter: MeterRow) -> Iterator[Content]:
    """The edits of this rule that wait for the reset."""
    outlook = glance.picture.outlook
    if outlook is None or outlook.waiting is None:
        return
    rule_id = meter.rule_id.partition(" (")[0]
    changes = of_account(outlook.waiting, account.account_id)
    for change in [c for c in changes if c.rule_id == rule_id]:
        told = change_in_words(change, outlook, glance.picture.accounts)
        since = clock(outlook.waiting.counts_from, glance.now)
        yield Content.assemble(("Waits until ", "bold"), (since, "bold"), f": {told}")


def in_words(glance: Glance, account_id: int, rule_id: str) -> str:
    """What the daemon says that the rule does; empty where it has not told."""
    outlook = glance.picture.outlook
    rules = () if outlook is None else outlook.rules
    told = (r.text for r in rules if (r.account_id, r.rule_id) == (account_id, rule_id))
    return next(told, "")


def _today(glance: Glance, account: AccountSnapshot, meter: MeterRow) -> Iterator[Content]:
    """What the rule did in this trading day, the newest first."""
    yield Content.styled("Today", "bold")
    began = day_began(glance.picture.next_reset, glance.now)
    done = [
        incident
        for incident in incidents(glance.picture.story, [account.account_id], meter.rule_id)
        if began is None or incident.at >= began
    ]
    for incident in done:
        yield Content.assemble(
            (f"{clock(incident.at, glance.now)}  ", DIM),
            (f"{incident.word}  ", "bold"),
            incident.sentence(glance.now),
        )
    if not done:
        yield Content.styled("nothing", DIM)


def _locks(glance: Glance, account: AccountSnapshot, meter: MeterRow) -> Iterator[Content]:
    for lock in account.locks:
        if lock.rule_id == meter.rule_id:
            yield Content("")
            yield Content.assemble(
                ("It locks now: ", "bold"), f"{lock.reason}; {lock_ends(lock, glance.now)}"
            )


def _waiting(glance: Glance, account: AccountSnapshot, meter: MeterRow) -> Iterator[Content]:
    for deadline in account.deadlines:
        if deadline.rule_id == meter.rule_id and glance.now is not None:
            left = countdown(deadline.due_at - glance.now)
            yield Content("")
            yield Content.assemble(("It acts in ", "bold"), (left, "bold"), f": {deadline.subject}")
