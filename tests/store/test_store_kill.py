"""A process killed at any moment: whatever it acknowledged is still there."""

import subprocess
import sys
from pathlib import Path

import pytest
from desk import MORNING
from stored_desk import at

from risk_manager.domain.rulebook import Rulebook
from risk_manager.store.store import verify_audit

CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stored_desk import at, opened, stored_desk

async def main():
    async with at(Path(sys.argv[1])) as store:
        desk = await opened(
            stored_desk(store, max_contracts={"limit": 2}, daily_realized_loss={"limit": 500})
        )
        for number in range(1, 10_000):
            await desk.position("MNQ", number % 5 + 1)
            await desk.loss(60, trade_id=number)
            print(number, len(desk.pipeline.state.accounts[101].locks), flush=True)

asyncio.run(main())
"""


@pytest.mark.wire
@pytest.mark.parametrize("acknowledged", [1, 7, 9, 23])
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, acknowledged: int
) -> None:
    last, locks = _killed_after(tmp_path, acknowledged)
    async with at(tmp_path) as store:
        assert store.opened_as.is_trusted
        assert store.last_clean_stop is None
        found = (await store.restore(Rulebook(), MORNING)).accounts[101]
        assert set(range(1, last + 1)) <= set(found.ledger.entries)
        assert found.ledger.day(MORNING.date()).net == -60 * len(found.ledger.entries)
        assert len(found.locks) >= locks
        assert bool(found.locks) == (len(found.ledger.entries) * 60 >= 500)
        assert verify_audit(store.path) is None


def _killed_after(folder: Path, lines: int) -> tuple[int, int]:
    """The last trade the child acknowledged before it was killed, and its locks then."""
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(tests)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        heard = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        heard += child.stdout.readlines()
    whole = [line.split() for line in heard if line.endswith("\n")]
    return int(whole[-1][0]), int(whole[-1][1])
