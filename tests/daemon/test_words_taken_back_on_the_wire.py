"""Order words taken back and one id for two executions: the real daemon over the real protocol."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, buy, lose, now, still_gateway, until

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account, Bracket, Order, OrderType, Side

pytestmark = pytest.mark.wire

GUARDED, LOSING, FLIPPING = 201, 202, 203
CANCELLED = 3
RULES = f"""
version: 1
rules:
  - {{rule: no_stop_loss_grace, accounts: [{GUARDED}], grace: 1s, rearm_grace: 1s,
      action: place_stop, place_stop_ticks: 40}}
  - {{rule: daily_realized_loss, accounts: [{LOSING}], limit: 100}}
  - {{rule: daily_realized_loss, id: flips, accounts: [{FLIPPING}], limit: 500}}
"""
LISTED = f"accounts: [{{id: {GUARDED}}}, {{id: {LOSING}}}, {{id: {FLIPPING}}}]"


async def taken_back(gateway: PracticeGateway, order: Order) -> None:
    """Told as cancelled, and 50 ms later as open again; it works all the while."""
    payload = order.payload()
    ended = {**payload, "status": CANCELLED, "updateTimestamp": now().isoformat()}
    await gateway.injection.send_user("order", ended)
    await asyncio.sleep(0.05)
    await gateway.injection.send_user("order", {**payload, "updateTimestamp": now().isoformat()})


async def test_words_taken_back_neither_strip_nor_double_a_stop_nor_leave_an_entry(
    tmp_path: Path,
) -> None:
    """F1.1: (and F1.2, F1.3, F1.5) On the wire: a stop and an entry told as cancelled and then as
    open, and the two halves of a reversal under one trade id."""
    exchange = Exchange(
        [Account(number, str(number)) for number in (GUARDED, LOSING, FLIPPING)],
        contracts_on(now().date()),
    )
    async with (
        still_gateway(exchange=exchange) as gateway,
        DaemonProcess(tmp_path, rules=RULES, accounts=LISTED).point_at(gateway).running() as daemon,
    ):
        mes = exchange.contract_of("MES")
        stop_loss = Bracket(40, OrderType.STOP)
        exchange.order_entry.place(GUARDED, mes.id, Side.BUY, 1, now=now(), stop_loss=stop_loss)
        (stop,) = exchange.working_orders(GUARDED)
        await daemon.until_account(
            lambda a: len(a["orders"]) == 1 and a["contracts_held"] == 1,
            "position and stop are known",
            account_id=GUARDED,
        )
        await taken_back(gateway, stop)

        def stops_at_least(number: int) -> bool:
            return len(exchange.working_orders(GUARDED)) >= number

        # Each of these gets its stop a second after it was bought: by then the first would have.
        for number, root in enumerate(("MNQ", "M2K", "MGC"), start=2):
            buy(exchange, root, 1, account=GUARDED)
            await until(partial(stops_at_least, number), f"a stop for {root}")
        assert [o.id for o in exchange.working_orders(GUARDED) if o.contract_id == mes.id] == [
            stop.id
        ]
        exchange.move_price(mes.id, exchange.book(mes.id).last - 60, now=now())
        assert exchange.net(GUARDED, mes.id) == 0, "the gap through it closes, and opens nothing"

        away = exchange.book(mes.id).last - 50
        entry = exchange.order_entry.place(
            LOSING, mes.id, Side.BUY, 1, OrderType.LIMIT, now=now(), limit_price=away
        )
        assert isinstance(entry, int)
        await daemon.until_account(
            lambda a: len(a["orders"]) == 1, "the entry is known", account_id=LOSING
        )
        (order,) = exchange.working_orders(LOSING)
        await taken_back(gateway, order)
        lose(exchange, "MNQ", 2, 200, account=LOSING)
        await until(lambda: not exchange.working_orders(LOSING), "the entry is cancelled", 5.0)

        async def executed(number: int, pnl: float | None) -> None:
            half: dict[str, Any] = {
                "id": number,
                "accountId": FLIPPING,
                "contractId": mes.id,
                "creationTimestamp": now().isoformat(),
                "price": 6000.0,
                "profitAndLoss": pnl,
                "fees": 0.0,
                "side": 1,
                "size": 1,
                "voided": False,
                "orderId": number,
            }
            await gateway.injection.send_user("trade", half)

        for pnl in (None, -300.0, None):
            await executed(9002, pnl)
        await executed(9003, -250.0)
        shown = await daemon.until_account(
            lambda a: a["lock_policy"] == "flat", "locked", account_id=FLIPPING
        )
        assert shown["realised_net"] == -550
