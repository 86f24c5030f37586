"""What an older daemon wrote is still read: its database, its journal, the names in both.

The folder was packed by `python tests/kept first`, on a Wednesday at 10:00 in New York.
"""

import asyncio
import json
import subprocess
import sys
import tarfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import time_machine
from daemon_process import buy, now, until
from stored_desk import StoppedClock, at

from risk_manager.daemon.daemon import Daemon
from risk_manager.practice.assembly import practice_gateway
from risk_manager.settings.loading import load
from risk_manager.store import serialization
from risk_manager.store.recorded_days import replay
from risk_manager.store.store import verify_audit

HERE = Path(__file__).parent
DAY = date(2025, 11, 19)
LATER = datetime(2025, 11, 19, 15, 5, tzinfo=UTC)
MNQ, MES = "CON.F.US.MNQ.Z25", "CON.F.US.MES.Z25"
LOCKS = {
    (101, "account", "daily_realized_loss"),
    (102, "root:RTY", "symbol_blocks"),
    (102, "root:ES", "manual"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(HERE / "first.tar.xz") as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def admin(folder: Path, *words: str) -> Any:
    """What a verb says of the folder, as another process."""
    done = subprocess.run(
        (
            *(sys.executable, "-m", "risk_manager", "admin", *words),
            *("--data", str(folder / "data"), "--json"),
        ),
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


async def test_the_store_restores_locks_positions_orders_and_trades(folder: Path) -> None:
    book = load(folder / "config").rulebook()
    async with at(folder / "data", clock=StoppedClock(LATER)) as store:
        assert store.opened_as.is_trusted
        assert store.last_clean_stop is not None
        state = await store.restore(book, LATER)
    assert {(a.id, *key) for a in state.accounts.values() for key in a.locks} == LOCKS
    held = {p.contract_id: (p.net, p.average_price) for p in state.accounts[102].positions.values()}
    assert held == {MNQ: (1, Decimal("24800.25")), MES: (1, Decimal("6700.25"))}
    assert [o.stop_price for o in state.accounts[102].orders.values()] == [Decimal("6000.0")]
    today = state.accounts[101].ledger.day(DAY)
    assert (today.net, today.executions) == (Decimal("-61.24"), 2)
    assert verify_audit(folder / "data" / "state.db") is None


def test_the_day_is_judged_again_as_it_was(folder: Path) -> None:
    done = replay(folder / "data" / "state.db", DAY)
    assert (done.runs, done.events, done.missing, done.dropped) == (2, 71, 0, 0)
    assert done.state is not None
    assert {(a.id, *key) for a in done.state.accounts.values() for key in a.locks} == LOCKS
    told = admin(folder, "journal", "replay", DAY.isoformat())
    assert told == json.loads((HERE / "first.replay.json").read_text("utf-8"))
    assert told["not_in_the_record"] == []


@pytest.mark.wire
async def test_a_daemon_goes_on_from_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "user"))
    with time_machine.travel(LATER, tick=True):
        gateway = practice_gateway(market=False)
        for contract in gateway.exchange.contracts.values():
            gateway.exchange.move_price(contract.id, contract.product.start_price, now=now())
        buy(gateway.exchange, "MNQ", 1, account=102)
        daemon = Daemon(load(folder / "config"), folder / "data", gateway=gateway, console=False)
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(stop))
        await until(daemon.running.is_set, "RUNNING")
        assert daemon.parts.store.opened_as.is_trusted
        accounts = daemon.parts.pipeline.state.accounts
        assert {(a.id, *key) for a in accounts.values() for key in a.locks} >= LOCKS
        assert daemon.parts.pipeline.state.day.ends_at > LATER + timedelta(hours=1)
        stop.set()
        assert await running == 0
    assert verify_audit(folder / "data" / "state.db") is None
    done = replay(folder / "data" / "state.db", DAY)
    assert (done.runs, done.missing) == (3, 0)


@pytest.mark.parametrize("name", (HERE / "stored_names.txt").read_text("utf-8").split())
def test_a_name_that_was_once_written_is_still_read(name: str) -> None:
    """Journals of the last days hold the class and module of each value."""
    assert isinstance(serialization.class_named(name, object), type)
