"""The real daemon as a process over a practice gateway, without its request budget: we breach far
too often for that.

Run as a program: config data.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from bench.clients import process

from risk_manager.broker.request_budget import Limits
from risk_manager.daemon.daemon import Daemon
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load

ACCOUNT = 101
NO_LIMIT = Limits(reads=1_000_000, looks=1_000_000, reads_and_looks=1_000_000)
RULES = """
version: 1
rules:
  - {rule: max_contracts, limit: 1, action: close_all}
  - {rule: max_contracts_per_instrument, limits: {MNQ: 5}}
  - {rule: daily_realized_loss, limit: 500}
  - {rule: symbol_blocks, blocked: [BTC]}
"""


@contextlib.asynccontextmanager
async def daemon(gateway: PracticeGateway, folder: Path) -> AsyncIterator[None]:
    """Under rules by which one contract is one too many, from RUNNING to the end of the block."""
    config = folder / "config"
    config.mkdir()
    (config / "settings.yaml").write_text(
        "gateway:\n  kind: projectx\n"
        f"  api_url: {gateway.api_url}\n"
        f"  user_hub_url: {gateway.user_hub_url}\n"
        f"  market_hub_url: {gateway.market_hub_url}\n"
        "feed: {port: 0}\n",
        encoding="utf-8",
    )
    (config / "accounts.yaml").write_text(
        f"accounts: [{{id: {ACCOUNT}}}]\nunlisted: ignore\n", encoding="utf-8"
    )
    (config / "risk_config.yaml").write_text(RULES, encoding="utf-8")
    env = {
        "PROJECT_X_USERNAME": gateway.username,
        "PROJECT_X_API_KEY": gateway.api_key,
        "XDG_STATE_HOME": str(folder / "user_state"),
    }
    words = ("-m", "torture.guarded_daemon", str(config), str(folder / "data"))
    async with process(*words, ready="RUNNING", errors=folder / "daemon.txt", env=env):
        yield


async def main(config: Path, data: Path) -> None:
    guard = Daemon(
        load(config), data, limits=NO_LIMIT, announce=lambda line: print(line, flush=True)
    )
    await guard.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
