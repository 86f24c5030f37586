"""`python tests/kept NAME`: pack a data folder written by the daemon of today into NAME.tar.xz.

A folder once packed is never packed anew: it shows that what an older daemon wrote is still read.
Add another one when the form of what is written has changed.
"""

import argparse
import asyncio
import contextlib
import io
import os
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import time_machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from daemon_process import ACCOUNT, buy, lose, now, until

from risk_manager.daemon.daemon import Daemon
from risk_manager.domain.account import Account
from risk_manager.feed.client import AdminClient
from risk_manager.practice.assembly import practice_gateway
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderType, Side
from risk_manager.settings.loading import load

WRITTEN_AT = datetime(2025, 11, 19, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in New York
RULES = """\
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: max_contracts_per_instrument, limits: {NQ: 2}}
  - {rule: daily_realized_loss, limit: 50}
  - {rule: daily_unrealized_loss, limit: 300}
  - {rule: max_unrealized_profit, target: 600}
  - {rule: trade_frequency_limit, windows: [{name: minute, per: 1m, max: 40, cooldown: 1m}]}
  - {rule: cooldown_after_loss, tiers: [{loss: 30, cooldown: 10m}], shadow: true}
  - {rule: no_stop_loss_grace, grace: 30s, shadow: true}
  - rule: session_block_outside
    timezone: America/New_York
    sessions: [{days: [mon, tue, wed, thu, fri], start: "18:00", end: "16:59"}]
    shadow: true
  - {rule: auth_loss_guard}
  - {rule: symbol_blocks, blocked: [RTY]}
  - {rule: trade_management, breakeven: {enabled: true, trigger_ticks: 30, offset_ticks: 1}}
  - {rule: daily_profit_target, target: 2500}
  - {rule: consecutive_loss_limit, losses: 4, lockout: 15m}
"""
SETTINGS = "gateway: {kind: practice}\nfeed: {port: 0}\nlogging: {level: DEBUG}\n"
PACKED = (
    "config", "data/state.db", "data/state.marker", "data/audit.head", "data/limits.json",
    "data/journal",
)  # fmt: skip


def write_config(folder: Path) -> Path:
    """The three files an operator writes."""
    config = folder / "config"
    config.mkdir()
    (config / "settings.yaml").write_text(SETTINGS, encoding="utf-8")
    (config / "accounts.yaml").write_text(
        "accounts: [{id: 101}, {id: 102}]\nunlisted: ignore\n", encoding="utf-8"
    )
    (config / "risk_config.yaml").write_text(RULES, encoding="utf-8")
    return config


async def trade(folder: Path) -> None:
    """A short morning in two lives of the daemon, which ends with locks and an open position."""
    config = write_config(folder)
    exchange: Any = practice_gateway(market=False).exchange
    for contract in exchange.contracts.values():
        exchange.move_price(contract.id, contract.product.start_price, now=now())
    async with guarded(folder, exchange) as daemon:

        def account(account_id: int) -> Account:
            return daemon.parts.pipeline.state.accounts[account_id]

        buy(exchange, "MNQ", 1, account=102)
        await until(lambda: account(102).positions, "102 holds")
        buy(exchange, "RTY", 1, account=102)
        await until(lambda: not exchange.net(102, exchange.contract_of("RTY").id), "RTY closed")
        lose(exchange, "MNQ", 1, 120)
        await until(lambda: account(ACCOUNT).locks, "101 is locked")
    async with guarded(folder, exchange) as daemon:
        buy(exchange, "MES", 1, account=102)
        exchange.order_entry.place(
            102, exchange.contract_of("MES").id, Side.SELL, 1,
            type=OrderType.STOP, stop_price=Decimal(6000), now=now(),
        )  # fmt: skip
        await until(lambda: daemon.parts.pipeline.state.accounts[102].orders, "102 has a stop")
        async with AdminClient.connect(folder / "data") as admin:
            await admin.call(
                "set_lockout",
                {
                    "account_id": 102, "scope": "root:ES", "policy": "no_entries",
                    "reason": "enough of it",
                },
            )  # fmt: skip
            rules = RULES.replace("max_contracts, limit: 5", "max_contracts, limit: 4")
            (config / "risk_config.yaml").write_text(rules, encoding="utf-8")
            await admin.call("reload_config")


@contextlib.asynccontextmanager
async def guarded(folder: Path, exchange: Any) -> AsyncIterator[Daemon]:
    """The daemon of today at this exchange, from RUNNING to a clean stop."""
    daemon = Daemon(
        load(folder / "config"), folder / "data", gateway=PracticeGateway(exchange), console=False
    )
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    await until(daemon.running.is_set, "RUNNING")
    yield daemon
    await asyncio.sleep(3.0)  # it reads back, and quotes and ticks come into the journal
    stop.set()
    assert await running == 0


def pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:xz") as packed:
        for name in PACKED:
            for path in sorted([folder / name, *(folder / name).rglob("*")]):
                if path.is_file() and path.suffix != ".lock":
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                    entry.size, entry.mtime = len(content), int(WRITTEN_AT.timestamp())
                    packed.addfile(entry, io.BytesIO(content))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/kept", description=__doc__)
    parser.add_argument("name")
    archive = Path(__file__).absolute().parent / f"{parser.parse_args().name}.tar.xz"
    if archive.exists():
        parser.error(f"{archive.name} is there, and stays as it is")
    with tempfile.TemporaryDirectory() as made, time_machine.travel(WRITTEN_AT, tick=True):
        os.environ["XDG_STATE_HOME"] = str(Path(made) / "user")
        os.chdir(made)  # no path of this machine is written down
        asyncio.run(trade(Path()))
        pack(Path(), archive)
        os.chdir(archive.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
