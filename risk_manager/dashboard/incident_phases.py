"""One incident in all its phases: decided, sent, done or failed, locked, with milliseconds."""

import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta

from textual.content import Content

from risk_manager.dashboard.story import Incident
from risk_manager.dashboard.wording import (
    DIM,
    PHASES,
    called,
    clock,
    done,
    lock_word,
    phase,
    release,
    rules_named,
    to_the_ms,
)
from risk_manager.feed.messages import EnforcementAction, LockoutSet

_COLOURS = {
    "DONE": "$text-success",
    "FAILED": "$text-error",
    "UNSURE": "$text-warning",
    "LOCKED": "$text-error",
    "BLOCKED": "$text-error",
}
_INDENT = 4
Phase = tuple[datetime, str, str]


def phases(incident: Incident, now: datetime | None, room: int) -> Iterator[Content]:
    """Yield the lines of an incident that is opened; `room` is the width of one."""
    found: list[Phase] = []
    if incident.decision is not None:
        found.append(_decision(incident.decision))
    for call in incident.calls:
        found += _call(call)
    found += (_lock(lock, now) for lock in incident.locks)
    if not found:
        for part in textwrap.wrap(incident.sentence(now), max(room - _INDENT, 20)):
            yield Content(" " * _INDENT + part)
        return
    began = min(at for at, _, _ in found)
    wide = max(8, *(len(word) for _, word, _ in found))
    for at, word, told in sorted(found, key=lambda one: one[0]):
        since = (at - began) / timedelta(milliseconds=1)
        lead = f"{to_the_ms(at)} {f'+{since:,.0f} ms' if since >= 1 else '':>10}  "
        width = max(room - _INDENT - len(lead) - wide - 1, 20)
        first, *rest = textwrap.wrap(told, width) or [""]
        yield Content.assemble(
            " " * _INDENT,
            (lead, DIM),
            (f"{word:<{wide}} ", f"bold {_COLOURS.get(word, '')}".strip()),
            first,
        )
        for part in rest:
            yield Content(" " * (_INDENT + len(lead) + wide + 1) + part)


def _decision(decision: EnforcementAction) -> Phase:
    count = decision.details.get("count")
    often = f"; {count} times that day" if isinstance(count, int) and count > 1 else ""
    does = "" if decision.action == "WARN" else f"{called(decision)}: "
    named = rules_named(decision.rule_ids)
    rules = f" ({named})" if named else ""
    return decision.timestamp, phase(decision), f"{does}{decision.reason}{rules}{often}"


def _call(call: EnforcementAction) -> Iterator[Phase]:
    took = call.duration_ms
    tries = f", try {call.attempt}" if call.attempt is not None and call.attempt > 1 else ""
    order = f", order {call.details['order_id']}" if call.details.get("order_id") else ""
    sent = f"{called(call)}{order}{tries}"
    if call.phase == "started":
        yield call.timestamp, PHASES["started"], f"{sent}; no answer yet"
        return
    if took is not None:
        yield call.timestamp - timedelta(milliseconds=took), PHASES["started"], sent
    after = "" if took is None else f" after {took:,.0f} ms"
    message = str(call.details.get("message") or "")
    code = call.details.get("error_code")
    told = "; ".join(filter(None, (message, f"the gateway's code {code}" if code else "")))
    is_done = call.phase == "confirmed"
    what = f"{done(call)}, verified{after}" if is_done else f"{called(call)}{after}"
    yield (
        call.timestamp,
        phase(call),
        f"{what}{order if is_done else ''}" + (f": {told}" if told else ""),
    )


def _lock(lock: LockoutSet, now: datetime | None) -> Phase:
    word = lock_word(lock.policy, lock.scope)
    where = "the whole account" if lock.scope == "account" else lock.scope.partition(":")[2]
    until = (
        f"ends {release(lock.release)}"
        if lock.locked_until is None
        else f"until {clock(lock.locked_until, now)}"
    )
    return lock.locked_at, word, f"{where}, {until}: {lock.reason}"
