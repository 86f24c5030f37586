"""The last closed trades of the day, net of fees."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Column, Panel, headings, row
from risk_manager.dashboard.wording import DIM, clock, colour_of, dollars, signed

_COLUMNS = (
    Column("closed", 12),
    Column("", 6),
    Column("qty", 3, "right"),
    Column("net", 10, "right"),
    Column("fees", 8, "right"),
)


class Trades(Panel):
    heading = "Closed trades"
    empty = "none today"

    def show(self, glance: Glance) -> None:
        super().show(glance)
        count = 0 if glance.account is None else glance.account.round_turns
        self.note(f"{count} today" if count else "")

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        if glance.account.trades:
            yield headings(_COLUMNS)
        for trade in glance.account.trades:
            yield row(
                _COLUMNS,
                [
                    (clock(trade.closed_at, glance.now), DIM),
                    (trade.symbol, "bold"),
                    (str(trade.size), ""),
                    (signed(trade.net), colour_of(trade.net)),
                    (dollars(trade.fees), DIM),
                ],
            )
