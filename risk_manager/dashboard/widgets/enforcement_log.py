"""What was decided and done, with its reasons and milliseconds, and the totals of the day."""

from collections.abc import Iterator
from datetime import datetime

from textual.content import Content

from risk_manager.dashboard.enforcement_facts import (
    KEPT,
    Totals,
    accounts_shown,
    day_began,
    entries,
    exact_totals,
    totals,
)
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.enforcements import (
    PHASE_COLOURS,
    alarm_line,
    what_was_done,
    why_not,
)
from risk_manager.dashboard.widgets.panel import Panel, hanging
from risk_manager.dashboard.wording import DIM, day_and_clock, phase, rules_named
from risk_manager.feed.messages import AccountSnapshot, EnforcementAction


class EnforcementLog(Panel):
    """Two lines an entry: what and how fast, then why and for which rules."""

    heading = "Enforcement"

    def show(self, glance: Glance) -> None:
        self.note(f"{filter_words(glance)}{page_words(glance, 'enforcements')}")
        super().show(glance)

    def lines(self, glance: Glance) -> Iterator[Content]:
        yield from _totals(glance)
        yield Content("")
        story: list[tuple[datetime, list[Content]]] = [
            (entry.timestamp, _entry(glance, account, entry, self.room))
            for account, entry in entries(glance)
        ]
        shown = (None, *(a.account_id for a in accounts_shown(glance)))
        is_newest = not page_words(glance, "enforcements").startswith(EARLIER)
        if not glance.rule_filter and is_newest:  # an alarm is of no rule
            story += [
                (a.at, hanging(*alarm_line(glance, a), self.room))
                for a in glance.picture.alarms
                if a.account_id in shown
            ]
        if not story:
            yield Content.styled(glance.last_heard("nothing had to be done"), DIM)
        for _, lines in sorted(story, key=lambda one: one[0], reverse=True):
            yield from lines


def filter_words(glance: Glance) -> str:
    rule = glance.rule_filter or "every rule"
    who = "every account" if glance.every_account else "this account"
    return f"{who}, {rule}"


EARLIER = "; an earlier page"


def page_words(glance: Glance, kind: str) -> str:
    """Whether an earlier page is looked at, and whether there are more. Empty: this is all."""
    answers = [glance.history(kind, a.account_id) for a in accounts_shown(glance)]
    is_earlier = any(a is not None and a.before is not None for a in answers)
    has_more = any(a is not None and a.next is not None for a in answers)
    if is_earlier:
        return f"{EARLIER}, b: {'the one before' if has_more else 'the newest again'}"
    return "; b: earlier" if has_more else ""


def _totals(glance: Glance) -> Iterator[Content]:
    began = day_began(glance.picture.next_reset, glance.now)
    if began is None:
        return
    sums, is_cut = exact_totals(glance), False
    if sums is None:  # the daemon cannot tell them: those of what it tells by itself, at least
        told = [
            e
            for a in accounts_shown(glance)
            for e in a.enforcements
            if e.timestamp >= began and glance.rule_filter in ("", *e.rule_ids)
        ]
        sums = totals(told)
        is_cut = any(
            len(a.enforcements) >= KEPT and a.enforcements[-1].timestamp >= began
            for a in accounts_shown(glance)
        )
    plus = "+" if is_cut else ""
    counts = ((sums.reductions, "close"), (sums.cancels, "cancel"), (sums.stops, "stop"))
    parts = [
        (f"{glance.last_heard('today')}: ", DIM),
        (f"{_many(sums.decisions, 'decision', plus)}{_set(sums, plus)}  ", "bold"),
    ]
    parts += [(f"{_many(count, noun, plus)}  ", "") for count, noun in counts if count]
    parts += [
        (f"{sums.shadowed}{plus} in shadow  " if sums.shadowed else "", "$text-accent"),
        (f"{sums.failed} FAILED  " if sums.failed else "", "bold $text-error"),
        (f"{sums.unsure} UNSURE  " if sums.unsure else "", "bold $text-warning"),
    ]
    if sums.slowest_ms is not None:
        parts.append((f"slowest {sums.slowest_ms:,.0f} ms", DIM))
    yield Content.assemble(*parts)
    if is_cut:
        yield Content.styled(f"+ at least: the daemon tells of the newest {KEPT} an account", DIM)


def _many(count: int, noun: str, plus: str) -> str:
    return f"{count}{plus} {noun}{'' if count == 1 else 's'}"


def _set(sums: Totals, plus: str) -> str:
    """How many of the decisions locked, and how many only paused entries."""
    kinds = ((sums.locks, "lock"), (sums.pauses, "pause"))
    told = ", ".join(_many(count, noun, plus) for count, noun in kinds if count)
    return f" ({told})" if told else ""


def _entry(
    glance: Glance, account: AccountSnapshot, entry: EnforcementAction, room: int
) -> list[Content]:
    word = phase(entry)
    colour = "$text-accent" if entry.shadow else PHASE_COLOURS.get(entry.phase, DIM)
    why = Content.assemble(
        (why_not(entry), "$text-error"),
        entry.reason or "no reason told",
        (f"  {rules_named(entry.rule_ids)}", DIM),
    )
    what = what_was_done(entry)
    lead = Content.assemble(
        (f"{day_and_clock(entry.timestamp, glance.now):<12} ", DIM),
        (f"{word:<8} ", f"bold {colour}"),
    )
    told = Content.assemble(
        (what, "bold") if what else why,
        (f"  {account.name or account.account_id}" if glance.every_account else "", DIM),
    )
    lines = hanging(lead, told, room)
    return lines + hanging(Content(" " * 13), why, room) if what else lines
