"""A practice gateway with its usual parts, and one that serves until it is stopped."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from risk_manager.practice.control import control_routes
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import DEFAULT_USERNAME, PracticeGateway, system_clock
from risk_manager.practice.market import Market
from risk_manager.practice.products import contracts_on
from risk_manager.practice.trader import ExchangeHands, Trader

IDS_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 7,
    speed: float = 1.0,
    username: str = DEFAULT_USERNAME,
    api_key: str | None = None,
    control_token: str | None = None,
    trader_account: int | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Run a gateway with a seeded market until cancelled, announcing its URLs line by line.

    With `trader_account` the scripted trader works in that account. Raises OSError when the port
    is taken.
    """
    gateway = practice_gateway(
        host=host,
        port=port,
        seed=seed,
        speed=speed,
        username=username,
        api_key=api_key,
        control_token=control_token,
        trader_account=trader_account,
    )
    async with gateway:
        announce(f"api_url: {gateway.api_url}")
        announce(f"user_hub_url: {gateway.user_hub_url}")
        announce(f"market_hub_url: {gateway.market_hub_url}")
        announce(f"username: {gateway.username}")
        announce(f"api_key: {gateway.api_key}")
        await asyncio.Event().wait()


def practice_gateway(
    *,
    seed: int = 7,
    speed: float = 1.0,
    trader_account: int | None = None,
    market: bool = True,
    clock: Callable[[], datetime] = system_clock,
    control_token: str | None = None,
    **options: Any,
) -> PracticeGateway:
    """A gateway with the usual parts: today's contracts, a seeded market, perhaps the trader.

    Ids start from the clock, so that a guard which kept the last run's trades does not take this
    run's for the same ones. With `control_token` it serves the
    control verbs too. `options` are those of `PracticeGateway`.
    """
    now = clock()
    exchange = Exchange(
        contracts=contracts_on(now.date()),
        first_id=max(0, int((now - IDS_BEGAN).total_seconds())) * 10,
    )
    prices = Market(exchange, seed) if market else None
    trader = None
    if trader_account is not None:
        trader = Trader(ExchangeHands(exchange, trader_account, prices))
    routes = None if control_token is None else control_routes(control_token)
    return PracticeGateway(
        exchange, prices, trader, speed=speed, clock=clock, routes=routes, **options
    )
