"""What each working order is for beside its position, as the snapshot tells it."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from feed_daemon import ES, MNQ, FeedDaemon

from risk_manager.domain.events import OrderChanged, PositionChanged
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType
from risk_manager.feed.messages import OrderRow
from risk_manager.feed.snapshot import TradeBook, account_snapshot


async def works(
    daemon: FeedDaemon,
    order_id: int,
    side: OrderSide,
    *,
    stop: str | None = None,
    limit: str | None = None,
    size: int = 1,
    contract_id: str = MNQ,
) -> None:
    await daemon.happen(
        OrderChanged(
            at=daemon.clock.now(),
            id=order_id,
            account_id=101,
            contract_id=contract_id,
            status=OrderStatus.OPEN,
            type=OrderType.STOP if stop else OrderType.LIMIT,
            side=side,
            size=size,
            stop_price=Decimal(stop) if stop else None,
            limit_price=Decimal(limit) if limit else None,
        )
    )


def orders(daemon: FeedDaemon) -> dict[int, OrderRow]:
    state = daemon.pipeline.state
    told = account_snapshot(state, state.accounts[101], trades=TradeBook())
    return {order.order_id: order for order in told.orders}


@pytest.fixture
def daemon(tmp_path: Path) -> FeedDaemon:
    return FeedDaemon(tmp_path, rules=lambda: ())


async def test_the_orders_of_a_long_position(daemon: FeedDaemon) -> None:
    async with daemon:
        await daemon.position(2)  # at 21000.25, a tick of 0.25 worth $0.50
        await works(daemon, 1, OrderSide.SELL, stop="20990.25", size=2)
        await works(daemon, 2, OrderSide.SELL, limit="21010.25", size=1)
        await works(daemon, 3, OrderSide.BUY, limit="20980.00")
        await works(daemon, 4, OrderSide.SELL, limit="21020.00", size=5)
        await works(daemon, 5, OrderSide.BUY, limit="6000.00", contract_id=ES)
        told = orders(daemon)
        assert {i: o.role for i, o in told.items()} == {
            1: "protective",
            2: "target",
            3: "entry",
            4: "reversing",
            5: "entry",
        }
        assert (told[1].ticks_away, told[1].result) == (None, -40.0)  # no price yet
        await daemon.quote(21000.75)
        told = orders(daemon)
        assert (told[1].ticks_away, told[1].result) == (42, -40.0)
        assert (told[2].ticks_away, told[2].result) == (38, 20.0)
        assert (told[3].ticks_away, told[3].result) == (None, None)
        daemon.clock.skip(minutes=5)  # the price is too old to judge by
        await daemon.tick()
        assert orders(daemon)[1].ticks_away is None


async def test_the_stop_of_a_short_position(daemon: FeedDaemon) -> None:
    async with daemon:
        await daemon.position(-1)
        await works(daemon, 1, OrderSide.BUY, stop="21005.25")
        await daemon.quote(21000.00)
        stop = orders(daemon)[1]
        assert (stop.role, stop.ticks_away, stop.result) == ("protective", 20, -10.0)


async def test_an_unknown_contract_has_roles_and_no_figures(daemon: FeedDaemon) -> None:
    strange = "CON.F.US.XYZ.Z26"
    async with daemon:
        await daemon.position(1, contract_id=strange)
        await works(daemon, 1, OrderSide.SELL, stop="20990.25", contract_id=strange)
        stop = orders(daemon)[1]
        assert (stop.role, stop.ticks_away, stop.result) == ("protective", None, None)


async def test_a_position_of_unknown_side_gives_no_order_a_role(daemon: FeedDaemon) -> None:
    async with daemon:
        await daemon.happen(
            PositionChanged.model_validate(
                {
                    "at": daemon.clock.now() + timedelta(seconds=1),
                    "id": 7,
                    "accountId": 101,
                    "contractId": MNQ,
                    "type": 0,
                    "size": 1,
                    "averagePrice": "21000.25",
                    "creationTimestamp": daemon.clock.now(),
                }
            )
        )
        await works(daemon, 1, OrderSide.SELL, stop="20990.25")
        assert orders(daemon)[1].role == ""
