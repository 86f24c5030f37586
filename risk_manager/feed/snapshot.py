"""Builds snapshots of the state for the feed, of one account or of everything."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from risk_manager.domain.account import ENFORCER, Account
from risk_manager.domain.events import Tick
from risk_manager.domain.exit_orders import Effect, effects
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.live_accounts import why_left_alone
from risk_manager.domain.locks import Lock, strictest
from risk_manager.domain.money import cents
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import AccountRules, is_older
from risk_manager.domain.scope import ACCOUNT_SCOPE
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine.left_behind import is_left_behind
from risk_manager.feed.messages import (
    AccountSnapshot,
    AlarmRow,
    DeadlineRow,
    DoubtRow,
    EnforcementAction,
    HubRow,
    LockRow,
    MeterRow,
    OrderRow,
    PositionRow,
    QuoteRow,
    Snapshot,
    TradeRow,
    Vitals,
)

TRADES_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of the daemon."""

    run_id: str
    version: str
    status: str


def money(amount: Decimal | None) -> float | None:
    """An amount as a JSON number in whole cents; unknown stays unknown."""
    return None if amount is None else float(cents(amount))


def price(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def utc(at: datetime | None) -> datetime | None:
    """Convert a time to UTC: rules may use the session's time zone, the feed uses UTC only."""
    return None if at is None else at.astimezone(UTC)


def lockout_id(lock: Lock) -> str:
    """Names a lock for as long as it is in force."""
    return f"{lock.account_id}:{lock.scope}:{lock.rule_id}"


class TradeBook:
    """Closed trades of each account, computed again only when its ledger has changed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Ledger, str, tuple[TradeRow, ...], int]] = {}

    def of(self, state: State, account: Account) -> tuple[tuple[TradeRow, ...], int]:
        """Return the newest trades of the day with closed lots, and how many have ended."""
        date = account.trading_date.isoformat()
        known = self._known.get(account.id)
        if known is not None and known[0] is account.ledger and known[1] == date:
            return known[2], known[3]
        turns = [t for t in account.ledger.round_turns() if t.trading_date == account.trading_date]
        rows = tuple(
            TradeRow(
                order_id=t.order_id,
                contract_id=t.contract_id,
                symbol=state.name(t.contract_id),
                size=t.size,
                pnl=float(cents(t.pnl)),
                fees=float(cents(t.fees)),
                net=float(cents(t.net)),
                closed_at=t.last_at,
            )
            for t in reversed(turns[-TRADES_SHOWN:])
        )
        ended = sum(t.is_over for t in turns)
        self._known[account.id] = (account.ledger, date, rows, ended)
        return rows, ended


def account_snapshot(
    state: State,
    account: Account,
    *,
    trades: TradeBook,
    enforcements: Iterable[EnforcementAction] = (),
    known: bool = True,
    clocked_in_at: datetime | None = None,
) -> AccountSnapshot:
    """Return a complete account as of the state's time. `known`: its trades have been read too."""
    view = View(state, account, Tick(at=state.now))
    today = view.today
    unrealised = view.unrealised_total()
    closed, closed_count = trades.of(state, account)
    rules = state.rulebook.for_account(account.id)
    policy = strictest(lock for lock in account.locks.values() if lock.scope == ACCOUNT_SCOPE)
    return AccountSnapshot(
        account_id=account.id,
        name=account.name,
        mode=rules.mode_of(simulated=account.simulated).value,
        mode_reason=why_left_alone(account, rules),
        balance=money(account.balance),
        can_trade=account.can_trade,
        simulated=account.simulated,
        reported_at=account.reported_at,
        trading_date=account.trading_date.isoformat(),
        realised_net=float(cents(today.net)),
        realised_gross=float(cents(today.pnl)),
        fees=float(cents(today.fees)),
        unrealised=money(unrealised),
        total=None if unrealised is None else float(cents(today.net + unrealised)),
        executions=today.executions,
        round_turns=closed_count,
        contracts_held=account.contracts_held,
        lock_policy=None if policy is None else policy.value,
        positions=tuple(
            _position(state, view, account, p)
            for p in sorted(account.positions.values(), key=lambda p: p.contract_id)
        ),
        orders=tuple(_orders(state, view, account)),
        locks=tuple(
            lock_row(lock) for lock in sorted(account.locks.values(), key=_strictest_first)
        ),
        deadlines=tuple(
            DeadlineRow(
                rule_id=m.rule_id, subject=m.subject, due_at=m.due_at.astimezone(UTC), value=m.value
            )
            for m in account.marks.values()
            if m.due_at is not None and m.due_at > state.now and m.rule_id != ENFORCER
        ),
        meters=tuple(_meters(account, rules, view)),
        trades=closed,
        enforcements=tuple(enforcements),
        failed_rules=tuple(sorted(account.failed_rules)),
        known=known and account.reported_as_of is not None,
        clocked_in_at=utc(clocked_in_at),
    )


def snapshot(
    state: State,
    accounts: Iterable[AccountSnapshot],
    *,
    identity: Identity,
    vitals: Vitals,
    now: datetime,
    alarms: Iterable[AlarmRow] = (),
) -> Snapshot:
    """Everything a screen shows, with the accounts given. `now` is the daemon's clock."""
    return Snapshot(
        status=identity.status,
        run_id=identity.run_id,
        version=identity.version,
        timestamp=now,
        state_age_s=seconds_since(state.now, now),
        next_reset=state.day.ends_at,
        accounts=tuple(accounts),
        quotes=tuple(quote_row(state, contract_id, now) for contract_id in sorted(state.quotes)),
        hubs=hub_rows(state, vitals),
        rest=vitals.rest,
        db=vitals.db,
        alarms=tuple(alarms),
        doubts=doubt_rows(state, now),
        token_expires_at=vitals.token_expires_at,
    )


def seconds_since(then: datetime, now: datetime) -> float:
    return round(max((now - then).total_seconds(), 0.0), 3)


def hub_rows(state: State, vitals: Vitals) -> dict[str, HubRow]:
    return {
        str(name): HubRow(
            state=str(status.state),
            since=status.since,
            reason=status.reason,
            last_message_age_s=vitals.hub_message_age_s.get(str(name)),
        )
        for name, status in state.hubs.items()
    }


def doubt_rows(state: State, now: datetime) -> tuple[DoubtRow, ...]:
    return tuple(
        DoubtRow(
            kind=doubt.kind.value,
            since=doubt.since,
            age_s=seconds_since(doubt.since, now),
            reason=doubt.reason,
            account_id=doubt.account_id,
            subject=doubt.subject,
            critical=doubt.critical,
        )
        for doubt in sorted(
            state.health_issues.values(), key=lambda d: (d.since, d.kind, d.subject)
        )
        if doubt.stands
    )


def quote_row(state: State, contract_id: str, now: datetime) -> QuoteRow:
    quote = state.quotes[contract_id]
    age = max(now - quote.at, now - now)
    return QuoteRow(
        contract_id=contract_id,
        symbol=state.name(contract_id),
        bid=quote.best_bid,
        ask=quote.best_ask,
        last=quote.last_price,
        at=quote.at,
        age_ms=int(age.total_seconds() * 1000),
        fresh=age <= state.rulebook.defaults.quote_max_age,
    )


def lock_row(lock: Lock) -> LockRow:
    return LockRow(
        lockout_id=lockout_id(lock),
        rule_id=lock.rule_id,
        scope=lock.scope,
        policy=lock.policy.value,
        kind=lock.kind.value,
        release=lock.release.value,
        reason=lock.reason,
        set_at=lock.set_at,
        expires_at=utc(lock.expires_at),
        admin_may_clear=lock.admin_may_clear,
    )


def _strictest_first(lock: Lock) -> tuple[bool, bool, datetime, str]:
    return (lock.policy.value != "flat", lock.scope != ACCOUNT_SCOPE, lock.set_at, lock.rule_id)


def _position(state: State, view: View, account: Account, position: Position) -> PositionRow:
    closing = account.closings.get(position.contract_id)
    return PositionRow(
        contract_id=position.contract_id,
        symbol=state.name(position.contract_id),
        root=state.root(position.contract_id),
        net=position.net,
        average_price=price(position.average_price),
        unrealised=money(view.unrealised(position)) if position.sided else None,
        opened_at=position.opened_at,
        age_s=seconds_since(position.opened_at, state.now),
        sided=position.sided,
        closing=closing is not None and closing.episode == position.episode,
    )


def _orders(state: State, view: View, account: Account) -> Iterable[OrderRow]:
    """All working orders by id, each with its part beside the position of its contract."""
    parts: dict[int, _Part] = {}
    of_contract: dict[str, list[Order]] = {}
    for order in account.orders.values():
        of_contract.setdefault(order.contract_id, []).append(order)
    for contract_id, orders in of_contract.items():
        position = account.positions.get(contract_id)
        if position is None:
            effect = dict.fromkeys((o.id for o in orders), Effect.ENTRY)
        elif position.sided:
            effect = effects(position.net, orders)
        else:  # which way the position leans is not known
            continue
        for order in orders:
            parts[order.id] = _part(state, view, account, order, effect[order.id])
    for order in sorted(account.orders.values(), key=lambda o: o.id):
        yield _order(state, order, parts.get(order.id, _Part()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    role: str = ""
    ticks_away: int | None = None
    result: float | None = None


def _part(state: State, view: View, account: Account, order: Order, effect: Effect) -> _Part:
    if is_left_behind(account, order):
        return _Part(role="orphan")
    if effect is not Effect.EXIT:
        return _Part(role=effect.value)
    role = "protective" if order.is_stop else "target"
    position = account.positions[order.contract_id]
    contract = state.contracts.get(order.contract_id)
    at = order.stop_price if order.is_stop else order.limit_price
    if contract is None or at is None:
        return _Part(role=role)
    now, average = view.price(position), position.average_price
    # Binary figures do for a count of ticks that is shown, and cost a tenth.
    away = None if now is None else abs(now - float(at)) / float(contract.tick_size)
    made = None
    if average is not None:
        ticks = (at - average) * position.side / contract.tick_size
        made = ticks * contract.tick_value * min(order.remaining, position.size)
    return _Part(role=role, ticks_away=None if away is None else round(away), result=money(made))


def _order(state: State, order: Order, part: _Part) -> OrderRow:
    return OrderRow(
        order_id=order.id,
        contract_id=order.contract_id,
        symbol=state.name(order.contract_id),
        type=order.type.name.lower(),
        side=order.side.name.lower(),
        status=order.status.name.lower(),
        size=order.size,
        filled=order.filled,
        limit_price=price(order.limit_price),
        stop_price=price(order.stop_price),
        age_s=seconds_since(order.created_at or order.seen_at, state.now),
        custom_tag=order.custom_tag,
        role=part.role,
        ticks_away=part.ticks_away,
        result=part.result,
    )


def _meters(account: Account, in_force: AccountRules, view: View) -> Iterable[MeterRow]:
    reset = view.state.day.ends_at
    for rule in in_force.rules:
        row = _meter(
            account,
            rule,
            view,
            shadow=not in_force.enforces(rule, simulated=account.simulated),
            counts_from=reset if rule.id in in_force.waiting else None,
            holds_until=reset if is_older(rule.id) else None,
        )
        if row is not None:
            yield row


def _meter(
    account: Account,
    rule: Rule,
    view: View,
    *,
    shadow: bool,
    counts_from: datetime | None,
    holds_until: datetime | None,
) -> MeterRow | None:
    try:
        meter = rule.meter(view)
    except Exception as error:  # an error in one rule must not lose the whole screen
        meter = _blind(rule, f"cannot be worked out: {type(error).__name__}: {error}")
    else:
        if rule.id in account.failed_rules:
            meter = _blind(rule, "this rule failed and is not judging; see the log")
    if meter is None:
        return None
    used = meter.used
    return MeterRow(
        rule_id=meter.rule_id,
        spec_id=meter.spec_id,
        title=meter.title,
        state=meter.state.value,
        sentence=meter.sentence,
        used=None if used is None else round(used, 4),
        current=price(meter.current),
        limit=price(meter.limit),
        headroom=price(meter.headroom),
        unit=meter.unit,
        shadow=shadow,
        counts_from=counts_from,
        holds_until=holds_until,
    )


def _blind(rule: Rule, sentence: str) -> Meter:
    return Meter(
        rule_id=rule.id,
        spec_id=rule.spec_id,
        title=rule.title,
        current=None,
        limit=None,
        unit="",
        state=MeterState.UNKNOWN,
        sentence=sentence,
    )
