"""Turns a step of the pipeline into feed messages, and remembers the last ones."""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime

from risk_manager.domain.decisions import (
    Action,
    Alarm,
    CancelOrder,
    DayReset,
    Decision,
    Fact,
    LockCleared,
    LockSet,
    MoveStop,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import (
    ActionSettled,
    AnyEvent,
    OrderChanged,
    PositionChanged,
    TradeExecuted,
)
from risk_manager.domain.money import cents
from risk_manager.domain.state import State
from risk_manager.engine.report import Call, Result, Settled, effect_of, reported
from risk_manager.engine.step import Step
from risk_manager.feed.messages import (
    AlarmRow,
    DailyReset,
    Data,
    EnforcementAction,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    with_alarm,
)
from risk_manager.feed.snapshot import lockout_id, price, utc

REMEMBERED = 20

Told = tuple[int | None, Data]


class Memory:
    """The last enforcements of each account and the last alarms, newest first."""

    def __init__(
        self,
        enforcements: Iterable[tuple[int, EnforcementAction]] = (),
        alarms: Iterable[AlarmRow] = (),
    ) -> None:
        """Begin with entries of earlier runs, oldest first."""
        self._enforcements: dict[int, deque[EnforcementAction]] = {}
        self.alarms: tuple[AlarmRow, ...] = ()
        self.version = 0  # rises with every entry
        for account_id, entry in enforcements:
            self.enforced(account_id, entry)
        for alarm in alarms:
            self.alarmed(alarm)

    def of(self, account_id: int) -> tuple[EnforcementAction, ...]:
        return tuple(self._enforcements.get(account_id, ()))

    def alarmed(self, alarm: AlarmRow) -> None:
        self.version += 1
        self.alarms = with_alarm(self.alarms, alarm)[:REMEMBERED]

    def enforced(self, account_id: int, entry: EnforcementAction) -> None:
        """Keep an entry. The end of a call replaces its beginning."""
        self.version += 1
        kept = self._enforcements.setdefault(account_id, deque(maxlen=REMEMBERED))
        if entry.action_id is not None:
            for i, known in enumerate(kept):
                if known.action_id == entry.action_id:
                    kept[i] = entry
                    return
        kept.appendleft(entry)


def is_worth_keeping(outcome: Step) -> bool:
    """Whether this step must be remembered even while no client is connected."""
    return bool(outcome.decisions or outcome.actions or outcome.facts or outcome.settled)


def told(event: AnyEvent, outcome: Step) -> Iterator[Told]:
    """Yield the messages of a step in order. Alarms are left to `alarms`."""
    state = outcome.state
    match event:
        case TradeExecuted() if event.account_id in state.accounts:
            yield event.account_id, _trade(state, event)
        case PositionChanged() if event.account_id in state.accounts:
            yield event.account_id, _position(state, event)
        case OrderChanged() if event.account_id in state.accounts:
            yield event.account_id, _order(state, event)
    told_of = reported(event, outcome)
    if isinstance(event, ActionSettled):
        for settled in told_of.settled:
            yield settled.call.action.account_id, _ended(state, settled, event)
    for decision in told_of.decisions:
        yield decision.account_id, _decided(decision)
    for fact in told_of.facts:
        yield from _fact(fact)
    for call in told_of.calls:
        yield call.action.account_id, _started(state, call)


def alarms(outcome: Step) -> Iterator[AlarmRow]:
    for fact in outcome.facts:
        if isinstance(fact, Alarm):
            yield AlarmRow(
                at=fact.at,
                code=fact.code,
                message=fact.message,
                severity=fact.severity.value,
                account_id=fact.account_id,
                about=fact.about,
                over_at=fact.at if fact.ends else None,
            )


def touched(event: AnyEvent, before: State, outcome: Step) -> Iterator[int]:
    """The accounts this step changed."""
    after = outcome.state.accounts
    if after is before.accounts and outcome.state.contracts is before.contracts:
        return
    renamed = outcome.state.contracts is not before.contracts
    for account_id, account in after.items():
        if renamed or before.accounts.get(account_id) is not account:
            yield account_id


# --- the gateway's own ---


def _trade(state: State, event: TradeExecuted) -> GatewayUserTrade:
    account = state.accounts[event.account_id]
    today = account.ledger.day(account.trading_date)
    return GatewayUserTrade(
        id=event.id,
        contractId=event.contract_id,
        symbol=state.name(event.contract_id),
        profitAndLoss=price(event.profit_and_loss),
        quantity=event.size,
        side=int(event.side),
        size=event.size,
        price=float(event.price),
        fees=float(event.fees),
        voided=event.voided,
        orderId=event.order_id,
        creationTimestamp=event.creation_timestamp,
        executionTime=event.creation_timestamp,
        timestamp=event.at,
        realized_today=float(cents(today.net)),
        realized_today_gross=float(cents(today.pnl)),
    )


def _position(state: State, event: PositionChanged) -> GatewayUserPosition:
    return GatewayUserPosition(
        id=event.id,
        contractId=event.contract_id,
        symbol=state.name(event.contract_id),
        type=int(event.type),
        size=event.size,
        averagePrice=price(event.average_price),
        creationTimestamp=event.creation_timestamp,
        timestamp=event.at,
    )


def _order(state: State, event: OrderChanged) -> GatewayUserOrder:
    return GatewayUserOrder(
        id=event.id,
        contractId=event.contract_id,
        symbol=state.name(event.contract_id),
        symbolId=event.symbol_id,
        type=int(event.type),
        side=int(event.side),
        size=event.size,
        status=int(event.status),
        limitPrice=price(event.limit_price),
        stopPrice=price(event.stop_price),
        fillVolume=event.fill_volume,
        filledPrice=price(event.filled_price),
        customTag=event.custom_tag,
        creationTimestamp=event.creation_timestamp,
        updateTimestamp=event.update_timestamp,
        timestamp=event.at,
    )


# --- ours ---


def _fact(fact: Fact) -> Iterator[Told]:
    match fact:
        case LockSet(lock=lock):
            yield (
                lock.account_id,
                LockoutSet(
                    lockout_id=lockout_id(lock),
                    rule_id=lock.rule_id,
                    scope=lock.scope,
                    policy=lock.policy.value,
                    kind=lock.kind.value,
                    release=lock.release.value,
                    reason=lock.reason,
                    locked_at=lock.set_at,
                    locked_until=utc(lock.expires_at),
                    admin_may_clear=lock.admin_may_clear,
                ),
            )
        case LockCleared(lock=lock):
            yield (
                lock.account_id,
                LockoutCleared(
                    lockout_id=lockout_id(lock),
                    rule_id=lock.rule_id,
                    scope=lock.scope,
                    cleared_at=fact.at,
                    cleared_by=fact.cleared_by.upper(),
                ),
            )
        case DayReset():
            yield (
                fact.account_id,
                DailyReset(
                    reset_time=fact.at,
                    previous_date=fact.old_date,
                    trading_date=fact.new_date,
                    previous_pnl=float(cents(fact.previous_net)),
                    previous_trade_count=fact.previous_executions,
                    lockouts_cleared=fact.locks_cleared > 0,
                    lockouts_cleared_count=fact.locks_cleared,
                ),
            )


def _decided(decision: Decision) -> EnforcementAction:
    return EnforcementAction(
        phase="decided",
        action=effect_of(decision.asks).upper(),
        reason=decision.reason,
        rule_ids=(decision.rule_id,),
        timestamp=decision.at,
        shadow=decision.shadow,
        severity=decision.severity.value,
        details={
            "spec_id": decision.spec_id,
            "subject": decision.subject,
            "count": decision.count,
        },
    )


def _started(state: State, call: Call) -> EnforcementAction:
    return _call(state, call, phase="started", at=state.now, details=_details(call.action))


def _ended(state: State, settled: Settled, event: ActionSettled) -> EnforcementAction:
    details = {**_details(settled.call.action), "outcome": settled.outcome.value}
    if event.message:
        details["message"] = event.message
    if event.error_code is not None:
        details["error_code"] = event.error_code
    return _call(
        state,
        settled.call,
        phase=settled.result.value,
        at=event.at,
        success=_SUCCESS[settled.result],
        duration_ms=round(settled.took.total_seconds() * 1000, 3),
        details=details,
    )


_SUCCESS = {Result.CONFIRMED: True, Result.FAILED: False, Result.UNCERTAIN: None}


def _call(
    state: State,
    call: Call,
    *,
    phase: str,
    at: datetime,
    details: dict[str, object],
    success: bool | None = None,
    duration_ms: float | None = None,
) -> EnforcementAction:
    return EnforcementAction(
        phase=phase,
        action=call.kind.upper(),
        reason=call.reason,
        rule_ids=call.rule_ids,
        timestamp=at,
        action_id=call.action.id,
        success=success,
        contract_id=call.action.contract_id,
        symbol=state.name(call.action.contract_id),
        attempt=call.tries,
        duration_ms=duration_ms,
        details=details,
    )


def _details(action: Action) -> dict[str, object]:
    match action:
        case ReducePosition():
            return {"keep": action.keep}
        case CancelOrder():
            return {"order_id": action.order_id}
        case PlaceExit():
            return {
                "size": action.size,
                "stop_price": price(action.stop_price),
                "limit_price": price(action.limit_price),
            }
        case MoveStop():
            return {
                "order_id": action.order_id,
                "size": action.size,
                "stop_price": price(action.stop_price),
            }
    return {}
