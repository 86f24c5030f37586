"""A practice gateway and the unmodified SDK connected to it, for the wire tests."""

from collections.abc import AsyncIterator

import pytest
from project_x_py import ProjectX, ProjectXConfig
from project_x_py.realtime import ProjectXRealtimeClient

from risk_manager.practice.control import control_routes
from risk_manager.practice.gateway import PracticeGateway


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with PracticeGateway(routes=control_routes("test-control")) as running:
        yield running


@pytest.fixture
async def client(gateway: PracticeGateway) -> AsyncIterator[ProjectX]:
    config = ProjectXConfig(
        api_url=gateway.api_url,
        user_hub_url=gateway.user_hub_url,
        market_hub_url=gateway.market_hub_url,
        timeout_seconds=3,
        requests_per_minute=6000,
    )
    sdk = ProjectX(gateway.username, gateway.api_key, config=config)
    async with sdk:
        await sdk.authenticate()
        yield sdk


@pytest.fixture
async def realtime(
    gateway: PracticeGateway, client: ProjectX
) -> AsyncIterator[ProjectXRealtimeClient]:
    account = client.account_info
    assert account is not None
    hubs = ProjectXRealtimeClient(
        client.session_token,
        str(account.id),
        user_hub_url=gateway.user_hub_url,
        market_hub_url=gateway.market_hub_url,
    )
    hubs.stale_feed_seconds = 1e9
    assert await hubs.connect()
    yield hubs
    await hubs.disconnect()
