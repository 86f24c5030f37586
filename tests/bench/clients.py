"""The two programs that are measured, each against a gateway of its own: daemon and bare SDK."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from bench.broker import ACCOUNTS, BLOCKED, BREACHED, CONTRACT_IDS, ROOTS, Broker

TESTS = Path(__file__).parent.parent
MOST_OF_ONE, MOST_IN_ALL = 5, 10
ALL_RULES = f"""
version: 1
rules:
  - {{rule: max_contracts, limit: {MOST_IN_ALL}, action: close_all}}
  - rule: max_contracts_per_instrument
    limits: {{{BREACHED}: {MOST_OF_ONE}, MES: 5, M2K: 5, MCL: 5, MGC: 5}}
    action: close_position
  - {{rule: daily_realized_loss, limit: 500}}
  - {{rule: daily_unrealized_loss, limit: 300}}
  - {{rule: max_unrealized_profit, target: 1000}}
  - rule: trade_frequency_limit
    windows: [{{name: hour, per: 1h, max: 100000, cooldown: 30m}}]
  - {{rule: cooldown_after_loss, tiers: [{{loss: 100, cooldown: 5m}}]}}
  - {{rule: no_stop_loss_grace, grace: 30s}}
  - rule: session_block_outside
    timezone: America/Chicago
    respect_holidays: false
    sessions:
      - {{days: [mon, tue, wed, thu, fri, sat, sun], start: "00:00", end: "24:00"}}
  - {{rule: auth_loss_guard}}
  - {{rule: symbol_blocks, blocked: [{BLOCKED}]}}
  - rule: trade_management
    enabled: true
    breakeven: {{enabled: true, trigger_ticks: 1000, offset_ticks: 1}}
    trailing: {{enabled: false}}
  - {{rule: daily_profit_target, target: 5000}}
  - {{rule: consecutive_loss_limit, losses: 5, lockout: 1h}}
  - {{rule: trailing_max_drawdown, start_balance: 50000, distance: 20000}}
  - {{rule: trailing_daily_loss, limit: 20000, trail: realized}}
  - {{rule: period_loss, limit: 20000}}
  - {{rule: scaling_plan, tiers: [{{max: 100}}]}}
  - {{rule: giveback, arm_at: 5000, fraction: 0.9}}
  - {{rule: consistency, since: 2026-11-01}}
"""


@dataclass(frozen=True, slots=True)
class Client:
    """A client process, and the gateway it is connected to."""

    broker: Broker
    process: psutil.Process
    data: Path
    is_ours: bool

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss) / 2**20

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextlib.asynccontextmanager
async def process(
    *words: str, ready: str, errors: Path, env: dict[str, str] | None = None
) -> AsyncIterator[psutil.Process]:
    """A Python process, from when it says that it is ready to the end of the block."""
    with errors.open("wb") as told:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdout=asyncio.subprocess.PIPE,
            stderr=told,
            env={**os.environ, "PYTHONPATH": str(TESTS), **(env or {})},
        )
    assert child.stdout is not None
    reading = None
    try:
        async with asyncio.timeout(60):
            async for said in child.stdout:
                if ready.encode() in said:
                    break
            else:
                raise RuntimeError(f"{words} ended: {_last_words(errors)}")
        reading = asyncio.create_task(child.stdout.read(), name="client output")
        yield psutil.Process(child.pid)
    finally:
        if reading is not None:
            reading.cancel()
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        async with asyncio.timeout(30):
            await child.wait()


def _last_words(errors: Path) -> str:
    return errors.read_text(errors="replace")[-2000:]


@contextlib.asynccontextmanager
async def bare_sdk(folder: Path) -> AsyncIterator[Client]:
    async with Broker() as broker:
        words = (
            *("-m", "bench.bare_sdk"),
            broker.base_url,
            str(MOST_OF_ONE),
            str(MOST_IN_ALL),
            CONTRACT_IDS[BLOCKED],
            *(CONTRACT_IDS[root] for root in ROOTS),
        )
        async with process(*words, ready="ready", errors=folder / "bare.txt") as running:
            yield Client(broker, running, folder, is_ours=False)


@contextlib.asynccontextmanager
async def daemon(folder: Path, *, collecting: bool = False) -> AsyncIterator[Client]:
    """`python -m risk_manager run`, as anybody runs it, over ten accounts and all rules."""
    async with Broker() as broker:
        config, data = folder / "config", folder / "data"
        config.mkdir()
        write_config(config, broker)
        words = (
            *("-m", *(["bench.collecting"] if collecting else []), "risk_manager", "run"),
            *("--config", str(config), "--data", str(data)),
        )
        env = {
            "PROJECT_X_USERNAME": "bench",
            "PROJECT_X_API_KEY": "bench",
            "XDG_STATE_HOME": str(folder / "user_state"),
        }
        errors = folder / "daemon.txt"
        async with process(*words, ready="RUNNING", errors=errors, env=env) as running:
            yield Client(broker, running, data, is_ours=True)


def write_config(folder: Path, broker: Broker) -> None:
    (folder / "settings.yaml").write_text(
        "gateway:\n  kind: projectx\n"
        f"  api_url: {broker.base_url}/api\n"
        f"  user_hub_url: {broker.base_url}/hubs/user\n"
        f"  market_hub_url: {broker.base_url}/hubs/market\n"
        "feed: {port: 0}\n",
        encoding="utf-8",
    )
    listed = ", ".join(f"{{id: {account}}}" for account in ACCOUNTS)
    (folder / "accounts.yaml").write_text(
        f"accounts: [{listed}]\nunlisted: ignore\n", encoding="utf-8"
    )
    (folder / "risk_config.yaml").write_text(ALL_RULES, encoding="utf-8")


@contextlib.asynccontextmanager
async def feed_clients(folder: Path, clients: int) -> AsyncIterator[None]:
    """So many screens attached to a daemon, in one process of their own."""
    words = ("-m", "bench.feed", str(folder), str(clients))
    async with process(*words, ready="all up", errors=folder / "feed.txt"):
        yield
