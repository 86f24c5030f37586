"""The open positions: their value now, and what they make where their stops are."""

from collections.abc import Iterator
from datetime import timedelta

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.protection import covered, stop_due, stops_of
from risk_manager.dashboard.widgets.panel import Column, Panel, headings, row
from risk_manager.dashboard.wording import DIM, UNKNOWN, age, colour_of, countdown, price, signed
from risk_manager.feed.messages import AccountSnapshot, PositionRow

FRESH_S = 5.0
NO_DATA_S = 30.0


_COLUMNS = {
    "symbol": Column("", 6),
    "net": Column("net", 4, "right"),
    "average": Column("average", 9, "right"),
    "now": Column("now", 9, "right"),
    "seen": Column("seen", 6, "right"),
    "open P&L": Column("open P&L", 10, "right"),
    "at stop": Column("at stop", 13, "right"),
    "held": Column("held", 6, "right"),
}
_ROOM = {
    "symbol": 0,
    "net": 0,
    "average": 56,
    "now": 56,
    "seen": 63,
    "open P&L": 0,
    "at stop": 36,
    "held": 70,
}
"""The room in the pane from which a column is shown, in cells."""


class Positions(Panel):
    heading = "Positions"
    empty = "flat"

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        positions = glance.account.positions
        if not positions:
            return
        shows = [part for part, room in _ROOM.items() if self.room >= room]
        yield headings([_COLUMNS[part] for part in shows])
        for position in positions:
            cells = {
                "symbol": (position.symbol, "bold"),
                "net": (_net(position), "bold"),
                "average": (price(position.average_price), ""),
                **_now(glance, position),
                "open P&L": _open(position),
                "at stop": _at_stop(glance, glance.account, position),
                "held": (age(glance.lasted_s(position.opened_at)), DIM),
            }
            yield row([_COLUMNS[part] for part in shows], [cells[part] for part in shows])


def _net(position: PositionRow) -> str:
    return f"{position.net:+d}" if position.sided else f"{abs(position.net)}?"


def _open(position: PositionRow) -> tuple[str, str]:
    if position.closing:
        return "CLOSING", "bold $text-warning"
    return signed(position.unrealised), colour_of(position.unrealised)


def _at_stop(glance: Glance, account: AccountSnapshot, position: PositionRow) -> tuple[str, str]:
    """What the position makes where its stops are; or that they do not cover it, and until when."""
    stops = stops_of(account, position)
    if stops is None:
        return "not told", DIM
    lots = covered(stops)
    if lots < abs(position.net):
        due = stop_due(account, position)
        words = f"{lots} OF {abs(position.net)}" if lots else "NO STOP"
        if due is None or glance.now is None:
            return words, "bold $text-warning"
        left = countdown(max(due - glance.now, timedelta(0)))
        return f"{words} {left}", "bold $text-error"
    results = [o.result for o in stops if o.result is not None]
    if len(results) < len(stops):
        return UNKNOWN, DIM
    return signed(sum(results)), colour_of(sum(results))


def _now(glance: Glance, position: PositionRow) -> dict[str, tuple[str, str]]:
    """The price by which it is judged, and how old that is; an old price is a word, no figure."""
    quote = glance.picture.quotes.get(position.contract_id)
    if quote is None:
        return {"now": ("NO DATA", "$text-error"), "seen": ("never", "$text-warning")}
    paid = quote.bid if position.net > 0 else quote.ask
    shown = price(quote.last if paid is None else paid)
    seconds = glance.seconds_since(quote.at)
    if seconds > NO_DATA_S:
        return {"now": ("NO DATA", "$text-error"), "seen": (f"{age(seconds)}!", "$text-error")}
    if seconds > FRESH_S or not glance.live:
        return {"now": ("STALE", "$text-warning"), "seen": (f"{age(seconds)}!", "$text-warning")}
    return {"now": (shown, ""), "seen": (age(seconds), DIM)}
