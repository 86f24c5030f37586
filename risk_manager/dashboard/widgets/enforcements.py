"""Enforcements and alarms, the newest first."""

from collections.abc import Iterator
from datetime import datetime

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Column, Panel, row
from risk_manager.dashboard.wording import DIM, WARNED, called, clock, phase, rules_named
from risk_manager.feed.messages import AlarmRow, EnforcementAction

PHASE_COLOURS = {
    "decided": "$text-primary",
    "started": "$text-warning",
    "confirmed": "$text-success",
    "failed": "$text-error",
    "uncertain": "$text-warning",
}
_SEVERITIES = {"info": "$text-primary", "warning": "$text-warning", "critical": "$text-error"}
_COLUMNS = (Column("", 12), Column("", 8))


class Enforcements(Panel):
    heading = "Enforcement and alarms"
    empty = "nothing had to be done"

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        entries = [(e.timestamp, self._enforcement(glance, e)) for e in glance.account.enforcements]
        entries += [
            (a.at, Content("").join(alarm_line(glance, a)))
            for a in glance.picture.alarms
            if a.account_id in (None, glance.account.account_id)
        ]
        for _, line in sorted(entries, key=lambda entry: entry[0], reverse=True):
            yield line

    def _enforcement(self, glance: Glance, entry: EnforcementAction) -> Content:
        word = phase(entry)
        colour = "$text-accent" if entry.shadow else PHASE_COLOURS.get(entry.phase, DIM)
        what = what_was_done(entry)
        return Content.assemble(
            _start(glance, entry.timestamp, word, colour),
            (f"{what}  " if what else "", "bold"),
            (f"{why_not(entry)}{entry.reason}", ""),
            (f"  {rules_named(entry.rule_ids)}", DIM),
        )


def what_was_done(entry: EnforcementAction) -> str:
    """A decision or a call: close position MNQZ6 (try 2) in 3,041 ms. Empty for a warning."""
    if phase(entry) == WARNED:
        return ""
    tries = f" (try {entry.attempt})" if entry.attempt is not None and entry.attempt > 1 else ""
    took = "" if entry.duration_ms is None else f" in {entry.duration_ms:,.0f} ms"
    return f"{called(entry)}{tries}{took}"


def why_not(entry: EnforcementAction) -> str:
    """What the gateway said of a call that was not carried out; empty of any other."""
    told = "" if entry.success else entry.details.get("message")
    if not told and entry.phase == "failed":
        told = "the gateway told no reason"
    return f"{told}; " if told else ""


def alarm_line(glance: Glance, alarm: AlarmRow) -> tuple[Content, Content]:
    """When and in a word; and what it says."""
    colour = _SEVERITIES.get(alarm.severity, "$text-warning")
    word = "NOTE" if alarm.severity == "info" else "ALARM"
    over = ""
    if alarm.over_at is not None and alarm.severity != "info":
        colour, over = DIM, f"over {clock(alarm.over_at, glance.now)}: "
    start = _start(glance, alarm.at, word, colour)
    return start, Content.styled(over + alarm.message, colour)


def _start(glance: Glance, at: datetime, word: str, colour: str) -> Content:
    told = row(_COLUMNS, [(clock(at, glance.now), DIM), (word, f"bold {colour}")])
    return told + Content(" ")
