"""The day of one account for the screen: its curve, its limits, its trades and their sums. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from risk_manager.domain.account import Account
from risk_manager.domain.events import Tick
from risk_manager.domain.money import ZERO, cents
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.feed.day_curve import DayCurve, Extreme
from risk_manager.feed.messages import (
    DayCourse,
    DayTrade,
    LimitLine,
    ResultAt,
    ResultStretch,
    TradeSums,
)

MOST_POINTS = 400


def day_course(state: State, account: Account, curve: DayCurve | None) -> DayCourse:
    """Return the course of the account's trading day. `curve` is that of the same date, or None."""
    return DayCourse(
        trading_date=account.trading_date.isoformat(),
        starts_at=state.day.starts_at,
        ends_at=state.day.ends_at,
        realised=tuple(_thinned(list(_realised(account)), MOST_POINTS)),
        total=()
        if curve is None
        else tuple(
            ResultStretch(at=s.at, low=_money(s.low), high=_money(s.high), last=_money(s.last))
            for s in curve.at_most(MOST_POINTS)
        ),
        watched_since=None if curve is None else curve.watched_since,
        high=None if curve is None else _result(curve.high),
        low=None if curve is None else _result(curve.low),
        drawdown=None if curve is None else _result(curve.drawdown),
        limits=tuple(_limits(state, account)),
        sums=tuple(_sums(state, account)),
    )


def day_trades(state: State, account: Account) -> list[DayTrade]:
    """Return the trades of the day with closed lots, newest first."""
    realised_after: dict[tuple[int, int], Decimal] = {}
    realised = ZERO
    for execution in account.ledger.on(account.trading_date):
        realised += execution.net
        realised_after[execution.id, execution.part] = realised
    return [
        DayTrade(
            contract_id=turn.contract_id,
            symbol=state.name(turn.contract_id),
            side="long" if turn.last.signed_size < 0 else "short",
            size=turn.size,
            price=float(turn.last.price),
            net=_money(turn.net),
            fees=_money(turn.fees),
            opened_at=turn.first_at,
            closed_at=turn.last_at,
            realised_after=_money(realised_after[turn.last.id, turn.last.part]),
            is_over=turn.is_over,
        )
        for turn in reversed(_turns(account))
    ]


def _turns(account: Account) -> list[RoundTurn]:
    return [t for t in account.ledger.round_turns() if t.trading_date == account.trading_date]


def _realised(account: Account) -> Iterator[ResultAt]:
    realised = ZERO
    for execution in account.ledger.on(account.trading_date):
        realised += execution.net
        yield ResultAt(at=execution.executed_at, net=_money(realised))


def _thinned(points: Sequence[ResultAt], count: int) -> Iterable[ResultAt]:
    """Return at most `count` points: the last one, and of each run the lowest and the highest."""
    if len(points) <= count:
        return points
    run = -(-len(points) * 2 // (count - 1))
    kept: list[ResultAt] = []
    for start in range(0, len(points) - 1, run):
        part = points[start : start + run]
        ends = {id(p): p for p in (min(part, key=_net), max(part, key=_net))}
        kept += sorted(ends.values(), key=lambda p: p.at)
    return kept if kept[-1] is points[-1] else [*kept, points[-1]]


def _net(point: ResultAt) -> float:
    return point.net


def _limits(state: State, account: Account) -> Iterator[LimitLine]:
    """Yield the limits on the day's result in force; a looser one that still waits is left out."""
    view = View(state, account, Tick(at=state.now))
    rules = state.rulebook.for_account(account.id)
    for rule in rules.rules:
        meter = None if rule.id in rules.waiting else _meter(rule, view)
        if meter is not None and meter.day_result is not None:
            yield LimitLine(
                rule_id=rule.id,
                title=meter.title,
                net=_money(meter.day_result),
                counts_open=meter.counts_open,
                shadow=rule.shadow or rules.mode is Mode.SHADOW,
            )


def _meter(rule: Rule, view: View) -> Meter | None:
    try:
        return rule.meter(view)
    except Exception:  # an error in one rule must not lose the whole day; its meter says so
        return None


def _sums(state: State, account: Account) -> Iterator[TradeSums]:
    finished = [t for t in _turns(account) if t.is_over]
    yield _sum("", finished)
    of_product: dict[str, list[RoundTurn]] = {}
    for turn in finished:
        of_product.setdefault(state.name(turn.contract_id), []).append(turn)
    for symbol in sorted(of_product):
        yield _sum(symbol, of_product[symbol])


def _sum(symbol: str, turns: list[RoundTurn]) -> TradeSums:
    nets = [turn.net for turn in turns]
    won, lost = [n for n in nets if n > 0], [n for n in nets if n < 0]
    return TradeSums(
        symbol=symbol,
        trades=len(nets),
        won=len(won),
        lost=len(lost),
        net=_money(sum(nets, ZERO)),
        best=None if not nets else _money(max(nets)),
        worst=None if not nets else _money(min(nets)),
        average=_average(nets),
        average_won=_average(won),
        average_lost=_average(lost),
    )


def _average(nets: list[Decimal]) -> float | None:
    return None if not nets else _money(sum(nets, ZERO) / len(nets))


def _result(extreme: Extreme | None) -> ResultAt | None:
    return None if extreme is None else ResultAt(at=extreme.at, net=_money(extreme.net))


def _money(amount: Decimal) -> float:
    return float(cents(amount))
