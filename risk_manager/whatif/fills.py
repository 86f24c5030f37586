"""A recording made of fills only, for days of which no journal exists."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    AnyEvent,
    ContractResolved,
    Hub,
    HubChanged,
    HubState,
    PositionChanged,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.records import AccountRecord, OrderSide, PositionType
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.domain.trading_calendar import TradingDay

LOOKS_EVERY = timedelta(minutes=1)
"""While a position is open, the rules are asked this often between two fills."""
_LOOKS_AT_MOST = 24 * 60
_A_SECOND = timedelta(seconds=1)

NEEDS_ORDERS = frozenset({"no_stop_loss_grace", "trade_management"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One fill of a file. `pnl` is before fees, and None for a fill that opens."""

    account_id: int
    trade_id: int
    order_id: int
    contract: Contract
    side: OrderSide
    size: int
    price: Decimal
    pnl: Decimal | None
    fees: Decimal
    at: datetime


def judgeable(rulebook: Rulebook) -> tuple[Rulebook, tuple[str, ...]]:
    """Return the rulebook without what fills cannot show, and a sentence for each rule concerned.

    Fills show neither working orders nor the prices between two fills.
    """
    told: dict[str, str] = {}
    accounts = {}
    for account_id, rules in rulebook.accounts.items():
        kept = [r for rule in rules.rules if (r := _judgeable(rule, told)) is not None]
        accounts[account_id] = AccountRules.of(kept, rules.mode, on_live=rules.on_live)
    return replace(rulebook, accounts=MappingProxyType(accounts)), tuple(told.values())


def _judgeable(rule: Rule, told: dict[str, str]) -> Rule | None:
    if rule.rule in NEEDS_ORDERS:
        told[rule.id] = f"{rule.id} is not judged: the file holds no working orders"
        return None
    if not rule.uses_prices:
        return rule
    if "include_unrealized" in type(rule).model_fields:
        told[rule.id] = f"{rule.id} is judged on closed trades only: the file holds no quotes"
        return type(rule).model_validate({**rule.model_dump(), "include_unrealized": False})
    told[rule.id] = f"{rule.id} is not judged: the file holds no quotes"
    return None


def by_day(fills: Iterable[Fill], day: TradingDay) -> Mapping[date, list[Fill]]:
    """Group fills by trading date, each day oldest first."""
    days: defaultdict[date, list[Fill]] = defaultdict(list)
    for fill in sorted(fills, key=lambda f: f.at):
        days[day.date_of(fill.at)].append(fill)
    return dict(sorted(days.items()))


def recording_of(
    fills: Sequence[Fill], rulebook: Rulebook
) -> Iterator["_Start | Sequence[AnyEvent]"]:
    """Yield a recording of one trading day. No rule was in force in it."""
    first = fills[0].at - 3 * _A_SECOND
    bare = replace(rulebook, accounts=MappingProxyType({}))
    yield _Start(first, bare)
    for hub in Hub:
        yield [HubChanged(at=first, hub=hub, state=HubState.UP)]
    for contract in {f.contract.id: f.contract for f in fills}.values():
        yield [ContractResolved(at=first, contract=contract)]
    for account_id in sorted({f.account_id for f in fills}):
        yield [AccountOpened(at=first, account_id=account_id)]
        yield [
            AccountReported(
                at=first,
                asked_at=first,
                account_id=account_id,
                account=AccountRecord(id=account_id, can_trade=True),
                positions=(),
                orders=(),
                trades=(),
            )
        ]
    yield from _course(fills)


@dataclass(frozen=True, slots=True)
class _Start:
    at: datetime
    rulebook: Rulebook

    def __call__(self) -> State:
        return State.at(self.at, self.rulebook)


def _course(fills: Sequence[Fill]) -> Iterator[Sequence[AnyEvent]]:
    held: defaultdict[tuple[int, str], _Held] = defaultdict(_Held)
    for place, fill in enumerate(fills):
        position = held[fill.account_id, fill.contract.id]
        position.take(fill)
        yield [_executed(fill), _position(fill, position)]
        following = fills[place + 1].at if place + 1 < len(fills) else None
        is_open = any(p.net for p in held.values())
        yield from _looks(fill.at, following, is_open=is_open)


def _looks(
    after: datetime, until: datetime | None, *, is_open: bool
) -> Iterator[Sequence[AnyEvent]]:
    """Yield ticks until the next fill, so that rules by the clock are asked as well."""
    at = after + _A_SECOND
    if until is None or at < until:
        yield [Tick(at=at)]
    if until is None or not is_open:
        return
    for n in range(1, _LOOKS_AT_MOST):
        at = after + n * LOOKS_EVERY
        if at >= until:
            return
        yield [Tick(at=at)]


class _Held:
    """A position as fills make it, with the average price of what opened it."""

    def __init__(self) -> None:
        self.net = 0
        self.average = Decimal(0)

    def take(self, fill: Fill) -> None:
        signed = fill.side.sign * fill.size
        after = self.net + signed
        if self.net * signed >= 0:
            paid = self.average * abs(self.net) + fill.price * fill.size
            self.average = paid / abs(after)
        elif self.net * after < 0:
            self.average = fill.price
        self.net = after


def _executed(fill: Fill) -> TradeExecuted:
    return TradeExecuted(
        at=fill.at,
        id=fill.trade_id,
        account_id=fill.account_id,
        contract_id=fill.contract.id,
        creation_timestamp=fill.at,
        price=fill.price,
        profit_and_loss=fill.pnl,
        fees=fill.fees,
        side=fill.side,
        size=fill.size,
        order_id=fill.order_id,
    )


def _position(fill: Fill, held: _Held) -> PositionChanged:
    return PositionChanged(
        at=fill.at,
        account_id=fill.account_id,
        contract_id=fill.contract.id,
        type=PositionType.LONG if held.net >= 0 else PositionType.SHORT,
        size=abs(held.net),
        average_price=held.average,
    )
