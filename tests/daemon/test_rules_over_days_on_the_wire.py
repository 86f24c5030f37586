"""The rules over days in the real daemon against the real protocol: an account for each."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from daemon_process import DaemonProcess, buy, day_net, lose, now, still_gateway, until

from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account, Side

pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="module")]

ACCOUNTS = {
    "trailing_max_drawdown": 301,
    "trailing_daily_loss": 302,
    "period_loss": 303,
    "scaling_plan": 304,
    "giveback": 305,
    "consistency": 306,
}
A_WEEK = timedelta(days=7)


def rulebook(since: datetime) -> str:
    limits = {
        "trailing_max_drawdown": "start_balance: 50000, distance: 500",
        "trailing_daily_loss": "limit: 300",
        "period_loss": "period: month, limit: 500",
        "scaling_plan": "tiers: [{max: 1}, {min_balance: 50000, max: 2}, {min_balance: 60000, "
        "max: 3}]",
        "giveback": "arm_at: 200, fraction: 0.5",
        "consistency": f"since: {TradingDay().date_of(since)}, enforce: true",
    }
    assert limits.keys() == ACCOUNTS.keys()
    entries = [
        f"  - {{rule: {name}, accounts: [{ACCOUNTS[name]}], {fields}}}\n"
        for name, fields in limits.items()
    ]
    return "version: 1\nrules:\n" + "".join(entries)


class Desk:
    """The daemon, the exchange, and the account of one rule."""

    def __init__(self, daemon: DaemonProcess, exchange: Exchange) -> None:
        self.daemon = daemon
        self.exchange = exchange

    def net(self, rule: str, root: str) -> int:
        return self.exchange.net(ACCOUNTS[rule], self.exchange.contract_of(root).id)

    def buy(self, rule: str, root: str, size: int) -> None:
        buy(self.exchange, root, size, account=ACCOUNTS[rule])

    def win(self, rule: str, ticks: int) -> None:
        """Five MES over so many ticks, at 1.25 each; a loss if negative."""
        lose(self.exchange, "MES", 5, -ticks, account=ACCOUNTS[rule])

    async def shown(self, rule: str, is_so: Callable[[dict[str, Any]], bool], what: str) -> None:
        """The meter of the rule is shown like this."""

        def is_shown(account: dict[str, Any]) -> bool:
            return any(is_so(m) for m in account["meters"] if m["rule_id"] == rule)

        await self.daemon.until_account(is_shown, what, account_id=ACCOUNTS[rule])

    async def ended(self, rule: str) -> None:
        """Everything is closed, the account is locked by this rule, and a new order dies."""
        account = ACCOUNTS[rule]
        await until(lambda: self.exchange.is_flat(account), f"{rule}: everything is closed")
        await self.daemon.until_account(
            lambda a: any((x["rule_id"], x["policy"]) == (rule, "flat") for x in a["locks"]),
            f"{rule} locks",
            account_id=account,
        )
        self.buy(rule, "MES", 1)
        await until(lambda: self.exchange.is_flat(account), f"{rule}: an order after it dies")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    exchange = Exchange([Account(i, r) for r, i in ACCOUNTS.items()], contracts_on(now().date()))
    a_week_ago = now() - A_WEEK
    consistent, contract = ACCOUNTS["consistency"], exchange.contract_of("MES")
    for side in (Side.BUY, Side.SELL):
        order = exchange.order_entry.place(consistent, contract.id, side, 5, now=a_week_ago)
        assert isinstance(order, int), order
        price = exchange.book(contract.id).last + 40 * contract.tick_size
        exchange.move_price(contract.id, price, now=a_week_ago)
    listed = ", ".join(f"{{id: {i}}}" for i in ACCOUNTS.values())
    async with still_gateway(exchange=exchange) as gateway:
        daemon = prepared(tmp_path_factory, gateway, listed, a_week_ago)
        async with daemon.running():
            yield Desk(daemon, exchange)
            assert not [line for line in daemon.said if "rule_failed" in line]


def prepared(
    folders: pytest.TempPathFactory, gateway: PracticeGateway, listed: str, since: datetime
) -> DaemonProcess:
    return DaemonProcess(
        folders.mktemp("over_days"), rules=rulebook(since), accounts=f"accounts: [{listed}]"
    ).point_at(gateway)


async def test_extra_001_the_floor_of_the_account_ends_it(desk: Desk) -> None:
    rule = "trailing_max_drawdown"
    await desk.shown(rule, lambda m: "today $49,500.00" in m["sentence"], "the floor is known")
    desk.buy(rule, "MGC", 1)
    desk.win(rule, -90)
    await desk.ended(rule)


async def test_extra_002_a_fall_from_the_best_of_the_day_ends_it(desk: Desk) -> None:
    rule = "trailing_daily_loss"
    desk.win(rule, 60)
    await desk.shown(rule, lambda m: "the day's best is $3" in m["sentence"], "the best is known")
    desk.buy(rule, "MGC", 1)
    desk.win(rule, -55)
    await desk.ended(rule)
    assert day_net(desk.exchange, ACCOUNTS[rule]) > -300


async def test_extra_003_the_loss_of_the_month_ends_it(desk: Desk) -> None:
    rule = "period_loss"
    desk.buy(rule, "MGC", 1)
    desk.win(rule, -90)
    await desk.ended(rule)


async def test_extra_006_the_tier_of_the_balance_counts(desk: Desk) -> None:
    rule = "scaling_plan"
    await desk.shown(rule, lambda m: m["limit"] == 20, "the tier is known")
    desk.buy(rule, "ES", 2)
    desk.buy(rule, "MES", 1)
    await until(lambda: desk.net(rule, "MES") == 0, "what is above two minis is closed")
    assert desk.net(rule, "ES") == 2


async def test_extra_007_half_of_the_profit_given_back_ends_the_day(desk: Desk) -> None:
    rule = "giveback"
    desk.win(rule, 60)
    await desk.shown(rule, lambda m: "armed: " in m["sentence"], "it is armed")
    desk.win(rule, -35)
    await desk.ended(rule)
    assert day_net(desk.exchange, ACCOUNTS[rule]) > 0


async def test_extra_012_the_day_of_a_week_ago_is_read_and_today_makes_no_more(desk: Desk) -> None:
    rule = "consistency"
    await desk.shown(rule, lambda m: 200 < float(m["limit"] or 0) < 250, "the other days are read")
    desk.win(rule, 50)
    await desk.ended(rule)
