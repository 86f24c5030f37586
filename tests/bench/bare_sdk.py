"""The yardstick: the SDK alone, whose position callback closes at once over its own REST client.

It hears the same frames of the same accounts as the daemon does. It judges no more than it must to
know what to close: too many of one contract, a blocked one, too many in all.

Run as a program: base_url most_of_one most_in_all blocked_contract contract...
"""

import asyncio
import sys
from collections import defaultdict
from typing import Any

from bench.broker import ACCOUNTS
from project_x_py import ProjectX, ProjectXConfig, ProjectXRealtimeClient


async def main(
    base_url: str, most_of_one: int, most_in_all: int, blocked: str, contracts: list[str]
) -> None:
    config = ProjectXConfig(
        api_url=f"{base_url}/api",
        user_hub_url=f"{base_url}/hubs/user",
        market_hub_url=f"{base_url}/hubs/market",
        requests_per_minute=1_000_000,
    )
    held: defaultdict[int, dict[str, int]] = defaultdict(dict)
    async with ProjectX(username="bench", api_key="bench", config=config) as client:
        await client.authenticate()
        for account in ACCOUNTS:
            listed: Any = await client._make_request(
                "POST", "/Position/searchOpen", data={"accountId": account}
            )
            held[account] = {p["contractId"]: p["size"] for p in listed["positions"]}
        realtime = ProjectXRealtimeClient(
            jwt_token=client.session_token, account_id=str(ACCOUNTS[0]), config=config
        )
        realtime.stale_feed_seconds = 1e9

        async def close(account: int, contract: str) -> None:
            body = {"accountId": account, "contractId": contract}
            await client._make_request("POST", "/Position/closeContract", data=body)

        async def changed(payload: dict[str, Any]) -> None:
            position = payload.get("data", payload)
            account, contract, size = (position[k] for k in ("accountId", "contractId", "size"))
            book = held[account]
            book[contract] = size
            if size and (contract == blocked or size > most_of_one):
                await close(account, contract)
            elif size and sum(book.values()) > most_in_all:
                await asyncio.gather(*(close(account, c) for c, lots in book.items() if lots))

        await realtime.add_callback("position_update", changed)
        await realtime.connect()
        await realtime.subscribe_user_updates()
        await realtime.subscribe_market_data(contracts)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    base_url, one, in_all, blocked, *contracts = sys.argv[1:]
    asyncio.run(main(base_url, int(one), int(in_all), blocked, contracts))
