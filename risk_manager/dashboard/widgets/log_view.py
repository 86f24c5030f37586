"""The story of the day: one line an incident, the newest first, of every account or of one."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.story import Incident, incidents
from risk_manager.dashboard.widgets.enforcement_log import filter_words
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, clock

_COLOURS = {"good": "$text-success", "care": "$text-warning", "bad": "$text-error", "dim": DIM}


class LogView(Panel):
    """Drawn only when the story, the filter or the width has changed."""

    heading = "Log: the story of the day"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._drawn: tuple[object, ...] = ()

    def show(self, glance: Glance) -> None:
        day = None if glance.now is None else glance.now.astimezone().date()
        account_id = None if glance.account is None else glance.account.account_id
        accounts = None if glance.every_account else account_id
        drawn = (glance.picture.story, glance.rule_filter, accounts, glance.every_account, day)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        self.border_subtitle = filter_words(glance)
        self.put_lines(self.lines(glance))

    def lines(self, glance: Glance) -> Iterator[Content]:
        shown = None if glance.every_account else [_id(glance)]
        found = incidents(glance.picture.story, shown, glance.rule_filter)
        if not found:
            yield Content.styled("nothing has happened that the daemon still tells of", DIM)
        names = {a.account_id: a.name or str(a.account_id) for a in glance.picture.accounts}
        several = glance.every_account and len(names) > 1
        for incident in found:
            whose = ""
            if several and incident.account_id is not None:
                whose = names.get(incident.account_id, str(incident.account_id))
            yield line(glance, incident, whose)


def _id(glance: Glance) -> int:
    return -1 if glance.account is None else glance.account.account_id


def line(glance: Glance, incident: Incident, whose: str = "") -> Content:
    """One incident: when, in a word, whose, and what came of it."""
    return Content.assemble(
        (f"{clock(incident.at, glance.now):<12} ", DIM),
        (f"{incident.word:<8} ", f"bold {_COLOURS.get(incident.tone, '')}".strip()),
        (f"{whose}  " if whose else "", "bold"),
        incident.sentence(glance.now),
        (f"  {', '.join(incident.rule_ids)}" if incident.rule_ids else "", DIM),
    )
