"""The orders working at the exchange."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Column, Panel, headings, row
from risk_manager.dashboard.wording import DIM, price
from risk_manager.feed.messages import OrderRow


class Orders(Panel):
    heading = "Working orders"

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        orders = glance.account.orders
        if not orders:
            return
        columns = [
            Column("", 6),
            Column("side", 4),
            Column("qty", 3, "right"),
            Column("type", 9),
            Column("at", 9, "right"),
            *([Column("status", 10)] if self.room >= 46 else []),
            *([Column("order", 12, "right")] if self.room >= 60 else []),
        ]
        yield headings(columns)
        for order in orders:
            cells = [
                (order.symbol, "bold"),
                (order.side, ""),
                (str(max(order.size - order.filled, 0)), "bold"),
                (order.type.replace("_", " ").replace("trailing stop", "trailing"), ""),
                (_at(order), ""),
            ]
            if self.room >= 46:
                cells.append((order.status.replace("_", " "), DIM))
            if self.room >= 60:
                cells.append((str(order.order_id), DIM))
            yield row(columns, cells)


def _at(order: OrderRow) -> str:
    prices = [p for p in (order.stop_price, order.limit_price) if p is not None]
    return price(prices[0]) if prices else "market"
