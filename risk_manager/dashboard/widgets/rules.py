"""Every rule in a fixed place: how near it is, what is left, and when it last acted."""

from collections.abc import Iterator
from datetime import timedelta

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.rule_facts import last_breach
from risk_manager.dashboard.shades import percent, row_start
from risk_manager.dashboard.waiting_limits import in_full
from risk_manager.dashboard.widgets.meters import bar
from risk_manager.dashboard.widgets.panel import Panel, hanging
from risk_manager.dashboard.wording import DIM, clock, countdown, in_force
from risk_manager.feed.messages import AccountSnapshot, MeterRow

_TITLE_WIDTH = 26


def in_order(account: AccountSnapshot | None) -> list[MeterRow]:
    """By the number of the rule: a place that jumps cannot be learnt."""
    if account is None:
        return []
    return sorted(account.meters, key=lambda m: (m.spec_id, m.rule_id))


class Rules(Panel, can_focus=False):
    """Two lines a rule, or more for a long sentence.

    Arrow keys choose one, which stays chosen when others come or go.
    """

    heading = "Rules"
    empty = "no rules are in force for this account"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._chosen = ""  # a rule's id
        self._rows: dict[str, tuple[int, int]] = {}  # the first line of each, and how many

    def chosen(self, glance: Glance) -> MeterRow | None:
        meters = in_order(glance.account)
        return next((m for m in meters if m.rule_id == self._chosen), meters[0] if meters else None)

    def move(self, glance: Glance, by: int) -> None:
        """Choose the next rule, or the one before, and bring it into view."""
        meters = in_order(glance.account)
        now = self.chosen(glance)
        if now is None:
            return
        at = min(max(meters.index(now) + by, 0), len(meters) - 1)
        self._chosen = meters[at].rule_id
        self.show(glance)
        top, lines = self._rows[self._chosen]
        height = self.scrollable_content_region.height
        if top < self.scroll_y:
            self.scroll_to(y=top if at else 0, animate=False)
        elif top + lines > self.scroll_y + height:
            self.scroll_to(y=top + lines - height, animate=False)

    def show(self, glance: Glance) -> None:
        super().show(glance)
        count = 0 if glance.account is None else len(glance.account.meters)
        self.note(f"{count} in force" if count else "")

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        waiting = list(_waiting(glance, self.room))
        yield from waiting
        chosen, row = self.chosen(glance), len(waiting)
        self._rows.clear()
        for meter in in_order(glance.account):
            mark = Content.styled("▶ " if meter is chosen else "  ", "bold $text-accent")
            lines = [mark + self._bar_line(glance, meter), *self._told(glance, meter)]
            self._rows[meter.rule_id] = (row, len(lines))
            row += len(lines)
            yield from lines

    def _bar_line(self, glance: Glance, meter: MeterRow) -> Content:
        start, colour = row_start(glance, meter)
        width = min(_TITLE_WIDTH, max(self.room - 18 - len(start), 10))
        tag = "SHADOW" if meter.shadow else ""
        title = Content(meter.title).truncate(width, ellipsis=True)
        bar_width = min(max(self.room - 22 - len(start) - width, 4), 60)
        return Content.assemble(
            (start, f"bold {colour}"),
            title.pad_right(width - title.cell_length + 1),
            bar(meter.used, bar_width, colour),
            (f"{percent(meter, glance.account):>6} ", f"bold {colour}"),
            (tag, "bold $text-accent"),
        )

    def _told(self, glance: Glance, meter: MeterRow) -> list[Content]:
        assert glance.account is not None
        indent = " " * (2 + len(row_start(glance, meter)[0]))
        breach = last_breach(glance.account, meter.rule_id)
        when = "" if breach is None else f"last acted {clock(breach.timestamp, glance.now)}  "
        since = in_force(meter, glance.now)
        told = Content.assemble(
            (when, "$text-warning"),
            (f"{since}: " if since else "", "bold"),
            (meter.sentence, DIM),
        )
        return hanging(Content(indent), told, self.room)


def _waiting(glance: Glance, room: int) -> Iterator[Content]:
    """The edited limits that count only from the reset, above the rules."""
    outlook = glance.picture.outlook
    if glance.account is None or outlook is None or outlook.waiting is None or glance.now is None:
        return
    lines = list(in_full(outlook, glance.account.account_id, glance.picture.accounts))
    if not lines:
        return
    at = outlook.waiting.counts_from
    yield Content.assemble(
        (f"{countdown(max(at - glance.now, timedelta(0)))} until these edits count", "bold"),
        (f", {clock(at, glance.now)}; `admin config cancel` takes them back", DIM),
    )
    for line in lines:
        yield from hanging(Content.styled("WAITS   ", "bold $text-warning"), Content(line), room)
    yield Content("")
