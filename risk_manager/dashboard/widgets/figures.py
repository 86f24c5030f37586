"""The three figures of the day, large: realised, unrealised, total."""

from typing import Self

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Digits

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import UNKNOWN, dollars, signed

_CLASSES = ("-gain", "-loss", "-unknown")


class Amount(Digits):
    """Its room never depends on its value, so that a new value needs no new layout."""

    _is_told = False

    def update(self, value: str) -> None:
        self._is_told = True
        super().update(value)
        self._is_told = False

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        layout = layout and not self._is_told
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


class Figure(Vertical):
    """One amount: coloured and signed, in the largest form that fits."""

    def __init__(self, label: str, *, id: str) -> None:
        super().__init__(id=id)
        self.label = label
        self.text = UNKNOWN

    def compose(self) -> ComposeResult:
        yield Text(self.label, classes="label")
        yield Amount(UNKNOWN)

    def show(self, amount: float | None, note: str = "", *, small: bool = False) -> None:
        """`small`: as text beside the label, for terminals without the characters of digits."""
        self.text = signed(amount)
        shown = self.text if _cells(self.text) <= self.content_size.width else ""
        shown = shown or signed(amount, cents=False)
        digits, shown = self.query_one(Amount), "---" if amount is None else shown
        if digits.value != shown:
            digits.update(shown)
        digits.display = not small
        label = f"{self.label} {self.text}" if small else self.label + note
        if len(label) > self.content_size.width:
            label = self.label if amount is not None else self.label.split()[0] + note
            if small:
                label = f"{self.label.split()[0]} {self.text}"
        self.query_one(".label", Text).put(Content(label))
        self.set_class(amount is not None and amount > 0, "-gain")
        self.set_class(amount is not None and amount < 0, "-loss")
        self.set_class(amount is None, "-unknown")


class Figures(Horizontal):
    """Net of fees, in account currency."""

    def compose(self) -> ComposeResult:
        yield Figure("Realised today, net", id="realised")
        yield Figure("Open P&L", id="unrealised")
        yield Figure("Total today", id="total")

    @property
    def text(self) -> str:
        """What is shown now, as plain text."""
        return "   ".join(f"{figure.label}: {figure.text}" for figure in self.query(Figure))

    def show(self, glance: Glance) -> None:
        account = glance.account
        realised = None if account is None else account.realised_net
        unrealised = None if account is None else account.unrealised
        total = None if account is None else account.total
        fees = "" if account is None or not account.fees else f"  fees {dollars(account.fees)}"
        blind = "" if account is None or unrealised is not None else ": UNKNOWN (no price)"
        self.query_one("#realised", Figure).show(realised, fees, small=glance.ascii_only)
        self.query_one("#unrealised", Figure).show(unrealised, blind, small=glance.ascii_only)
        self.query_one("#total", Figure).show(
            total, ": UNKNOWN" if blind else "", small=glance.ascii_only
        )


def _cells(text: str) -> int:
    """Return the width, in cells, at which Digits draws the text."""
    return sum(1 if c in ",." else 3 for c in text)
