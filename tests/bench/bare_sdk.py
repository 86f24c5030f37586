"""The yardstick: the SDK alone, whose callback closes at once and decides nothing.

Run as a program: api_url user_hub_url market_hub_url username api_key account_id.
"""

import asyncio
import sys
from typing import Any

from project_x_py import ProjectX, ProjectXConfig, ProjectXRealtimeClient


async def main(
    api: str, user: str, market: str, name: str, key: str, account: int, contracts: list[str]
) -> None:
    config = ProjectXConfig(
        api_url=api, user_hub_url=user, market_hub_url=market, requests_per_minute=1_000_000
    )
    async with ProjectX(username=name, api_key=key, config=config) as client:
        await client.authenticate()
        realtime = ProjectXRealtimeClient(
            jwt_token=client.session_token, account_id=str(account), config=config
        )
        realtime.stale_feed_seconds = 1e9

        async def closed(payload: dict[str, Any]) -> None:
            position = payload.get("data", payload)
            if position["size"]:
                body = {"accountId": account, "contractId": position["contractId"]}
                await client._make_request("POST", "/Position/closeContract", data=body)

        await realtime.add_callback("position_update", closed)
        await realtime.connect()
        await realtime.subscribe_user_updates()
        await realtime.subscribe_market_data(contracts)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    api, user, market, name, key, account, *contracts = sys.argv[1:]
    asyncio.run(main(api, user, market, name, key, int(account), contracts))
