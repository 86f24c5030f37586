"""What one position has realised since it was opened, told from the executions."""

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from desk import MORNING, DeskMaker

from risk_manager.domain.executions import Execution
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.records import OrderSide

MNQ = "CON.F.US.MNQ.Z26"
Fill = tuple[int, int | None]


async def ledger(desk: DeskMaker, fills: list[Fill]) -> Ledger:
    d = desk()
    for size, pnl in fills:
        await d.fill("MNQ", size, pnl=pnl, fees="0.50")
    return d.account().ledger


@pytest.mark.parametrize(
    ("fills", "net", "pnl", "in_step"),
    [
        ([(2, None)], 2, 0, True),
        ([(3, None), (-1, -50), (-1, 20)], 1, -30, True),
        ([(1, None), (-1, -90), (2, None), (-1, 10)], 1, 10, True),  # an earlier trade is apart
        ([(2, None), (-2, -280), (-2, None)], -2, 0, True),  # turned round in two executions
        ([(2, None), (-4, -280)], -2, 0, True),  # or in one
        ([(-2, None), (1, 40), (-1, None), (1, 5)], -1, 45, True),
        ([(2, None)], 1, 0, False),  # the position knows of a scale-out, the ledger not yet
        ([(2, None), (-1, -140)], 2, -140, False),  # and the other way round
        ([(-1, -140)], 1, -140, False),  # opened before the ledger begins
    ],
)
async def test_the_life_of_a_position(
    desk: DeskMaker, fills: list[Fill], net: int, pnl: int, in_step: bool
) -> None:
    found = (await ledger(desk, fills)).episode(MNQ, net)
    assert (found.pnl, found.in_step) == (Decimal(pnl), in_step)


async def test_the_fees_of_what_was_closed_are_known(desk: DeskMaker) -> None:
    found = (await ledger(desk, [(3, None), (-1, -50)])).episode(MNQ, 2)
    assert (found.net, found.heard_at is not None) == (Decimal("-50.50"), True)
    assert Ledger().episode(MNQ, 1).heard_at is None


def test_what_agrees_is_the_same_however_it_was_asked_before() -> None:
    """From fill to fill it is kept for the contracts that are not traded."""
    dice, met = Random(7), set()
    for _ in range(30):
        ledger, nets = Ledger(), dict.fromkeys("ABC", 0)
        for number in range(1, 40):
            contract_id = dice.choice("ABC")
            net, lots = nets[contract_id], dice.choice([-2, -1, 1, 2])
            closes = net * lots < 0
            nets[contract_id] += lots
            late = timedelta(seconds=dice.choice([0, 0, 0, 90]))
            fill = Execution(
                id=dice.choice([number, number, number, max(number - 2, 1)]),
                contract_id=contract_id,
                order_id=number,
                side=OrderSide.BUY if lots > 0 else OrderSide.SELL,
                size=abs(lots),
                price=Decimal(100),
                pnl=Decimal(5) if closes and dice.random() < 0.9 else None,
                fees=Decimal(0),
                voided=dice.random() < 0.05,
                executed_at=MORNING + timedelta(seconds=number) - late,
                received_at=MORNING + timedelta(seconds=number),
                trading_date=MORNING.date(),
            )
            ledger = ledger.record(fill)
            fresh = Ledger(ledger.entries, ledger.totals)
            assert ledger.newest_in == fresh.newest_in
            for _ in range(dice.choice([0, 1, 3])):
                asked = {c: n + dice.choice([0, 0, 0, 1]) for c, n in nets.items()}
                found = ledger.agrees_with(asked)
                assert found == Ledger(ledger.entries, ledger.totals).agrees_with(asked)
                met.add(found)
    assert met == {True, False}
