"""What is worked out once and kept with a value only saves time: it never changes an answer."""

from collections import Counter, deque
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from random import Random
from typing import Any

import pytest
from desk import MORNING, Desk, DeskMaker, contract, contract_id, rules_from

from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    Outcome,
    ReducePosition,
)
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    ContractResolved,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    RulebookReplaced,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.money import Valuation
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.quiet_bands import is_within_quiet_band
from risk_manager.engine.step import step

SYMBOLS = ("MNQ", "ES", "M2K")
SECTIONS: tuple[dict[str, Any], ...] = (
    {
        "max_contracts": {"limit": 5},
        "max_contracts_per_instrument": {"limits": {"MNQ": 3}, "unknown_symbol": "block"},
        "daily_unrealized_loss": {"limit": 100},
        "max_unrealized_profit": {"target": 150},
        "no_stop_loss_grace": {"grace": "20s"},
        "session_block_outside": {
            "timezone": "America/Chicago",
            "sessions": [{"days": ["fri"], "start": "08:30", "end": "10:07"}],
        },
        "symbol_blocks": {"blocked": ["M2*"]},
        "trade_management": {"enabled": True},
        "cooldown_after_loss": {"tiers": [{"loss": 20, "cooldown": "30s"}]},
        "consecutive_loss_limit": {"losses": 2, "lockout": "1m", "scratch_below": 5},
        "max_risk_at_entry": {"limit": 60},
        "no_averaging_down": {},
        "stop_guard": {"grace": "2s"},
        "size_after_loss": {},
        "reentry_delay": {"delay": "10s"},
        "trade_frequency_limit": {
            "windows": [
                {"name": "m", "per": "1m", "max": 3, "cooldown": "20s"},
                {"name": "day", "per": "1d", "max": 60, "cooldown": "1m"},
            ],
        },
    },
    {
        "cooldown_after_loss": {
            "tiers": [{"loss": 10, "cooldown": "5s"}, {"loss": 40, "cooldown": "2m"}],
            "overlap": "add",
            "reversal_on_loss": "close",
        },
        "consecutive_loss_limit": {"losses": 3, "lockout": "20s", "scope": "root"},
        "trade_frequency_limit": {
            "count": "round_turns",
            "windows": [{"name": "m", "per": "1m", "max": 2, "cooldown": "10s"}],
        },
        "daily_unrealized_loss": {
            "limit": 200,
            "action": "close_all_and_lockout",
            "lockout": "30s",
        },
        "max_unrealized_profit": {"mode": "breakeven", "arm_at": 60, "floor": 10},
        "trade_management": {"enabled": True, "initial_stop": {"enabled": True}},
    },
    {
        "daily_unrealized_loss": {"limit": 5000},
        "max_unrealized_profit": {"target": 9000},
        "trade_management": {"enabled": True, "breakeven": {"enabled": False}},
        "session_block_outside": {
            "sessions": [{"days": ["mon", "fri"], "start": "00:00", "end": "24:00"}]
        },
    },
    {
        "trailing_max_drawdown": {"start_balance": 50_000, "distance": 250},
        "trailing_daily_loss": {"limit": 120},
        "giveback": {"arm_at": 30, "fraction": 0.5},
        "period_loss": {"limit": 200, "include_unrealized": True},
        "daily_realized_loss": {"limit": 150, "include_unrealized": True},
        "daily_profit_target": {"target": 90, "include_unrealized": True, "lockout": "20s"},
        "consistency": {"since": "2026-10-01", "profit_target": 200},
        "scaling_plan": {"tiers": [{"max": 2}, {"min_balance": 60_000, "max": 9}]},
        "daily_unrealized_loss": {"limit": 110, "scope": "account"},
        "max_unrealized_profit": {"target": 100, "scope": "account"},
    },
    {
        "trailing_max_drawdown": {
            "start_balance": 50_000,
            "distance": 300,
            "mode": "intraday_equity",
            "lock_at": 50_100,
        },
        "trailing_daily_loss": {"limit": 160, "trail": "realized", "pnl_basis": "gross"},
        "giveback": {"arm_at": 20, "amount": 15, "include_unrealized": False},
        "period_loss": {"limit": 130, "period": "month"},
        "daily_realized_loss": {"limit": 100, "lockout": "15s"},
        "scaling_plan": {"tiers": [{"max": 3}], "count": "contracts"},
        "consecutive_loss_limit": {"losses": 2, "lockout": "20s"},
        "cooldown_after_loss": {"tiers": [{"loss": 20, "cooldown": "15s"}]},
        "daily_unrealized_loss": {"limit": 70, "on_missing_data": "flatten_after:20s"},
    },
)


