"""A trading desk for tests: the real pipeline and rules, recording edges, time by waiting.

Contracts are called by their tickers. Nothing here sleeps: `wait` moves the clock, second by
second, as the ticker would.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    CancelOrder,
    ClosePosition,
    DayReset,
    Decision,
    LockCleared,
    LockSet,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import (
    AccountChanged,
    AccountOpened,
    AccountReported,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    ContractResolved,
    HubChanged,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    RulebookReplaced,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.holdings import Order
from risk_manager.domain.market_calendar import MarketCalendar
from risk_manager.domain.records import (
    OrderRecord,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
    PositionType,
)
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import AccountRules, Defaults, Mode, Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract, Symbols
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.engine.step import Step, meters
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import Pipeline
from risk_manager.rules import RULES

# Friday 2026-11-20, 10:00 in Chicago: an ordinary trading morning.
MORNING = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)

TICKS = {
    "ES": ("EP", "0.25", "12.50"),
    "NQ": ("ENQ", "0.25", "5"),
    "MES": ("MES", "0.25", "1.25"),
    "MNQ": ("MNQ", "0.25", "0.50"),
    "RTY": ("RTY", "0.10", "5"),
    "M2K": ("M2K", "0.10", "0.50"),
    "CL": ("CLE", "0.01", "10"),
    "MCL": ("MCLE", "0.01", "1"),
    "GC": ("GCE", "0.10", "10"),
    "MGC": ("MGC", "0.10", "1"),
    "6E": ("EU6", "0.00005", "6.25"),
    "MBT": ("MBT", "5", "0.50"),
    "MET": ("GMET", "0.50", "0.05"),
}


def contract_id(symbol: str) -> str:
    """MNQ -> CON.F.US.MNQ.Z26, MNQ.H27 -> CON.F.US.MNQ.H27; an id stays what it is."""
    if symbol.startswith("CON"):
        return symbol
    root, _, expiry = symbol.partition(".")
    code = TICKS[root][0] if root in TICKS else root
    return f"CON.F.US.{code}.{expiry or 'Z26'}"


def contract(symbol: str) -> Contract:
    """The record of a contract with its real tick size and value."""
    root, _, expiry = symbol.partition(".")
    expiry = expiry or "Z26"
    _, size, value = TICKS[root]
    return Contract(
        contract_id(symbol), f"{root}{expiry[0]}{expiry[-1]}", Decimal(size), Decimal(value)
    )


def rules_from(**sections: Any) -> list[Rule]:
    """Rules by their configuration name, as the file would have them."""
    known = {cls.model_fields["rule"].default: cls for cls in RULES}
    built: list[Rule] = []
    for name, fields in sections.items():
        for each in fields if isinstance(fields, list) else [fields]:
            built.append(known[name].model_validate({"rule": name, **each}))
    return built


class RecordingStore:
    """Remembers the steps committed."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.steps.append(outcome)

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        self.steps += [judged.outcome for judged in turn]


