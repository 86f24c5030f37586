"""An answer may say much in few bytes: what is unpacked has a limit."""

import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from project_x_py.exceptions import ProjectXConnectionError
from pydantic import SecretStr

from risk_manager.broker import answer_size
from risk_manager.broker.session import GatewayAddress, ask_once, build_client

pytestmark = pytest.mark.wire
MB = 1024 * 1024


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        size = int((await request.json())["size"])
        text = b'{"orders": [], "filling": "' + b" " * size + b'"}'
        return web.Response(
            body=gzip.compress(text, 1),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )

    app = web.Application()
    app.router.add_post("/api/Order/searchOpen", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_an_answer_that_unpacks_to_more_than_anyone_needs_is_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6.7: An answer is capped by what it unpacks to, and one below that is read whole."""
    monkeypatch.setattr(answer_size, "LARGEST_ANSWER_BYTES", 4 * MB)
    address = GatewayAddress(
        kind="practice",
        api_url=f"{url}/api",
        user_hub_url=f"{url}/hubs/user",
        market_hub_url=f"{url}/hubs/market",
        username="trader",
        api_key=SecretStr("a-key"),
    )
    client = build_client(address, 5)
    async with client:
        whole = await ask_once(client, "/Order/searchOpen", {"size": 3 * MB})
        assert len(whole["filling"]) == 3 * MB
        with pytest.raises(ProjectXConnectionError, match="larger than 4 MB"):
            await ask_once(client, "/Order/searchOpen", {"size": 50 * MB})
        again = await ask_once(client, "/Order/searchOpen", {"size": 1})
        assert again["orders"] == []