def forgetful(state: State) -> State:
    """An equal state with nothing worked out."""
    return replace(
        state,
        accounts={
            number: replace(
                account,
                positions={c: replace(p) for c, p in account.positions.items()},
                ledger=replace(account.ledger),
                marks={k: replace(m) for k, m in account.marks.items()},
            )
            for number, account in state.accounts.items()
        },
    )


def book(section: int) -> Rulebook:
    return Rulebook(accounts={1: AccountRules.of(rules_from(**SECTIONS[section]))})


class Trading:
    """Events of an hour: prices that walk, positions and orders that come and go.

    In a wild one no action is ever answered; in a calm one each is carried out and settled, and
    most events are quotes.
    """

    def __init__(self, seed: int, *, calm: bool) -> None:
        self.dice = Random(seed)
        self.calm = calm
        self.answers: deque[AnyEvent] = deque()
        self.now = MORNING
        self.prices = dict.fromkeys(SYMBOLS, 1000.0)
        self.nets = dict.fromkeys(SYMBOLS, 0)
        self.orders = self.trades = 0

    def carry_out(self, action: Action) -> None:
        """What the broker and the enforcer say of it, one event after the other."""
        about = {"at": self.now, "account_id": 1, "contract_id": action.contract_id}
        match action:
            case ClosePosition() | ReducePosition():
                keep = action.keep if isinstance(action, ReducePosition) else 0
                side = action.side if isinstance(action, ReducePosition) else 1
                symbol = next(s for s in SYMBOLS if contract_id(s) == action.contract_id)
                self.nets[symbol] = keep * side
                held = {"type": 1 if side > 0 else 2, "size": keep, "average_price": 1000.0}
                self.answers.append(PositionChanged.model_validate({**about, **held}))
            case CancelOrder():
                order = {"id": action.order_id, "status": 3, "type": 4, "side": 1, "size": 1}
                self.answers.append(OrderChanged.model_validate({**about, **order}))
        self.answers.append(
            ActionSettled(
                at=self.now,
                account_id=1,
                action_id=action.id,
                outcome=Outcome.DONE,
                verified=True,
                took_ms=1.0,
            )
        )

    def next(self) -> AnyEvent:
        if self.answers:
            return self.answers.popleft()
        dice = self.dice
        self.now += timedelta(milliseconds=dice.choice([0, 5, 200, 900, 4000]))
        symbol = dice.choice(SYMBOLS[: dice.choice([1, 2, 3])])
        about = {"at": self.now, "contract_id": contract_id(symbol)}
        match dice.randrange(100) if not self.calm or dice.random() < 0.2 else 0:
            case n if n < 55:
                self.prices[symbol] += dice.choice([-2.5, -0.5, 0.0, 0.5, 2.5])
                price = self.prices[symbol]
                bid = dice.choice([price, price, price, None, price + 1])
                quote = {"last_price": price, "best_bid": bid, "best_ask": price + 0.5}
                return QuoteChanged.model_validate({**about, **quote})
            case n if n < 70:
                self.nets[symbol] = net = dice.choice([0, 1, 2, -1, self.nets[symbol]])
                average = self.prices[symbol] + dice.choice([0, 0, 1.5])
                held = {"type": 1 if net > 0 else 2, "size": abs(net), "average_price": average}
                return PositionChanged.model_validate({**about, "account_id": 1, **held})
            case n if n < 76:
                self.trades += 1
                pnl = dice.choice([None, None, -8.0, -25.0, -60.0, 15.0])
                trade = {
                    "id": dice.choice([self.trades] * 9 + [max(self.trades - 3, 1)]),
                    "creation_timestamp": self.now - timedelta(seconds=dice.choice([0, 0, 7])),
                    "price": self.prices[symbol],
                    "profit_and_loss": pnl,
                    "fees": 0.37,
                    "side": dice.choice([0, 1]),
                    "size": 1,
                    "order_id": dice.randint(max(self.trades - 2, 1), self.trades),
                    "voided": dice.random() < 0.05,
                }
                return TradeExecuted.model_validate({**about, "account_id": 1, **trade})
            case n if n < 84:
                self.orders += 1
                order = {
                    "id": dice.randint(max(self.orders - 4, 1), self.orders),
                    "status": dice.choice([1, 1, 1, 2, 3]),
                    "type": dice.choice([1, 4, 4]),
                    "side": 1 if self.nets[symbol] > 0 else dice.choice([0, 1]),
                    "size": dice.choice([1, 2]),
                    "stop_price": self.prices[symbol] - 5,
                    "custom_tag": dice.choice([None, "rm-x"]),
                }
                return OrderChanged.model_validate({**about, "account_id": 1, **order})
            case n if n < 96:
                return Tick(at=self.now)
            case 96:
                verb = dice.choice(["lock", "unlock", "flatten"])
                lasts = timedelta(minutes=dice.choice([0, 10]))
                policy = dice.choice(["flat", "no_entries"])
                return AdminAsked(
                    at=self.now,
                    account_id=1,
                    verb=verb,
                    policy=policy,
                    reason="by hand",
                    until=self.now + lasts,
                )
            case 97:
                return RulebookReplaced(at=self.now, rulebook=book(dice.randrange(len(SECTIONS))))
        return AccountReported(at=self.now, account_id=1, asked_at=self.now, positions=())