class RecordingEnforcer:
    """Writes down what it is told; carries nothing out."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def submit(self, action: Action) -> None:
        self.actions.append(action)


class SilentFeed:
    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        pass


class Desk:
    """One account (more by id) under some rules. Every method is a fact of trading.

    With `rest` the broker is read at once whenever that is asked for, and says what is known, or
    that the orders in `listed` work and nothing else. `reads` counts how often.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        accounts: tuple[int, ...] = (101,),
        at: datetime = MORNING,
        mode: Mode = Mode.ENFORCE,
        defaults: Defaults | None = None,
        day: TradingDay | None = None,
        symbols: Symbols | None = None,
        calendar: MarketCalendar | None = None,
        per_account: dict[int, list[Rule]] | None = None,
        rest: bool = True,
    ) -> None:
        self.now = at
        self.lead = timedelta(0)
        """How far the gateway's clock is ahead, as the ticks say."""
        self.rest = rest
        self.listed: list[OrderRecord] | None = None
        self.reads = 0
        self._read_at: dict[int, datetime] = {}
        self.account_ids = accounts
        self._rules = list(rules)
        self.rulebook = Rulebook(
            accounts={
                a: AccountRules.of(
                    [r for r in (per_account or {}).get(a, self._rules) if r.applies_to(a)], mode
                )
                for a in accounts
            },
            day=day or TradingDay(),
            symbols=symbols or Symbols(),
            calendar=calendar or MarketCalendar(),
            defaults=defaults or Defaults(),
        )
        self.store = RecordingStore()
        self.enforcer = RecordingEnforcer()
        self._seen = 0
        self._next_id = 1000
        self._opened = False
        self.pipeline = Pipeline(
            State.at(at, self.rulebook),
            store=self.store,
            enforcer=self.enforcer,
            feed=SilentFeed(),
        )

    # --- the shell ---

    async def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        for account_id in self.account_ids:
            await self.pipeline.process(AccountOpened(at=self.now, account_id=account_id))
        for symbol in TICKS:
            await self.pipeline.process(ContractResolved(at=self.now, contract=contract(symbol)))

    async def happens(self, event: AnyEvent) -> Step:
        """Any event, as it comes."""
        await self._open()
        step = await self.pipeline.process(event)
        for account_id in step.reads if self.rest else ():
            if self._read_at.get(account_id) != self.now:  # the reconciler keeps a pace, too
                self._read_at[account_id] = self.now
                self.reads += 1
                await self.read_whole(account_id)
        return step

    async def wait(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let time pass, a tick each second (a tick a minute for waits over an hour)."""
        await self._open()
        end = self.now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        pace = timedelta(minutes=1) if end - self.now > timedelta(hours=1) else timedelta(seconds=1)
        while self.now < end:
            self.now = min(self.now + pace, end)
            await self.happens(Tick(at=self.now, lead=self.lead))

    async def wait_until(self, instant: datetime) -> None:
        await self.wait(seconds=(instant - self.now).total_seconds())

    async def restart(self, *, read: bool = True) -> None:
        """The process dies and starts again: what is in flight is forgotten, the rest restored.

        Then the account is read whole, as at every start, unless `read` is False.
        """
        accounts = {
            i: replace(
                a,
                attempts={},
                heard={},
                finished={},
                outlived={},
                disputes={},
                unlisted={},
                exit_over={},
                ended={},
            )
            for i, a in self.pipeline.state.accounts.items()
        }
        state = replace(self.pipeline.state, accounts=accounts, quotes={}, hubs={})
        self.pipeline = Pipeline(state, store=self.store, enforcer=self.enforcer, feed=SilentFeed())
        for account_id in self.account_ids:
            await self.happens(AccountOpened(at=self.now, account_id=account_id))
            if read:
                await self.read_whole(account_id)
        await self.happens(Tick(at=self.now))

    async def read_whole(self, account_id: int) -> None:
        """The broker says the same as before the restart."""
        account = self.account(account_id)
        await self.happens(
            AccountReported(
                at=self.now,
                asked_at=self.now,
                account_id=account_id,
                positions=tuple(
                    PositionRecord(
                        id=p.gateway_id,
                        account_id=account_id,
                        contract_id=p.contract_id,
                        creation_timestamp=p.created_at,
                        type=PositionType.LONG if p.net > 0 else PositionType.SHORT,
                        size=p.size,
                        average_price=p.average_price,
                    )
                    for p in account.positions.values()
                ),
                orders=tuple(_record(o, account_id) for o in account.orders.values())
                if self.listed is None
                else tuple(self.listed),
            )
        )

    async def new_rules(self, rules: Iterable[Rule], mode: Mode = Mode.ENFORCE) -> None:
        """The limits are edited and reloaded."""
        self._rules = list(rules)
        book = replace(
            self.rulebook,
            accounts={
                a: AccountRules.of([r for r in self._rules if r.applies_to(a)], mode)
                for a in self.account_ids
            },
        )
        await self.happens(RulebookReplaced(at=self.now, rulebook=book))

    async def happens_under(self, rulebook: Rulebook) -> None:
        """Another rulebook comes into force."""
        await self.happens(RulebookReplaced(at=self.now, rulebook=rulebook))

    # --- facts of trading ---

    async def position(
        self, symbol: str, net: int, price: float = 21000.0, *, account: int = 101, **more: Any
    ) -> Step:
        """The gateway says: so many of this are held now."""
        return await self.happens(
            PositionChanged.model_validate(
                {
                    "at": self.now,
                    "id": 5000,
                    "accountId": account,
                    "contractId": contract_id(symbol),
                    "creationTimestamp": self.now,
                    "type": 1 if net > 0 else 2 if net < 0 else 0,
                    "size": abs(net),
                    "averagePrice": price,
                    **more,
                }
            )
        )

    async def order(
        self,
        symbol: str,
        signed_size: int,
        *,
        kind: OrderType = OrderType.LIMIT,
        status: OrderStatus = OrderStatus.OPEN,
        order_id: int | None = None,
        price: float | None = None,
        filled: int = 0,
        account: int = 101,
        tag: str | None = None,
    ) -> int:
        """The gateway says: this order is working (or has ended). Returns its id."""
        if order_id is None:
            self._next_id += 1
            order_id = self._next_id
        is_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
        await self.happens(
            OrderChanged.model_validate(
                {
                    "at": self.now,
                    "id": order_id,
                    "accountId": account,
                    "contractId": contract_id(symbol),
                    "creationTimestamp": self.now,
                    "updateTimestamp": self.now,
                    "status": status,
                    "type": kind,
                    "side": OrderSide.BUY if signed_size > 0 else OrderSide.SELL,
                    "size": abs(signed_size),
                    "limitPrice": None if is_stop else price,
                    "stopPrice": price if is_stop else None,
                    "fillVolume": filled,
                    "customTag": tag,
                }
            )
        )
        return order_id

    async def stop(self, symbol: str, signed_size: int, price: float = 20990.0, **more: Any) -> int:
        """A stop order, signed as it would fill: -2 sells two."""
        return await self.order(symbol, signed_size, kind=OrderType.STOP, price=price, **more)

    async def fill(
        self,
        symbol: str,
        signed_size: int,
        *,
        pnl: Decimal | float | str | None = None,
        fees: float | str = 0,
        price: float = 21000.0,
        order_id: int | None = None,
        trade_id: int | None = None,
        at: datetime | None = None,
        voided: bool = False,
        account: int = 101,
    ) -> int:
        """An execution. `pnl` None is a half-turn that opens. Returns the trade id."""
        self._next_id += 1
        trade_id = trade_id or self._next_id
        await self.happens(
            TradeExecuted.model_validate(
                {
                    "at": self.now,
                    "id": trade_id,
                    "accountId": account,
                    "contractId": contract_id(symbol),
                    "creationTimestamp": at or self.now,
                    "price": price,
                    "profitAndLoss": pnl,
                    "fees": fees,
                    "side": OrderSide.BUY if signed_size > 0 else OrderSide.SELL,
                    "size": abs(signed_size),
                    "voided": voided,
                    "orderId": order_id or trade_id,
                }
            )
        )
        return trade_id

    async def loss(self, amount: float | str, symbol: str = "MNQ", **more: Any) -> int:
        """A closed trade that lost so much."""
        return await self.fill(symbol, -1, pnl=-Decimal(str(amount)), **more)

    async def win(self, amount: float | str, symbol: str = "MNQ", **more: Any) -> int:
        return await self.fill(symbol, -1, pnl=Decimal(str(amount)), **more)

    async def quote(
        self,
        symbol: str,
        bid: float | None = None,
        ask: float | None = None,
        last: float | None = None,
    ) -> Step:
        """A quote; one price given stands for all three."""
        given = next(p for p in (bid, ask, last) if p is not None)
        return await self.happens(
            QuoteChanged(
                at=self.now,
                contract_id=contract_id(symbol),
                best_bid=given if bid is None else bid,
                best_ask=given if ask is None else ask,
                last_price=given if last is None else last,
            )
        )

    async def can_trade(self, allowed: bool | None, *, account: int = 101, **more: Any) -> Step:
        """The platform states whether the account may trade."""
        return await self.happens(
            AccountChanged.model_validate(
                {"at": self.now, "id": account, "name": "A", "canTrade": allowed, **more}
            )
        )

    async def hub(self, hub: str, state: str) -> Step:
        return await self.happens(
            HubChanged.model_validate({"at": self.now, "hub": hub, "state": state})
        )

    async def admin(self, verb: str, *, account: int = 101, **more: Any) -> Step:
        """An administrator's order."""
        return await self.happens(
            AdminAsked.model_validate(
                {"at": self.now, "account_id": account, "verb": verb, "reason": "asked", **more}
            )
        )

    async def report(
        self,
        *,
        positions: dict[str, int] | None = None,
        orders: list[Order] | None = None,
        account: int = 101,
        asked_at: datetime | None = None,
        price: float = 21000.0,
        trades: Any = None,
        trades_since: datetime | None = None,
        balance: Decimal | str | None = None,
        listed: Iterable[OrderRecord] = (),
    ) -> Step:
        """The broker's own list of what is open and working; `listed` beside the orders known."""
        known = self.pipeline.state.accounts.get(account)
        working = list(known.orders.values()) if orders is None and known else orders or []
        return await self.happens(
            AccountReported.model_validate(
                {
                    "at": self.now,
                    "asked_at": asked_at or self.now,
                    "account_id": account,
                    "positions": None
                    if positions is None
                    else [
                        {
                            "id": 5000,
                            "accountId": account,
                            "contractId": contract_id(s),
                            "type": 1 if n > 0 else 2,
                            "size": abs(n),
                            "averagePrice": price,
                            "creationTimestamp": self.now,
                        }
                        for s, n in positions.items()
                        if n
                    ],
                    "orders": [
                        *(_record(o, account) for o in working),
                        *(OrderRecord.model_validate(r.model_dump()) for r in listed),
                    ],
                    "trades": trades,
                    "trades_since": trades_since,
                    "account": None if balance is None else {"id": account, "balance": balance},
                }
            )
        )

    # --- the broker answers ---

    async def settle(
        self,
        action: Action,
        outcome: Outcome = Outcome.DONE,
        *,
        verified: bool = True,
        code: int | None = None,
    ) -> Step:
        """One action has ended at the broker."""
        return await self.happens(
            ActionSettled(
                at=self.now,
                account_id=action.account_id,
                action_id=action.id,
                outcome=outcome,
                verified=verified,
                error_code=code,
            )
        )

    async def obey(self) -> None:
        """The broker carries out everything asked, until nothing more is asked."""
        while fresh := self.enforcer.actions[self._seen :]:
            self._seen = len(self.enforcer.actions)
            for action in fresh:
                await self._carry_out(action)
                await self.settle(action)

    async def _carry_out(self, action: Action) -> None:
        account = self.account(action.account_id)
        symbol = action.contract_id
        held = account.positions.get(symbol)
        price = float(held.average_price or 0) if held else 21000.0
        match action:
            case ClosePosition():
                await self.position(symbol, 0, price, account=account.id)
            case ReducePosition() if held is not None and held.size > action.keep:
                await self.position(symbol, held.side * action.keep, price, account=account.id)
            case CancelOrder() if action.order_id in account.orders:
                order = account.orders[action.order_id]
                await self.order(
                    symbol,
                    order.side.sign * order.size,
                    kind=order.type,
                    status=OrderStatus.CANCELLED,
                    order_id=order.id,
                    account=account.id,
                )
            case PlaceExit():
                await self.order(
                    symbol,
                    -action.side * action.size,
                    kind=OrderType.STOP if action.stop_price is not None else OrderType.LIMIT,
                    price=float(action.stop_price or action.limit_price or 0),
                    tag=f"rm-test-{action.id}",
                    account=account.id,
                )
            case MoveStop() if action.order_id in account.orders:
                order = account.orders[action.order_id]
                await self.order(
                    symbol,
                    -action.side * (action.filled + action.size),
                    kind=order.type,
                    price=float(action.stop_price or order.stop_price or 0),
                    order_id=order.id,
                    filled=order.filled,
                    tag=order.custom_tag,
                    account=account.id,
                )

    # --- what came of it ---

    def account(self, account_id: int = 101) -> Account:
        return self.pipeline.state.accounts[account_id]

    @property
    def actions(self) -> list[str]:
        """Everything asked of the broker so far, as short sentences."""
        return [self._say(a) for a in self.enforcer.actions]

    def taken(self) -> list[str]:
        """What was asked since this was last called."""
        start, self._taken = getattr(self, "_taken", 0), len(self.enforcer.actions)
        return [self._say(a) for a in self.enforcer.actions[start:]]

    def _say(self, action: Action) -> str:
        name = self.pipeline.state.root(action.contract_id)
        expiry = action.contract_id.rpartition(".")[2]
        if action.contract_id.count(".") == 4 and expiry != "Z26":
            name = f"{name}.{expiry}"
        match action:
            case ClosePosition():
                return f"close {name}"
            case ReducePosition():
                return f"reduce {name} to {action.keep}"
            case CancelOrder():
                return f"cancel {action.order_id}"
            case PlaceExit():
                word = "stop" if action.stop_price is not None else "target"
                price = action.stop_price if action.stop_price is not None else action.limit_price
                return f"place {word} {name} {-action.side * action.size:+d} at {price}"
            case MoveStop():
                return f"move {action.order_id} to {action.stop_price} for {action.size}"
        return repr(action)

    def _facts[T](self, kind: type[T]) -> list[T]:
        return [f for s in self.store.steps for f in s.facts if isinstance(f, kind)]

    @property
    def decisions(self) -> list[Decision]:
        return [d for s in self.store.steps for d in s.decisions]

    @property
    def reasons(self) -> list[str]:
        return [d.reason for d in self.decisions]

    @property
    def alarms(self) -> list[str]:
        return [a.code for a in self._facts(Alarm)]

    @property
    def locks_set(self) -> list[LockSet]:
        return self._facts(LockSet)

    @property
    def locks_cleared(self) -> list[LockCleared]:
        return self._facts(LockCleared)

    @property
    def resets(self) -> list[DayReset]:
        return self._facts(DayReset)

    def locked_by(self, account: int = 101) -> dict[str, str]:
        """Rule id -> scope, of the locks in force."""
        return {k.rule_id: k.scope for k in self.account(account).locks.values()}

    def lock_ends(self, rule_id: str, account: int = 101) -> datetime | None:
        """When the lock of a rule ends by itself."""
        return next(
            k.expires_at for k in self.account(account).locks.values() if k.rule_id == rule_id
        )

    def meter(self, rule_id: str, account: int = 101) -> Meter:
        found = meters(self.pipeline.state, account, Tick(at=self.now))
        return next(m for m in found if m.rule_id == rule_id)


def _record(order: Order, account_id: int) -> OrderRecord:
    return OrderRecord(
        id=order.id,
        account_id=account_id,
        contract_id=order.contract_id,
        status=order.status,
        type=order.type,
        side=order.side,
        size=order.size,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        fill_volume=order.filled,
        custom_tag=order.custom_tag,
        creation_timestamp=order.created_at,
        update_timestamp=order.updated_at,
    )


DeskMaker = Callable[..., Desk]


def make_desk(*, symbols: Symbols | None = None, **sections: Any) -> Desk:
    """A desk from configuration sections; `desk_...` keywords go to the desk itself."""
    own = {k.removeprefix("desk_"): v for k, v in sections.items() if k.startswith("desk_")}
    rules = {k: v for k, v in sections.items() if not k.startswith("desk_")}
    return Desk(rules_from(**rules), symbols=symbols, **own)
