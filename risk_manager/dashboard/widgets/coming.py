"""What will happen by itself, and when: one line, the soonest first."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import what_is_next
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, countdown


class Coming(Text):
    def show(self, glance: Glance) -> None:
        told = what_is_next(glance)
        parts: list[tuple[str, str]] = [(" next ", DIM)]
        for left, what in told:
            parts += [(f" {countdown(left)} ", "bold"), (f"{what}  ", DIM)]
        if not told:
            parts.append((" nothing known", DIM))
        self.put(Content.assemble(*parts))