def judged(seed: int, *, calm: bool) -> Counter[str]:
    """An hour, each event judged with and without what was worked out; how often what was met."""
    trading = Trading(seed, calm=calm)
    state = State.at(MORNING, book(seed % len(SECTIONS)))
    begin: list[AnyEvent] = [ContractResolved(at=MORNING, contract=contract(s)) for s in SYMBOLS]
    reported = AccountReported.model_validate(
        {
            "at": MORNING,
            "account_id": 1,
            "asked_at": MORNING,
            "account": {"id": 1, "balance": "50000"},
            "positions": (),
        }
    )
    for event in (*begin, AccountOpened(at=MORNING, account_id=1), reported):
        state = step(state, event).state
    met: Counter[str] = Counter()
    for _ in range(400):
        event = trading.next()
        warm = step(state, event)
        assert warm == step(forgetful(state), event)
        met["told"] += len(warm.decisions)
        if type(event) is QuoteChanged and is_within_quiet_band(warm.state, 1, event.contract_id):
            met["quiet"] += 1
            met["quiet under a lock"] += bool(state.accounts[1].locks)
        for action in warm.actions if calm else ():
            trading.carry_out(action)
        state = warm.state
    return met


@pytest.mark.parametrize("seed", range(20))
def test_a_state_with_all_worked_out_is_judged_as_one_without(seed: int) -> None:
    assert judged(seed, calm=False)["told"] > 5


def test_in_calm_hours_too_with_locks_that_stand() -> None:
    met: Counter[str] = Counter()
    for seed in range(40):
        met += judged(seed, calm=True)
    assert met["told"] > 100
    assert met["quiet"] > 300
    assert met["quiet under a lock"] > 30


async def test_a_quote_that_was_nothing_to_the_old_rules_is_asked_of_the_new(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss={"limit": 500})
    await d.position("MNQ", 1, 21000)
    for _ in range(2):
        await d.quote("MNQ", 20990)  # down $20
        await d.wait(seconds=1)
    await d.quote("MNQ", 20990)
    before = d.account()
    assert before.memo
    await d.new_rules(rules_from(daily_unrealized_loss={"limit": 50}))
    assert d.account() is before
    await d.quote("MNQ", 20970)
    assert d.actions == ["close MNQ"]


