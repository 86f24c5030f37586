"""What will happen by itself, and when: one line, the soonest first; no time is cut."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import what_is_next
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, countdown, whole_words

_LEAST_WORDS = 12  # of room; with less an entry is left out


class Coming(Text):
    def show(self, glance: Glance) -> None:
        told = what_is_next(glance)
        # What comes by itself comes by the daemon.
        line = Content.styled(" next " if glance.live or not told else " next ?", DIM)
        for left, what in told:
            lead = f" {countdown(left)} "
            room = self.size.width - line.cell_length - len(lead)
            shown = whole_words(what, room) if room >= _LEAST_WORDS else "…"
            line += Content.assemble((lead if shown != "…" else "", "bold"), (f"{shown}  ", DIM))
            if shown != what:
                break
        if not told:
            line += Content.styled(" nothing known", DIM)
        self.put(line)
