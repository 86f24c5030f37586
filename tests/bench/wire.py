"""Wire to wire: position frame sent -> close request received, beside the bare SDK.

The gateway is this process, the client a process of its own; both instants are read here.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.figures import line, p99

from risk_manager.practice.gateway import PracticeGateway

TESTS = str(Path(__file__).parent.parent)
CLOSE = "/Position/closeContract"
LOOK = "/Position/searchOpen"
ACCOUNT = 101
ROUNDS = 200
BETWEEN_S = 0.05
QUOTES_PER_S = 700


@contextlib.asynccontextmanager
async def client(*words: str, env: dict[str, str] | None = None) -> AsyncIterator[None]:
    """A client process, ready when it says so."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": TESTS, **(env or {})},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            async for said in process.stdout:
                if b"ready" in said or b"RUNNING" in said:
                    break
        reading = asyncio.create_task(process.stdout.read(), name="client output")
        yield
        reading.cancel()
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


def bare_sdk(
    gateway: PracticeGateway, contract_id: str
) -> contextlib.AbstractAsyncContextManager[None]:
    return client(
        "-m",
        "bench.bare_sdk",
        gateway.api_url,
        gateway.user_hub_url,
        gateway.market_hub_url,
        gateway.username,
        gateway.api_key,
        str(ACCOUNT),
        contract_id,
    )


def write_config(folder: Path, gateway: PracticeGateway, *, port: int = 0) -> None:
    """A configuration under which one contract is one too many."""
    (folder / "settings.yaml").write_text(
        "gateway:\n  kind: projectx\n"
        f"  api_url: {gateway.api_url}\n"
        f"  user_hub_url: {gateway.user_hub_url}\n"
        f"  market_hub_url: {gateway.market_hub_url}\n"
        f"feed: {{host: 127.0.0.1, port: {port}}}\n",
        encoding="utf-8",
    )
    (folder / "accounts.yaml").write_text(
        f"accounts: [{{id: {ACCOUNT}}}]\nunlisted: ignore\n", encoding="utf-8"
    )
    (folder / "risk_config.yaml").write_text(
        "version: 1\nrules:\n"
        "  - {rule: max_contracts, limit: 1, action: close_all}\n"
        "  - {rule: max_contracts_per_instrument, limits: {MNQ: 5}}\n"
        "  - {rule: daily_realized_loss, limit: 500}\n"
        "  - {rule: symbol_blocks, blocked: [BTC]}\n",
        encoding="utf-8",
    )


def daemon(gateway: PracticeGateway, folder: Path) -> contextlib.AbstractAsyncContextManager[None]:
    config = folder / "config"
    config.mkdir()
    write_config(config, gateway)
    env = {
        "PROJECT_X_USERNAME": gateway.username,
        "PROJECT_X_API_KEY": gateway.api_key,
        "XDG_STATE_HOME": str(folder / "user_state"),
    }
    return client("-m", "bench.guard", str(config), str(folder / "data"), env=env)


async def measure(gateway: PracticeGateway, contract_id: str, *, reads_back: bool) -> list[float]:
    """Microseconds from each breach frame to its close request.

    A client that reads back is given the time: until then no further close would be right.
    """
    found = []
    for number in range(ROUNDS + 20):
        position = {
            "id": 9_000_000 + number,
            "accountId": ACCOUNT,
            "contractId": contract_id,
            "creationTimestamp": gateway.now().isoformat(),
            "type": 1,
            "size": 2,
            "averagePrice": 21000.25,
        }
        sent = await gateway.send_user("position", position)
        request = await gateway.wait_for_request(CLOSE, after=sent, seconds=10)
        if number >= 20:
            found.append((request.at - sent) / 1000)
        await gateway.send_user("position", {**position, "size": 0})
        if reads_back:
            await gateway.wait_for_request(LOOK, after=request.at, seconds=10)
        await asyncio.sleep(BETWEEN_S)
    return found


async def quotes(gateway: PracticeGateway, contract_id: str) -> None:
    """About 700 quotes a second of one contract."""
    price = 21000.0
    while True:
        for _ in range(QUOTES_PER_S // 100):
            price += 0.25 if price < 21010 else -10
            quote = {
                "symbol": "F.US.MNQ",
                "lastPrice": price,
                "bestBid": price,
                "bestAsk": price + 0.25,
                "timestamp": gateway.now().isoformat(),
            }
            await gateway.send_market(contract_id, quote)
        await asyncio.sleep(0.01)


async def run() -> None:
    medians: dict[tuple[str, bool], float] = {}
    for loaded in (False, True):
        for who in ("bare SDK", "risk_manager"):
            async with PracticeGateway(rate_limit=None) as gateway:
                contract_id = gateway.exchange.contract_of("MNQ").id
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    running = (
                        bare_sdk(gateway, contract_id)
                        if who == "bare SDK"
                        else daemon(gateway, Path(folder))
                    )
                    async with running:
                        pump = asyncio.create_task(
                            quotes(gateway, contract_id) if loaded else asyncio.sleep(0),
                            name="quotes",
                        )
                        await asyncio.sleep(1.0)
                        found = await measure(
                            gateway, contract_id, reads_back=who == "risk_manager"
                        )
                        pump.cancel()
            medians[who, loaded] = sorted(found)[len(found) // 2]
            load = f"{QUOTES_PER_S} quotes/s" if loaded else "no quotes"
            line(f"breach frame -> close request, {who}, {load}", found, "us")
            if who == "risk_manager":
                ratio = medians[who, loaded] / medians["bare SDK", loaded]
                print(f"{'':<58} {ratio:.2f}x the bare SDK; p99 {p99(found) / 1000:.2f} ms")
