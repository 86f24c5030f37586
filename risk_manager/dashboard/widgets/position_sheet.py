"""Each position with the orders that work on it: what protects it, how far, at what result."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.protection import covered, stop_due, stops_of
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.widgets.positions import FRESH_S, NO_DATA_S
from risk_manager.dashboard.wording import DIM, age, colour_of, countdown, dollars, price, signed
from risk_manager.feed.messages import AccountSnapshot, OrderRow, PositionRow

_ROLES = {
    "protective": ("STOP", "$text-success"),
    "target": ("TARGET", "$text-primary"),
    "entry": ("ENTRY", "$text-warning"),
    "reversing": ("REVERSES", "$text-error"),
    "orphan": ("ORPHAN", "$text-error"),
}


class PositionSheet(Panel):
    heading = "Positions and their orders"
    empty = "no position, no working order"

    def show(self, glance: Glance) -> None:
        super().show(glance)
        account = glance.account
        total = "" if account is None else f"{account.contracts_held} contracts held"
        if account is not None and account.positions:
            total += f", open {signed(account.unrealised)}"
        self.note(total)

    def lines(self, glance: Glance) -> Iterator[Content]:
        account = glance.account
        assert account is not None
        for position in account.positions:
            yield _position(glance, position)
            orders = [o for o in account.orders if o.contract_id == position.contract_id]
            yield from _protection(glance, account, position)
            for order in orders:
                yield _order(glance, order)
        held = {p.contract_id for p in account.positions}
        alone = [o for o in account.orders if o.contract_id not in held]
        if alone:
            yield Content.styled("Orders of products not held", "bold")
            for order in alone:
                yield _order(glance, order, named=True)


def _position(glance: Glance, position: PositionRow) -> Content:
    side = "?" if not position.sided else "LONG" if position.net > 0 else "SHORT"
    result = signed(position.unrealised)
    return Content.assemble(
        (f"{position.symbol:<7}", "bold"),
        (f"{side} {abs(position.net)}", "bold"),
        (" at ", DIM),
        price(position.average_price),
        ("  open ", DIM),
        (result, f"bold {colour_of(position.unrealised)}"),
        ("  CLOSING" if position.closing else "", "bold $text-warning"),
        ("  now ", DIM),
        *_quote(glance, position),
        (f"  held {age(glance.lasted_s(position.opened_at))}", DIM),
    )


def _quote(glance: Glance, position: PositionRow) -> list[tuple[str, str]]:
    """The price and whether it may be believed; the word says so without colour, too."""
    quote = glance.picture.quotes.get(position.contract_id)
    if quote is None:
        return [("– ", ""), ("NO DATA", "bold $text-error")]
    paid = quote.bid if position.net > 0 else quote.ask
    shown = price(quote.last if paid is None else paid)
    seconds = glance.seconds_since(quote.at)
    if seconds > NO_DATA_S:
        return [(shown, DIM), (f" NO DATA {age(seconds)}", "bold $text-error")]
    if seconds > FRESH_S or not glance.live:
        return [(shown, DIM), (f" STALE {age(seconds)}", "bold $text-warning")]
    return [(shown, ""), (" fresh", DIM)]


def _protection(
    glance: Glance, account: AccountSnapshot, position: PositionRow
) -> Iterator[Content]:
    """A line where stops do not cover all of it; silent where they do."""
    stops = stops_of(account, position)
    if stops is None:
        yield Content.styled("    whether a stop protects it is not told", DIM)
        return
    protected = covered(stops)
    if protected >= abs(position.net):
        return
    words = f"STOP FOR {protected} OF {abs(position.net)} ONLY" if protected else "NO STOP"
    due = stop_due(account, position)
    if due is not None and glance.now is not None:
        words = f"{countdown(due - glance.now)} left to place a stop: {words}"
    yield Content.styled(f"    {words}", f"bold {'$text-error' if due else '$text-warning'}")


def _order(glance: Glance, order: OrderRow, *, named: bool = False) -> Content:
    word, colour = _ROLES.get(order.role, (order.role.upper() or "ORDER", DIM))
    at = order.stop_price if order.stop_price is not None else order.limit_price
    kind = order.type.replace("_", " ")
    parts: list[tuple[str, str]] = [
        (f"    {word:<9}", f"bold {colour}"),
        (f"{order.symbol} " if named else "", "bold"),
        (f"{order.side} {max(order.size - order.filled, 0)} {kind}", ""),
        ("" if at is None else f" at {price(at)}", "bold"),
    ]
    if order.ticks_away is not None:
        ticks = "1 tick" if order.ticks_away == 1 else f"{order.ticks_away:,} ticks"
        parts.append((f"  {ticks} away", ""))
    if order.result is not None:
        makes = f"makes {dollars(order.result)}" if order.result >= 0 else ""
        parts.append((f"  {makes or f'loses {dollars(-order.result)}'}", colour_of(order.result)))
    if order.status != "open":
        parts.append((f"  {order.status.replace('_', ' ')}", DIM))
    parts.append((f"  {age(order.age_s)} old", DIM))
    return Content.assemble(*parts)
