"""How often the snapshots of accounts go out, by what they cost. In virtual time."""

import asyncio
from typing import Any, cast

import pytest
from desk import Desk, DeskMaker
from virtual_time import LoopClock, in_virtual_time

from risk_manager.feed.broadcast import Broadcast
from risk_manager.feed.composer import Composer
from risk_manager.feed.pacing import Pacer
from risk_manager.right_of_way import RightOfWay


class Watching:
    """A composer, a broadcast and its only reader: notes when each account is sent."""

    def __init__(self, cost_s: float) -> None:
        self._cost_s = cost_s
        self.sent_at: dict[int, list[float]] = {}

    @property
    def readers(self) -> list["Watching"]:
        return [self]

    def refresh(self, account_id: int) -> None:
        now = asyncio.get_running_loop().time()
        self.sent_at.setdefault(account_id, []).append(now)

    def cost_s(self, account_id: int) -> float:
        return self._cost_s if account_id in self.sent_at else 0.0


def fail(error: Exception) -> None:
    raise error


async def changing(d: Desk, accounts: int, cost_s: float, *, quiet: int) -> Watching:
    """These accounts change a hundred times a second, for ten seconds; a quiet one after five."""
    watching = Watching(cost_s)
    pacer = Pacer(
        cast(Broadcast, watching),
        cast(Composer, watching),
        state=lambda: d.pipeline.state,
        clock=cast(Any, LoopClock()),
        right_of_way=RightOfWay(),
        report=fail,
    )
    task = asyncio.create_task(pacer.run())
    for step in range(1000):
        pacer.accounts_changed(range(1, accounts + 1))
        if step == 500:
            pacer.accounts_changed([quiet])
        pacer.wake()
        await asyncio.sleep(0.01)
    task.cancel()
    return watching


@in_virtual_time
@pytest.mark.parametrize(
    ("accounts", "cost_s", "sent"),
    [
        pytest.param(1, 0.0003, range(90, 102), id="one account, ten times a second"),
        pytest.param(10, 0.0003, range(25, 35), id="ten accounts, a hundredth of the time"),
        pytest.param(10, 0.01, range(16, 22), id="costly accounts, still twice a second"),
        pytest.param(1, 0.2, range(5, 7), id="thousands of orders, a tenth of the time"),
    ],
)
async def test_snapshots_are_paced_by_what_those_of_all_accounts_cost(
    desk: DeskMaker, accounts: int, cost_s: float, sent: range
) -> None:
    watching = await changing(desk(), accounts, cost_s, quiet=99)
    assert all(len(watching.sent_at[a]) in sent for a in range(1, accounts + 1))


@in_virtual_time
async def test_an_account_that_was_quiet_is_sent_at_once_beside_busy_ones(desk: DeskMaker) -> None:
    watching = await changing(desk(), 10, 0.01, quiet=99)
    (sent_at,) = watching.sent_at[99]
    assert 4.99 <= sent_at <= 5.12
