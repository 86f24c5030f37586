"""The open positions, with their average price and their value now."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Column, Panel, headings, row
from risk_manager.dashboard.wording import DIM, GAIN, LOSS, age, colour_of, price, signed
from risk_manager.feed.messages import PositionRow

FRESH_S = 5.0
NO_DATA_S = 30.0


class Positions(Panel):
    heading = "Positions"
    empty = "flat"

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        positions = glance.account.positions
        if not positions:
            return
        wide = self.room >= 56
        columns = [
            Column("", 6),
            Column("net", 4, "right"),
            Column("average", 9, "right"),
            *([Column("now", 9, "right"), Column("seen", 6, "right")] if wide else []),
            Column("open P&L", 10, "right"),
            *([Column("held", 6, "right")] if self.room >= 42 else []),
        ]
        yield headings(columns)
        for position in positions:
            net = f"{position.net:+d}" if position.sided else f"{abs(position.net)}?"
            cells = [
                (position.symbol, "bold"),
                (net, f"bold {GAIN if position.net > 0 else LOSS}" if position.sided else "bold"),
                (price(position.average_price), ""),
                *(_now(glance, position) if wide else []),
                (
                    "CLOSING" if position.closing else signed(position.unrealised),
                    "bold $text-warning" if position.closing else colour_of(position.unrealised),
                ),
            ]
            if self.room >= 42:
                cells.append((age(glance.seconds_since(position.opened_at)), DIM))
            yield row(columns, cells)


def _now(glance: Glance, position: PositionRow) -> list[tuple[str, str]]:
    quote = glance.picture.quotes.get(position.contract_id)
    if quote is None:
        return [(price(None), DIM), ("never", "$text-warning")]
    paid = quote.bid if position.net > 0 else quote.ask
    shown = price(quote.last if paid is None else paid)
    seconds = glance.seconds_since(quote.at)
    if seconds > NO_DATA_S:
        return [(shown, DIM), (f"{age(seconds)}!", "$text-error")]
    if seconds > FRESH_S or not glance.live:
        return [(shown, DIM), (f"{age(seconds)}!", "$text-warning")]
    return [(shown, ""), (age(seconds), DIM)]
