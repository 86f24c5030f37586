"""How each rule is driven to its breach: the orders, prices and pauses that must make it act."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import count
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.executions import ROUND_TURN_SETTLE
from risk_manager.domain.rule import Rule
from risk_manager.domain.symbols import PatternSet
from risk_manager.drill.stage import Stage
from risk_manager.practice.products import Contract
from risk_manager.practice.records import OrderType, Side
from risk_manager.rules.auth_loss_guard import AuthLossGuard
from risk_manager.rules.consecutive_loss_limit import ConsecutiveLossLimit
from risk_manager.rules.consistency import Consistency
from risk_manager.rules.cooldown_after_loss import CooldownAfterLoss
from risk_manager.rules.daily_profit_target import DailyProfitTarget
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.daily_unrealized_loss import DailyUnrealizedLoss
from risk_manager.rules.giveback import Giveback
from risk_manager.rules.group_limit import GroupLimit
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.max_contracts_per_instrument import MaxContractsPerInstrument
from risk_manager.rules.max_risk_at_entry import MaxRiskAtEntry
from risk_manager.rules.max_unrealized_profit import MaxUnrealizedProfit
from risk_manager.rules.no_averaging_down import NoAveragingDown
from risk_manager.rules.no_stop_loss_grace import NoStopLossGrace
from risk_manager.rules.own_pace import OwnPace
from risk_manager.rules.period_loss import PeriodLoss
from risk_manager.rules.product_caps import ProductCaps
from risk_manager.rules.reentry_delay import ReentryDelay
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.scaling_plan import ScalingPlan
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.rules.size_after_loss import SizeAfterLoss
from risk_manager.rules.stop_guard import StopGuard
from risk_manager.rules.symbol_blocks import SymbolBlocks
from risk_manager.rules.trade_frequency_limit import TradeFrequencyLimit
from risk_manager.rules.trade_management import TradeManagement
from risk_manager.rules.trailing_daily_loss import TrailingDailyLoss
from risk_manager.rules.trailing_max_drawdown import TrailingMaxDrawdown

SEEN_WITHIN_S = 5.0
QUOTED_EVERY_S = 0.1
MOST_LOTS = 500  # in one order
FAR_TICKS = 40  # from the price to a stop
MOST_OF_THE_PRICE = Decimal("0.8")
"""A price falls by no more than this part of it, so that it stays a price."""


class CannotProvoke(Exception):
    """The drill knows no way to drive this rule to its breach. The message says why."""


class Hands:
    """Trades in one account of the drill.

    `calm` are contracts of which one lot breaches nothing; `usual` is the first of them. `beside`
    are all rules of the account. What is done in one call reaches the exchange before the daemon
    hears of any of it.
    """

    def __init__(
        self,
        stage: Stage,
        account_id: int,
        calm: tuple[Contract, ...],
        beside: tuple[Rule, ...],
    ) -> None:
        self.stage = stage
        self.account_id = account_id
        self.calm = calm
        self.usual = calm[0]
        self.beside = beside
        self._exchange = stage.exchange
        self._volumes = count(1)
        self.waited = timedelta(0)
        self.acted_at = time.monotonic()
        """When something was last done that may lead to a breach; a repeated quote is not."""

    def _act(self) -> None:
        self.acted_at = time.monotonic()

    def forbid(self) -> None:
        """The platform takes the permission to trade away."""
        self._exchange.firm.set_can_trade(self.account_id, False, now=self.stage.now())
        self._act()

    def buy(self, contract: Contract, lots: int) -> None:
        """Buy at the market. Raises CannotProvoke if the exchange refuses."""
        while lots > 0:
            size = min(lots, MOST_LOTS)
            order = self._exchange.order_entry.place(
                self.account_id, contract.id, Side.BUY, size, now=self.stage.now()
            )
            if not isinstance(order, int):
                raise CannotProvoke(f"the practice exchange refused an order: {order}")
            lots -= size
        self._act()

    def protect(self, contract: Contract, lots: int, ticks: int) -> int:
        """Place a sell stop so many ticks below the price; return its id.

        Raises CannotProvoke if the exchange refuses.
        """
        order = self._exchange.order_entry.place(
            self.account_id,
            contract.id,
            Side.SELL,
            lots,
            OrderType.STOP,
            now=self.stage.now(),
            stop_price=self._exchange.book(contract.id).last - ticks * contract.tick_size,
        )
        if not isinstance(order, int):
            raise CannotProvoke(f"the practice exchange refused a stop: {order}")
        self._act()
        return order

    def cancel(self, order_id: int) -> None:
        self._exchange.order_entry.cancel(self.account_id, order_id, now=self.stage.now())
        self._act()

    def close(self, contract: Contract) -> None:
        self._exchange.order_entry.close_position(
            self.account_id, contract.id, now=self.stage.now()
        )
        self._act()

    def move(self, contract: Contract, ticks: int) -> None:
        """Move the price, and quote it anew even if `ticks` is zero."""
        last = self._exchange.book(contract.id).last + ticks * contract.tick_size
        volume = next(self._volumes) % 2
        self._exchange.move_price(contract.id, last, now=self.stage.now(), volume=volume)
        if ticks:
            self._act()

    def trade(self, amount: Decimal, basis: int, contract: Contract | None = None) -> None:
        """Make a round turn with at least this result: a loss for `basis` -1, a profit for +1."""
        contract = contract or self.usual
        lots, ticks = self.size_for(amount, contract)
        self.buy(contract, lots)
        self.move(contract, basis * ticks)
        self.close(contract)

    def size_for(self, amount: Decimal, contract: Contract | None = None) -> tuple[int, int]:
        """Return lots, and the ticks over which they win or lose this amount and all fees."""
        contract = contract or self.usual
        amount += 4 * contract.product.fee + 2 * contract.tick_value
        furthest = int(contract.product.start_price * MOST_OF_THE_PRICE / contract.tick_size)
        lots = max(1, _up(amount / (contract.tick_value * furthest)))
        amount += 4 * contract.product.fee * lots
        return lots, min(_up(amount / (contract.tick_value * lots)), furthest)

    async def held(self, contract: Contract) -> None:
        """Wait until the daemon knows of the position. Raises CannotProvoke."""
        await self._until(
            lambda: bool(self.account.net(contract.id)),
            f"a position in {contract.root} did not stand; another rule closes it",
        )

    async def knows(self, order_id: int, *, works: bool) -> None:
        """Wait until the daemon knows that an order works, or does not. Raises CannotProvoke."""
        await self._until(
            lambda: (order_id in self.account.orders) is works,
            "the daemon did not hear of an order",
        )

    @property
    def account(self) -> Account:
        """The account as the daemon knows it."""
        return self.stage.daemon.state.accounts[self.account_id]

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        for _ in range(round(SEEN_WITHIN_S / 0.005)):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise CannotProvoke(otherwise)

    async def wait(self, span: timedelta) -> None:
        """Let time pass; the drill does not wait for what is longer than a moment."""
        self.waited += span
        self.stage.time.skip(span)
        self._act()

    async def tidy(self) -> None:
        """Leave the account flat, and prices as they were."""
        now = self.stage.now()
        for order in self._exchange.working_orders(self.account_id, suspended=True):
            self._exchange.order_entry.cancel(self.account_id, order.id, now=now)
        for position in self._exchange.positions(self.account_id):
            self._exchange.order_entry.close_position(
                self.account_id, position.contract_id, now=now
            )
        for contract in self._exchange.contracts.values():
            if self._exchange.book(contract.id).last != contract.product.start_price:
                self._exchange.move_price(contract.id, contract.product.start_price, now=now)


Goes = Callable[[], bool]
"""Whether the rule has fired, so that a provocation may end."""


async def provoke(rule: Rule, hands: Hands, has_fired: Goes) -> None:
    """Do what must make the rule act. Raises CannotProvoke."""
    for kind, how in _HOW:
        if isinstance(rule, kind):
            await how(rule, hands, has_fired)
            return
    raise CannotProvoke(f"the drill knows no way to provoke {rule.rule}")


async def _too_many(rule: MaxContracts, hands: Hands, _: Goes) -> None:
    """Hold one too many, spread so that no product has more than another rule allows of it."""
    if not _held(hands, hands.calm, rule.limit + 1, in_micros=rule.count == "micro_equivalents"):
        raise CannotProvoke(
            f"limit {rule.limit} is out of reach: all products together are held below it by "
            "max_contracts_per_instrument"
        )


def _held(
    hands: Hands, contracts: Iterable[Contract], wanted: int | Decimal, *, in_micros: bool
) -> bool:
    """Buy contracts until so many are held, no more of each than other limits allow of it.

    Returns whether it was enough.
    """
    symbols = hands.stage.daemon.state.rulebook.symbols
    missing = Decimal(wanted)
    for contract in contracts:
        weight = symbols.weight(contract.root) if in_micros else Decimal(1)
        lots = min(_up(missing / weight), _allowed(hands.beside, contract))
        hands.buy(contract, lots)
        missing -= lots * weight
        if missing <= 0:
            return True
    return False


def _allowed(rules: Iterable[Rule], contract: Contract) -> int:
    """Return how many lots the limits of products allow; many where they do not say."""
    allowed = MOST_LOTS
    for rule in rules:
        if isinstance(rule, MaxContractsPerInstrument):
            key = PatternSet.of(rule.limits).best(contract.root, contract.id)
            limit = rule.limits[key] if key is not None else rule.unknown_symbol.allowed
            allowed = allowed if limit is None else min(allowed, limit)
    return allowed


async def _too_many_of_one(rule: MaxContractsPerInstrument, hands: Hands, _: Goes) -> None:
    every = hands.stage.exchange.contracts.values()
    for choice in (hands.calm, every):
        limits = {c: _allowed([rule], c) for c in choice}
        limited = {c: limit for c, limit in limits.items() if limit < MOST_LOTS}
        if limited:
            contract, limit = min(limited.items(), key=lambda pair: pair[1])
            hands.buy(contract, limit + 1)
            return
    raise CannotProvoke(f"the practice exchange lists none of {', '.join(rule.limits)}")


async def _realised_loss(
    rule: DailyRealizedLoss | TrailingDailyLoss | PeriodLoss, hands: Hands, _: Goes
) -> None:
    hands.trade(rule.limit, -1)


async def _down_to_the_floor(rule: TrailingMaxDrawdown, hands: Hands, _: Goes) -> None:
    account = hands.stage.daemon.state.accounts[hands.account_id]
    balance = account.days.opened_with(account.trading_date)
    if balance is None:
        raise CannotProvoke("the daemon of the drill has not learned the balance")
    floor = rule.floor_under(None if rule.mode == "eod" else balance) + rule.buffer
    hands.trade(max(balance - floor, hands.usual.tick_value), -1)


async def _above_the_tier(rule: ScalingPlan, hands: Hands, has_fired: Goes) -> None:
    state = hands.stage.daemon.state
    account = state.accounts[hands.account_id]
    balance = account.days.before(account.trading_date)
    if balance is None:
        raise CannotProvoke("the daemon of the drill has not learned the balance")
    lots = rule.lots(rule.allowed(balance).max, state.rulebook.symbols)
    await _too_many(rule.limit_of(lots), hands, has_fired)


async def _given_back(rule: Giveback, hands: Hands, _: Goes) -> None:
    hands.trade(rule.arm_at, +1)
    for _number in range(round(SEEN_WITHIN_S / 0.005)):
        if _is_armed(rule, hands):
            break
        await asyncio.sleep(0.005)
    hands.trade(rule.arm_at + (rule.amount or rule.arm_at), -1)


async def _inconsistent(rule: Consistency, hands: Hands, _: Goes) -> None:
    if rule.profit_target is None:
        raise CannotProvoke("it compares today with other days, and the drill has none")
    hands.trade(rule.share * rule.profit_target, +1)


async def _realised_profit(rule: DailyProfitTarget, hands: Hands, _: Goes) -> None:
    hands.trade(rule.target, +1)


async def _open_loss(rule: DailyUnrealizedLoss, hands: Hands, has_fired: Goes) -> None:
    lots, ticks = hands.size_for(rule.limit)
    hands.buy(hands.usual, lots)
    await hands.held(hands.usual)
    hands.move(hands.usual, -ticks)
    await _quoted_until(hands, has_fired)


async def _open_profit(rule: MaxUnrealizedProfit, hands: Hands, has_fired: Goes) -> None:
    lots, ticks = hands.size_for(rule.target or rule.arm_at or Decimal(0))
    hands.buy(hands.usual, lots)
    await hands.held(hands.usual)
    hands.move(hands.usual, ticks)
    if rule.target is not None:
        await _quoted_until(hands, has_fired)
        return
    await _quoted_until(hands, lambda: _is_armed(rule, hands))
    hands.move(hands.usual, -ticks - _up(abs(rule.floor) / hands.usual.tick_value) - 4)
    await _quoted_until(hands, has_fired)


def _is_armed(rule: Rule, hands: Hands) -> bool:
    return any(rule_id == rule.id for rule_id, _ in hands.account.marks)


async def _too_often(rule: TradeFrequencyLimit, hands: Hands, _: Goes) -> None:
    for _number in range(min(window.max for window in rule.windows) + 1):
        hands.buy(hands.usual, 1)
        hands.close(hands.usual)


async def _big_loser(rule: CooldownAfterLoss, hands: Hands, _: Goes) -> None:
    hands.trade(min(tier.loss for tier in rule.tiers), -1)


async def _losers(rule: ConsecutiveLossLimit, hands: Hands, _: Goes) -> None:
    for _number in range(rule.losses):
        hands.trade(rule.scratch_below, -1)
        hands.move(hands.usual, hands.size_for(rule.scratch_below)[1])


async def _no_stop(rule: NoStopLossGrace, hands: Hands, _: Goes) -> None:
    hands.buy(hands.usual, 1)
    await hands.held(hands.usual)
    await hands.wait(rule.grace)


async def _risky(rule: MaxRiskAtEntry, hands: Hands, _: Goes) -> None:
    lots, ticks = hands.size_for(rule.limit)
    hands.buy(hands.usual, lots)
    await hands.held(hands.usual)
    hands.protect(hands.usual, lots, ticks)
    if rule.grace:
        await hands.wait(rule.grace)


async def _averages(rule: NoAveragingDown, hands: Hands, _: Goes) -> None:
    contract = _with_room(hands, 2)
    lots, ticks = hands.size_for(rule.tolerance, contract)
    hands.buy(contract, lots)
    await hands.held(contract)
    hands.move(contract, -ticks)
    hands.buy(contract, 1)


def _with_room(hands: Hands, lots: int) -> Contract:
    """Return a contract of which no other rule forbids so many lots, if there is one."""
    return next((c for c in hands.calm if _allowed(hands.beside, c) >= lots), hands.usual)


async def _lifts_the_stop(rule: StopGuard, hands: Hands, has_fired: Goes) -> None:
    hands.buy(hands.usual, 1)
    await hands.held(hands.usual)
    stop = hands.protect(hands.usual, 1, FAR_TICKS)
    await hands.knows(stop, works=True)
    hands.move(hands.usual, -FAR_TICKS // 2)
    await _quoted_until(hands, lambda: _loses(hands))
    hands.cancel(stop)
    await hands.knows(stop, works=False)
    await hands.wait(rule.grace)
    await _quoted_until(hands, has_fired)


def _loses(hands: Hands) -> bool:
    state = hands.stage.daemon.state
    position = hands.account.positions.get(hands.usual.id)
    quote = state.fresh_quote(hands.usual.id)
    if position is None or position.valuation is None or quote is None or quote.best_bid is None:
        return False
    return position.valuation.unrealised(quote.best_bid) < 0


async def _larger_after_a_loss(rule: SizeAfterLoss, hands: Hands, _: Goes) -> None:
    contract = _with_room(hands, int(rule.factor) + 1)
    lots, _ticks = hands.size_for(rule.scratch_below, contract)
    hands.trade(rule.scratch_below, -1, contract)
    hands.buy(contract, int(lots * rule.factor) + 1)


async def _in_again(rule: ReentryDelay, hands: Hands, _: Goes) -> None:
    hands.trade(Decimal(0), -1)
    await hands.wait(ROUND_TURN_SETTLE)


async def _outside(rule: SessionBlockOutside, hands: Hands, _: Goes) -> None:
    hands.buy(hands.usual, 1)


async def _forbidden(rule: AuthLossGuard, hands: Hands, _: Goes) -> None:
    if not rule.can_trade.enabled:
        raise CannotProvoke(
            "can_trade is switched off; it only watches the connection, which a drill does not cut"
        )
    hands.buy(hands.usual, 1)
    await hands.held(hands.usual)
    hands.forbid()
    if rule.can_trade.confirm > timedelta(seconds=3):
        await hands.wait(rule.can_trade.confirm)


async def _blocked(rule: SymbolBlocks, hands: Hands, _: Goes) -> None:
    listed = hands.stage.exchange.contracts.values()
    contract = next((c for c in listed if rule.blocks(c.root, c.id)), None)
    if contract is None:
        raise CannotProvoke("the practice exchange lists no product that it blocks")
    hands.buy(contract, 1)


async def _around_a_release(rule: ReleaseWindow, hands: Hands, _: Goes) -> None:
    now = rule.in_force(hands.stage.now())
    if not now:
        raise CannotProvoke("no release lies ahead within eight days")
    listed = hands.stage.exchange.contracts.values()
    for span in now:
        for contract in (hands.usual, *listed):
            if not span.roots or contract.root in span.roots:
                hands.buy(contract, 1)
                return
    raise CannotProvoke("the practice exchange lists no product of its windows")


async def _above_a_cap(rule: ProductCaps, hands: Hands, _: Goes) -> None:
    today = hands.stage.daemon.state.day.date
    listed = hands.stage.exchange.contracts.values()
    for cap in (c for c in rule.caps if c.holds_on(today)):
        chosen = [c for c in listed if c.root in cap.roots]
        if chosen and _held(hands, chosen, cap.limit + 1, in_micros=cap.count != "contracts"):
            return
    raise CannotProvoke("none of its caps can be reached today, by what the other limits allow")


async def _group(rule: GroupLimit, hands: Hands, _: Goes) -> None:
    """The account does alone what the group may not do together."""
    if rule.measure == "day_loss":
        hands.trade(rule.limit, -1)
    elif not _held(hands, hands.calm, rule.limit + 1, in_micros=rule.measure != "contracts"):
        raise CannotProvoke(f"limit {rule.limit} is out of reach of one account, by other limits")


async def _own_pace(rule: OwnPace, _: Hands, __: Goes) -> None:
    raise CannotProvoke(f"it needs {rule.min_days} days of your own trading, which a drill has not")


async def _managed(rule: TradeManagement, hands: Hands, has_fired: Goes) -> None:
    hands.buy(hands.usual, 1)
    await hands.held(hands.usual)
    parts = [
        (rule.breakeven.enabled, rule.breakeven.trigger_ticks),
        (rule.trailing.enabled, rule.trailing.activation_ticks),
    ]
    ticks = max((ticks for enabled, ticks in parts if enabled), default=0)
    if not (rule.initial_stop.enabled or rule.take_profit.enabled):
        hands.move(hands.usual, ticks + 4)
    await _quoted_until(hands, has_fired)


async def _quoted_until(hands: Hands, condition: Goes) -> None:
    """Quote the price again and again, as a market does: a jump is believed when it lasts."""
    for _ in range(round(SEEN_WITHIN_S / QUOTED_EVERY_S)):
        if condition():
            return
        hands.move(hands.usual, 0)
        await asyncio.sleep(QUOTED_EVERY_S)


_HOW: tuple[tuple[type[Rule], Callable[[Any, Hands, Goes], Awaitable[None]]], ...] = (
    (MaxContracts, _too_many),
    (MaxContractsPerInstrument, _too_many_of_one),
    (DailyRealizedLoss, _realised_loss),
    (DailyProfitTarget, _realised_profit),
    (DailyUnrealizedLoss, _open_loss),
    (MaxUnrealizedProfit, _open_profit),
    (TradeFrequencyLimit, _too_often),
    (CooldownAfterLoss, _big_loser),
    (ConsecutiveLossLimit, _losers),
    (NoStopLossGrace, _no_stop),
    (MaxRiskAtEntry, _risky),
    (NoAveragingDown, _averages),
    (StopGuard, _lifts_the_stop),
    (SizeAfterLoss, _larger_after_a_loss),
    (ReentryDelay, _in_again),
    (SessionBlockOutside, _outside),
    (AuthLossGuard, _forbidden),
    (SymbolBlocks, _blocked),
    (TradeManagement, _managed),
    (TrailingMaxDrawdown, _down_to_the_floor),
    (TrailingDailyLoss, _realised_loss),
    (PeriodLoss, _realised_loss),
    (ScalingPlan, _above_the_tier),
    (Giveback, _given_back),
    (Consistency, _inconsistent),
    (ReleaseWindow, _around_a_release),
    (ProductCaps, _above_a_cap),
    (GroupLimit, _group),
    (OwnPace, _own_pace),
)


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))


def roots_named(rules: Iterable[Rule]) -> Iterator[str]:
    """Yield every product that a rule names without a wildcard, for the exchange to list."""
    for rule in rules:
        for key in ("blocked", "allow_only", "limits", "per_symbol"):
            for name in getattr(rule, key, None) or ():
                text = str(name)
                if text.isalnum():
                    yield text
