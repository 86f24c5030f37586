"""The story of the day: one line an incident, the newest first, of every account or of one.

One is chosen by the arrow keys and opened into its phases. Earlier days come from the database.
"""

from collections.abc import Iterator
from datetime import date, datetime

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.incident_phases import phases
from risk_manager.dashboard.story import WORD_WIDTH, Incident, incidents
from risk_manager.dashboard.story_pages import is_earlier, pages, story_shown
from risk_manager.dashboard.widgets.enforcement_log import filter_words, page_words
from risk_manager.dashboard.widgets.panel import Panel, hanging
from risk_manager.dashboard.wording import DIM, clock, colour_of, rules_named, signed

_COLOURS = {"good": "$text-success", "care": "$text-warning", "bad": "$text-error", "dim": DIM}
Key = tuple[object, ...]


class LogView(Panel, can_focus=False):
    """Drawn only when the story, the filter, the choice or the width has changed."""

    heading = "Log: the story of the day"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._drawn: tuple[object, ...] = ()
        self._chosen: Key | None = None  # None: the newest
        self._open: set[Key] = set()
        self._rows: dict[Key, tuple[int, int]] = {}  # the first line of each, and how many

    @property
    def has_incidents(self) -> bool:
        """Whether there is one to choose."""
        return bool(self._rows)

    def move(self, glance: Glance, by: int) -> None:
        """Choose the next incident, or the one before, and bring it into view."""
        keys = list(self._rows)
        if not keys:
            return
        now = keys.index(self._chosen) if self._chosen in self._rows else 0
        at = min(max(now + by, 0), len(keys) - 1)
        self._chosen = keys[at] if at else None
        self.show(glance)
        self._bring_into_view(keys[at])

    def toggle(self, glance: Glance) -> None:
        """Open the chosen incident, or fold it again."""
        keys = list(self._rows)
        chosen = self._chosen if self._chosen in self._rows else next(iter(keys), None)
        if chosen is None:
            return
        self._chosen = chosen
        self._open ^= {chosen}
        self.show(glance)
        self._bring_into_view(chosen)

    def _bring_into_view(self, key: Key) -> None:
        row, lines = self._rows.get(key, (0, 1))
        height = self.scrollable_content_region.height
        if row < self.scroll_y:
            self.scroll_to(y=row if row > 1 else 0, animate=False)
        elif row + lines > self.scroll_y + height:
            self.scroll_to(y=min(row + lines - height, row), animate=False)

    def show(self, glance: Glance) -> None:
        day = None if glance.now is None else glance.now.astimezone().date()
        account_id = None if glance.account is None else glance.account.account_id
        shown = pages(glance)
        drawn = (
            *(glance.picture.story, glance.rule_filter, glance.every_account, day, self.room),
            *(account_id, is_earlier(glance), shown),
            *(self._chosen, frozenset(self._open)),
        )
        if drawn == self._drawn:
            return
        self._drawn = drawn
        self.note(f"{filter_words(glance)}{page_words(glance, 'story')}")
        self.put_lines(self.lines(glance))

    def lines(self, glance: Glance) -> Iterator[Content]:
        shown = None if glance.every_account else [_id(glance)]
        found = incidents(story_shown(glance), shown, glance.rule_filter)
        self._rows.clear()
        number = 0
        for content in _results(glance):
            yield content
            number += 1
        if not found:
            yield Content.styled(_nothing(glance), DIM)
        keys = {incident.key for incident in found}
        self._open &= keys
        chosen = self._chosen if self._chosen in keys else found[0].key if found else None
        names = {a.account_id: a.name or str(a.account_id) for a in glance.picture.accounts}
        several = glance.every_account and len(names) > 1
        before: date | None = None if glance.now is None else glance.now.astimezone().date()
        for incident in found:
            on = incident.at.astimezone().date()
            if on != before:
                before = on
                yield Content.styled(f"{incident.at.astimezone():%a %d %b %Y}", f"bold {DIM}")
                number += 1
            whose = ""
            if several and incident.account_id is not None:
                whose = names.get(incident.account_id, str(incident.account_id))
            opened = (
                list(phases(incident, glance.now, self.room)) if incident.key in self._open else []
            )
            is_chosen = incident.key == chosen
            lead, what = line(incident, glance.now, whose, "▶" if is_chosen else " ")
            # The chosen one is told whole.
            told = hanging(lead, what, self.room) if is_chosen and not opened else [lead + what]
            self._rows[incident.key] = (number, len(told) + len(opened))
            number += len(told) + len(opened)
            yield from told
            yield from opened


def _id(glance: Glance) -> int:
    return -1 if glance.account is None else glance.account.account_id


def _results(glance: Glance) -> Iterator[Content]:
    """The results of the earlier day that is looked at, one line an account."""
    if not is_earlier(glance):
        return
    names = {a.account_id: a.name or str(a.account_id) for a in glance.picture.accounts}
    for account_id, page in pages(glance):
        for day in page.days:
            yield Content.assemble(
                (f"{day.trading_date} ended at ", DIM),
                (signed(day.net), f"bold {colour_of(day.net)}"),
                (f" net, {day.executions} fills", DIM),
                (f"  {names.get(account_id, account_id)}" if glance.every_account else "", DIM),
            )


def _nothing(glance: Glance) -> str:
    if not pages(glance):
        return glance.why_not_told
    errors = [page.error for _, page in pages(glance) if page.error]
    if errors:
        return f"earlier entries cannot be told: {errors[0]}"
    return "nothing that day" if is_earlier(glance) else "nothing today"


def line(
    incident: Incident, now: datetime | None, whose: str = "", mark: str = " "
) -> tuple[Content, Content]:
    """One incident: when, in a word and whose; and what came of it."""
    lead = Content.assemble(
        (mark, "bold $text-accent"),
        (f"{clock(incident.at)} ", DIM),
        (f"{incident.word:<{WORD_WIDTH}} ", f"bold {_COLOURS.get(incident.tone, '')}".strip()),
        (f"{whose}  " if whose else "", "bold"),
    )
    what = Content.assemble(
        incident.sentence(now),
        (f"  {rules_named(incident.rule_ids)}", DIM),
    )
    return lead, what