def within(d: Desk, symbol: str) -> bool:
    """Whether the last price of this contract is where no rule has anything to say."""
    return is_within_quiet_band(d.pipeline.state, d.account().id, contract_id(symbol))


async def test_a_standing_lock_elsewhere_leaves_quotes_quiet(desk: DeskMaker) -> None:
    """A product that was blocked once stays locked for weeks; other positions cost no more."""
    d = desk(symbol_blocks={"blocked": ["MNQ"]}, daily_unrealized_loss={"limit": 500})
    await d.position("MNQ", 1, 21000)
    await d.obey()
    assert d.account().locks
    await d.position("MES", 1, 5000)
    await d.stop("MES", -1, price=4990)
    for price in (4999.0, 4999.5, 4999.25):
        await d.wait(seconds=1)
        await d.quote("MES", price)
    assert within(d, "MES")
    assert d.account().locks


async def test_a_position_kept_under_a_lock_with_fitting_stops_is_quiet_and_others_are_not(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss={"limit": 500})
    await d.position("MES", 1, 5000)
    stop = await d.stop("MES", -1, price=4990)
    await d.admin("lock", policy="no_entries")
    for _ in range(2):
        await d.quote("MES", 4999)
    assert within(d, "MES")
    await d.quote("MES", 4899)  # past the limit, whatever the lock says
    assert d.actions[0] == "close MES"
    assert not within(d, "MES")
    assert stop


async def test_a_breakeven_is_not_missed_between_quiet_prices(desk: DeskMaker) -> None:
    d = desk(trade_management={"enabled": True, "breakeven": {"trigger_ticks": 10}})
    await d.position("MNQ", 1, 21000)
    stop = await d.stop("MNQ", -1, price=20990)
    for ticks in (2, 3, 9):
        await d.quote("MNQ", 21000 + ticks * 0.25)
    assert d.account().memo
    assert d.actions == []
    await d.quote("MNQ", 21000 + 10 * 0.25)
    assert d.actions == [f"move {stop} to 21000.25 for 1"]


async def test_a_stop_that_waits_for_the_clock_is_asked_for_on_each_quote(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management={"enabled": True, "breakeven": {"enabled": False}})
    await d.position("MNQ", 1, 21000)
    stop = await d.stop("MNQ", -1, price=20990)
    await d.quote("MNQ", 21005)
    await d.obey()
    await d.wait(seconds=5)
    await d.quote("MNQ", 21010)
    await d.obey()
    moved = d.now
    for milliseconds, price in ((200, 21020), (300, 21020), (400, 21018), (1100, 21018)):
        assert len(d.actions) == 2
        d.now = moved + timedelta(milliseconds=milliseconds)
        await d.quote("MNQ", price)
    assert d.actions[2:] == [f"move {stop} to 21017.50 for 1"]


def test_a_band_of_quiet_prices_ends_before_the_result_is_reached() -> None:
    for net in (3, -2):
        valuation = Valuation.of(net, Decimal("1000.25"), contract("MNQ"))
        for result in (Decimal("-80"), Decimal("12.34"), Decimal(0)):
            above, below = valuation.above(result), valuation.below(result)
            for ticks in range(3700, 4300):
                price = ticks * 0.25
                if above.low < price < above.high:
                    assert valuation.unrealised(price) > result
                if below.low < price < below.high:
                    assert valuation.unrealised(price) < result


@dataclass(frozen=True)
class Square:
    side: int
    name: str = ""

    @cached_property
    def area(self) -> int:
        return self.side**2


def test_what_follows_from_the_old_fields_is_not_kept() -> None:
    square = Square(3)
    assert square.area == 9
    assert fast_replace(square, side=4).area == 16
    assert fast_replace(square, side=3) == square
    with pytest.raises(TypeError, match="no field colour"):
        fast_replace(square, colour="red")
