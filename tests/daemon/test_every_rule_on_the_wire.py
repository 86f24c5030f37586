"""Every rule once, in the real daemon against the real protocol: an account for each rule."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from daemon_process import DaemonProcess, buy, day_net, lose, now, still_gateway, until

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account, Bracket, OrderType, Side

# A daemon serves many tests: each trades in the account of its own rule. There are three, as the
# gateway allows a login only so many requests a minute.
pytestmark = [pytest.mark.wire, pytest.mark.asyncio(loop_scope="module")]

ACCOUNTS = {
    "max_contracts": 201,
    "max_contracts_per_instrument": 202,
    "daily_realized_loss": 203,
    "daily_unrealized_loss": 204,
    "max_unrealized_profit": 205,
    "trade_frequency_limit": 206,
    "cooldown_after_loss": 207,
    "no_stop_loss_grace": 208,
    "session_block_outside": 209,
    "auth_loss_guard": 210,
    "symbol_blocks": 211,
    "trade_management": 212,
    "daily_profit_target": 213,
    "consecutive_loss_limit": 214,
    "max_risk_at_entry": 221,
    "no_averaging_down": 222,
    "stop_guard": 223,
    "size_after_loss": 224,
    "reentry_delay": 225,
}


def rulebook(rules: Iterable[str]) -> str:
    weekday = f"{now() + timedelta(days=3):%a}".lower()
    limits = {
        "max_contracts": "limit: 5",
        "max_contracts_per_instrument": "limits: {MNQ: 2, ES: 1}",
        "daily_realized_loss": "limit: 500",
        "daily_unrealized_loss": "limit: 100",
        "max_unrealized_profit": "target: 100",
        "trade_frequency_limit": "windows: [{per: 10m, max: 1, cooldown: 1h}]",
        "cooldown_after_loss": "tiers: [{loss: 50, cooldown: 1h}]",
        "no_stop_loss_grace": "grace: 1s, rearm_grace: 1s",
        # Open for a minute three days from now: outside, whenever the test runs.
        "session_block_outside": "timezone: UTC, respect_holidays: false, "
        f'sessions: [{{days: [{weekday}], start: "12:00", end: "12:01"}}]',
        "auth_loss_guard": "can_trade: {confirm: 1s}",
        "symbol_blocks": "blocked: [RTY]",
        "trade_management": "enabled: true, trailing: {enabled: false}",
        "daily_profit_target": "target: 100",
        "consecutive_loss_limit": "losses: 2",
        "max_risk_at_entry": "limit: 200, grace: 0s",
        "no_averaging_down": "tolerance: 0",
        "stop_guard": "grace: 1s",
        "size_after_loss": "factor: 1",
        "reentry_delay": "delay: 1h",
    }
    assert limits.keys() == ACCOUNTS.keys()
    entries = [
        f"  - {{rule: {name}, accounts: [{ACCOUNTS[name]}], {fields}}}\n"
        for name, fields in limits.items()
        if name in rules
    ]
    return "version: 1\nrules:\n" + "".join(entries)


class Desk:
    """The daemon, the exchange, and the account of one rule."""

    def __init__(self, daemon: DaemonProcess, gateway: PracticeGateway) -> None:
        self.daemon = daemon
        self.exchange: Exchange = gateway.exchange

    def id(self, root: str) -> str:
        return self.exchange.contract_of(root).id

    def net(self, rule: str, root: str) -> int:
        return self.exchange.net(ACCOUNTS[rule], self.id(root))

    def buy(self, rule: str, root: str, size: int, *, stop_ticks: int | None = None) -> None:
        if stop_ticks is None:
            buy(self.exchange, root, size, account=ACCOUNTS[rule])
            return
        stop = Bracket(stop_ticks, OrderType.STOP)
        order = self.exchange.order_entry.place(
            ACCOUNTS[rule], self.id(root), Side.BUY, size, now=now(), stop_loss=stop
        )
        assert isinstance(order, int), order

    def lose(self, rule: str, root: str, size: int, ticks: int) -> None:
        """A closed trade; a negative loss is a profit."""
        lose(self.exchange, root, size, ticks, account=ACCOUNTS[rule])

    async def quoted(self, root: str, ticks: int, condition: Callable[[], Any], what: str) -> None:
        """The price goes so many ticks away, and is quoted there until something is so.

        The daemon subscribes to a contract when it hears that it is held, not before.
        """
        contract = self.exchange.contract_of(root)
        price = self.exchange.book(contract.id).last + ticks * contract.tick_size
        volumes = iter(range(1, 10_000))

        def quote_again() -> Any:
            if condition():
                return True
            self.exchange.move_price(contract.id, price, now=now(), volume=next(volumes) % 2)
            return False

        await until(quote_again, what)

    async def locked(self, rule: str, policy: str) -> None:
        """The account is shown locked by this rule."""

        def is_locked(account: dict[str, Any]) -> bool:
            return any((x["rule_id"], x["policy"]) == (rule, policy) for x in account["locks"])

        await self.daemon.until_account(is_locked, f"{rule} locks", account_id=ACCOUNTS[rule])

    async def told(self, rule: str) -> None:
        """The decision of this rule is shown, and none of another: this is its account."""

        def is_told(account: dict[str, Any]) -> bool:
            decided = [x for x in account["enforcements"] if x["phase"] == "decided"]
            assert {r for x in decided for r in x["rule_ids"]} <= {rule}
            return bool(decided)

        await self.daemon.until_account(is_told, f"{rule} decides", account_id=ACCOUNTS[rule])


@asynccontextmanager
async def guarded(folder: Path, rules: list[str]) -> AsyncIterator[Desk]:
    """A daemon that guards the accounts of these rules."""
    exchange = Exchange([Account(ACCOUNTS[r], r) for r in rules], contracts_on(now().date()))
    listed = ", ".join(f"{{id: {ACCOUNTS[r]}}}" for r in rules)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(
            folder, rules=rulebook(rules), accounts=f"accounts: [{listed}]"
        ).point_at(gateway)
        async with daemon.running():
            yield Desk(daemon, gateway)
            assert not [line for line in daemon.said if "rule_failed" in line]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with guarded(tmp_path_factory.mktemp("first"), list(ACCOUNTS)[:7]) as desk:
        yield desk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with guarded(tmp_path_factory.mktemp("second"), list(ACCOUNTS)[7:14]) as desk:
        yield desk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def third_desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with guarded(tmp_path_factory.mktemp("third"), list(ACCOUNTS)[14:]) as desk:
        yield desk


async def test_rule_001_too_many_contracts_are_cut_back(desk: Desk) -> None:
    rule = "max_contracts"
    desk.buy(rule, "MNQ", 3)
    desk.buy(rule, "MES", 3)
    await until(lambda: desk.net(rule, "MES") == 2, "cut back to 5 together")
    assert desk.net(rule, "MNQ") == 3
    await desk.told(rule)


async def test_rule_002_too_many_of_one_product_are_cut_back_with_their_stop(desk: Desk) -> None:
    rule = "max_contracts_per_instrument"
    desk.buy(rule, "ES", 1)
    desk.buy(rule, "MNQ", 3, stop_ticks=40)
    await until(lambda: desk.net(rule, "MNQ") == 2, "cut back to 2")

    def stops() -> list[int]:
        return [o.remaining for o in desk.exchange.working_orders(ACCOUNTS[rule])]

    await until(lambda: stops() == [2], "the stop is cut back, too")
    assert desk.net(rule, "ES") == 1
    await desk.told(rule)


async def test_rule_003_the_loss_of_the_day_ends_it(desk: Desk) -> None:
    rule = "daily_realized_loss"
    desk.buy(rule, "MGC", 1)
    desk.lose(rule, "MES", 5, 80)
    await until(lambda: desk.exchange.is_flat(ACCOUNTS[rule]), "everything is closed")
    await desk.locked(rule, "flat")
    desk.buy(rule, "MES", 1)
    await until(lambda: desk.exchange.is_flat(ACCOUNTS[rule]), "an order after the lock dies")
    assert day_net(desk.exchange, ACCOUNTS[rule]) <= -500
    await desk.told(rule)


async def test_rule_004_an_open_loser_is_closed(desk: Desk) -> None:
    rule = "daily_unrealized_loss"
    desk.buy(rule, "MCL", 1)
    desk.buy(rule, "M2K", 4)
    await desk.quoted("M2K", -50, lambda: desk.net(rule, "M2K") == 0, "down 100: closed")
    assert desk.net(rule, "MCL") == 1
    await desk.told(rule)


async def test_rule_005_an_open_profit_is_taken(desk: Desk) -> None:
    rule = "max_unrealized_profit"
    desk.buy(rule, "MCL", 1)
    desk.buy(rule, "M2K", 4)
    await desk.quoted("M2K", 60, lambda: desk.net(rule, "M2K") == 0, "up 100: taken")
    assert desk.net(rule, "MCL") == 1
    await desk.told(rule)


async def test_rule_006_too_many_entries_pause_further_ones(desk: Desk) -> None:
    rule = "trade_frequency_limit"
    desk.buy(rule, "MNQ", 1)
    desk.buy(rule, "MNQ", 1)
    await desk.locked(rule, "no_entries")
    desk.buy(rule, "MNQ", 1)
    await until(lambda: desk.net(rule, "MNQ") == 2, "the increase is closed, the rest is kept")
    await desk.told(rule)


async def test_rule_007_a_big_loser_pauses_entries(desk: Desk) -> None:
    rule = "cooldown_after_loss"
    desk.buy(rule, "MGC", 1)
    desk.lose(rule, "MES", 2, 30)
    await desk.locked(rule, "no_entries")
    desk.buy(rule, "MES", 1)
    await until(lambda: desk.net(rule, "MES") == 0, "an entry in the pause dies")
    assert desk.net(rule, "MGC") == 1
    await desk.told(rule)


async def test_a_gap_through_zero_is_acted_on(desk: Desk) -> None:
    """F3.2: On the wire, crude oil gaps from above 60 to -37.63: the long is closed."""
    rule = "daily_unrealized_loss"
    if not desk.net(rule, "MCL"):
        desk.buy(rule, "MCL", 1)
    last = desk.exchange.book(desk.id("MCL")).last
    ticks = int((Decimal("-37.63") - last) * 100)
    await desk.quoted("MCL", ticks, lambda: desk.net(rule, "MCL") == 0, "gone below zero: closed")
    await desk.told(rule)


async def test_rule_008_a_position_without_a_stop_is_closed(second_desk: Desk) -> None:
    desk = second_desk
    rule = "no_stop_loss_grace"
    desk.buy(rule, "MNQ", 1, stop_ticks=40)
    desk.buy(rule, "MES", 1)
    await until(lambda: desk.net(rule, "MES") == 0, "no stop: closed")
    assert desk.net(rule, "MNQ") == 1
    for order in desk.exchange.working_orders(ACCOUNTS[rule]):
        desk.exchange.order_entry.cancel(ACCOUNTS[rule], order.id, now=now())
    await until(lambda: desk.net(rule, "MNQ") == 0, "its stop is gone: closed")
    await desk.told(rule)


async def test_rule_009_what_is_opened_outside_the_hours_is_closed(second_desk: Desk) -> None:
    desk = second_desk
    rule = "session_block_outside"
    await desk.locked(rule, "flat")
    desk.buy(rule, "MNQ", 1)
    trades = desk.exchange.trades
    await until(lambda: len(trades(ACCOUNTS[rule])) == 2, "closed")
    assert desk.exchange.is_flat(ACCOUNTS[rule])
    await desk.told(rule)


async def test_rule_010_what_the_platform_forbids_is_obeyed_until_it_allows_it(
    second_desk: Desk,
) -> None:
    desk = second_desk
    rule = "auth_loss_guard"
    account = ACCOUNTS[rule]
    desk.buy(rule, "MNQ", 1)
    desk.exchange.firm.set_can_trade(account, False, now=now())
    await until(lambda: desk.exchange.is_flat(account), "closed")
    await desk.locked(rule, "flat")
    desk.exchange.firm.set_can_trade(account, True, now=now())
    await desk.daemon.until_account(lambda a: not a["locks"], "unlocked", account_id=account)
    desk.buy(rule, "MNQ", 1)
    await desk.daemon.until_account(
        lambda a: a["contracts_held"] == 1, "trading again", account_id=account
    )
    await desk.told(rule)


async def test_rule_011_a_blocked_product_is_cancelled_and_closed(second_desk: Desk) -> None:
    desk = second_desk
    rule = "symbol_blocks"
    account = ACCOUNTS[rule]
    away = desk.exchange.book(desk.id("RTY")).last - 10
    order = desk.exchange.order_entry.place(
        account, desk.id("RTY"), Side.BUY, 1, OrderType.LIMIT, now=now(), limit_price=away
    )
    assert isinstance(order, int)
    await until(lambda: desk.exchange.is_flat(account), "the order is cancelled")
    desk.buy(rule, "RTY", 1)
    desk.buy(rule, "M2K", 1)
    await until(lambda: desk.net(rule, "RTY") == 0, "the position is closed")
    assert desk.net(rule, "M2K") == 1
    await desk.told(rule)


async def test_rule_012_a_stop_goes_to_breakeven(second_desk: Desk) -> None:
    desk = second_desk
    rule = "trade_management"
    desk.buy(rule, "6E", 2)
    entry = desk.exchange.positions(ACCOUNTS[rule])[0].average_price

    def stop() -> list[tuple[int, Decimal | None]]:
        return [(o.size, o.stop_price) for o in desk.exchange.working_orders(ACCOUNTS[rule])]

    tick = desk.exchange.contract_of("6E").tick_size
    await desk.quoted("6E", 12, stop, "a stop is placed")
    assert stop() == [(2, entry + tick)]
    await desk.told(rule)


async def test_extra_the_profit_of_the_day_ends_it(second_desk: Desk) -> None:
    desk = second_desk
    rule = "daily_profit_target"
    desk.buy(rule, "MGC", 1)
    desk.lose(rule, "MES", 2, -50)
    await until(lambda: desk.exchange.is_flat(ACCOUNTS[rule]), "everything is closed")
    await desk.locked(rule, "flat")
    await desk.told(rule)


async def test_extra_losses_in_a_row_pause_entries(second_desk: Desk) -> None:
    desk = second_desk
    rule = "consecutive_loss_limit"
    desk.lose(rule, "MES", 1, 2)
    desk.lose(rule, "MNQ", 1, 2)
    await desk.locked(rule, "no_entries")
    desk.buy(rule, "MES", 1)
    await until(lambda: desk.net(rule, "MES") == 0, "an entry in the pause dies")
    await desk.told(rule)


async def test_extra_a_position_with_a_stop_too_far_away_is_cut_back(third_desk: Desk) -> None:
    desk = third_desk
    rule = "max_risk_at_entry"
    desk.buy(rule, "MNQ", 2, stop_ticks=240)  # 240 dollars
    await until(lambda: desk.net(rule, "MNQ") == 1, "cut back to 120 dollars")

    def stops() -> list[int]:
        return [o.remaining for o in desk.exchange.working_orders(ACCOUNTS[rule])]

    await until(lambda: stops() == [1], "and its stop with it")
    await desk.told(rule)


async def test_extra_a_lot_added_to_a_loser_is_closed_again(third_desk: Desk) -> None:
    desk = third_desk
    rule = "no_averaging_down"
    desk.buy(rule, "M2K", 2)
    contract = desk.exchange.contract_of("M2K")
    price = desk.exchange.book(contract.id).last - 20 * contract.tick_size
    desk.exchange.move_price(contract.id, price, now=now())
    desk.buy(rule, "M2K", 1)
    trades = desk.exchange.trades
    await until(lambda: len(trades(ACCOUNTS[rule])) >= 3, "taken back")
    await until(lambda: desk.net(rule, "M2K") == 2, "the first two are kept")
    await desk.told(rule)


async def test_extra_a_stop_pulled_away_from_a_loser_is_put_back(third_desk: Desk) -> None:
    desk = third_desk
    rule = "stop_guard"
    account = ACCOUNTS[rule]
    desk.buy(rule, "MES", 2, stop_ticks=60)

    def stops() -> list[tuple[int, Decimal | None]]:
        return [(o.remaining, o.stop_price) for o in desk.exchange.working_orders(account)]

    before = stops()
    assert [lots for lots, _ in before] == [2]
    await desk.daemon.until_account(
        lambda a: a["orders"] and a["contracts_held"] == 2, "known", account_id=account
    )

    def is_losing(row: dict[str, Any]) -> bool:
        return any(Decimal(str(p["unrealised"] or 0)) < 0 for p in row["positions"])

    known = desk.daemon.until_account(is_losing, "known to lose", account_id=account)
    losing = asyncio.create_task(known, name="losing")
    await desk.quoted("MES", -20, losing.done, "known to lose")
    await losing
    (order,) = desk.exchange.working_orders(account)
    assert order.stop_price is not None
    wider = order.stop_price - 20
    desk.exchange.order_entry.modify(account, order.id, now=now(), stop_price=wider)
    assert stops() != before
    await desk.quoted("MES", 0, lambda: stops() == before, "moved back")
    desk.exchange.order_entry.cancel(account, order.id, now=now())
    await desk.quoted("MES", 0, lambda: stops() == before, "placed again")
    assert desk.net(rule, "MES") == 2
    await desk.told(rule)


async def test_extra_after_a_loser_nothing_larger_is_held(third_desk: Desk) -> None:
    desk = third_desk
    rule = "size_after_loss"
    desk.lose(rule, "MCL", 1, 5)
    desk.buy(rule, "MCL", 3)
    await until(lambda: desk.net(rule, "MCL") == 1, "cut back to the size of the loser")
    await desk.told(rule)


async def test_extra_who_is_out_stays_out_for_a_while(third_desk: Desk) -> None:
    desk = third_desk
    rule = "reentry_delay"
    desk.lose(rule, "6E", 1, -5)
    await desk.locked(rule, "no_entries")
    desk.buy(rule, "6E", 1)
    await until(lambda: desk.net(rule, "6E") == 0, "in again: closed")
    desk.buy(rule, "MGC", 1)
    await desk.daemon.until_account(
        lambda a: a["contracts_held"] == 1, "another product", account_id=ACCOUNTS[rule]
    )
    assert desk.net(rule, "MGC") == 1
    await desk.told(rule)
