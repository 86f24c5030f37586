"""What one position has realised since it was opened, told from the executions."""

from decimal import Decimal

import pytest
from desk import DeskMaker

from risk_manager.domain.ledger import Ledger

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
