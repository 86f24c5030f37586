"""What was decided and done, with its reasons and milliseconds, and the totals of the day."""

from collections.abc import Iterator
from datetime import datetime

from textual.content import Content

from risk_manager.dashboard.enforcement_facts import (
    KEPT,
    accounts_shown,
    day_began,
    entries,
    exact_totals,
    totals,
)
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.enforcements import PHASE_COLOURS, alarm_line
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, called, day_and_clock, phase
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
            (entry.timestamp, list(_entry(glance, account, entry)))
            for account, entry in entries(glance)
        ]
        shown = (None, *(a.account_id for a in accounts_shown(glance)))
        is_newest = not page_words(glance, "enforcements").startswith(EARLIER)
        if not glance.rule_filter and is_newest:  # an alarm is of no rule
            story += [
                (a.at, [alarm_line(glance, a)])
                for a in glance.picture.alarms
                if a.account_id in shown
            ]
        if not story:
            yield Content.styled("nothing had to be done", DIM)
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
    counts = (
        (sums.decisions, "breaches", "bold"),
        (sums.reductions, "closes", ""),
        (sums.cancels, "cancels", ""),
        (sums.stops, "stops", ""),
        (sums.shadowed, "in shadow", "$text-accent"),
    )
    parts = [("today: ", DIM)]
    parts += [
        (f"{count}{plus} {noun}  ", style)
        for count, noun, style in counts
        if count or noun == "breaches"
    ]
    parts += [
        (f"{sums.failed} FAILED  " if sums.failed else "", "bold $text-error"),
        (f"{sums.unsure} UNSURE  " if sums.unsure else "", "bold $text-warning"),
    ]
    if sums.slowest_ms is not None:
        parts.append((f"slowest {sums.slowest_ms:,.0f} ms", DIM))
    yield Content.assemble(*parts)
    if is_cut:
        yield Content.styled(f"+ at least: the daemon tells of the newest {KEPT} an account", DIM)


def _entry(glance: Glance, account: AccountSnapshot, entry: EnforcementAction) -> Iterator[Content]:
    word = phase(entry)
    colour = "$text-accent" if entry.shadow else PHASE_COLOURS.get(entry.phase, DIM)
    took = ""
    if entry.duration_ms is not None:
        took = f" in {entry.duration_ms:,.0f} ms"
    tries = f" (try {entry.attempt})" if entry.attempt is not None and entry.attempt > 1 else ""
    told = entry.details.get("message")
    yield Content.assemble(
        (f"{day_and_clock(entry.timestamp, glance.now):<12} ", DIM),
        (f"{word:<8} ", f"bold {colour}"),
        (called(entry), "bold"),
        tries,
        took,
        (f"  {account.name or account.account_id}" if glance.every_account else "", DIM),
    )
    yield Content.assemble(
        " " * 13,
        (f"{told}; " if told and not entry.success else "", "$text-error"),
        entry.reason or "no reason told",
        ("  " + ", ".join(entry.rule_ids) if entry.rule_ids else "", DIM),
    )
