"""The answer to "may I trade?", on every tab."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import Tone, verdict
from risk_manager.dashboard.widgets.text import Text


class VerdictLine(Text):
    def __init__(self) -> None:
        super().__init__(wraps=True)

    def show(self, glance: Glance) -> None:
        told = verdict(glance)
        for tone in Tone:
            self.set_class(tone is told.tone, tone.value)
        self.put(Content.assemble((f" {told.word} ", "bold reverse"), f" {told.why}"))
