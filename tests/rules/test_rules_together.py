"""All rules at once over a real (practice) exchange: what must hold whatever anyone does.

The core is driven as the daemon drives it, only that here frames may be lost, doubled and late,
and that calls may be refused, answered by nobody, or carried out without an answer.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from desk import MORNING, rules_from
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from on_exchange import carry_out, report, resolved, told

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    CancelOrder,
    ClosePosition,
    LockCleared,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
    Severity,
)
from risk_manager.domain.events import (
    AccountOpened,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    HubChanged,
    RulebookReplaced,
    Tick,
)
from risk_manager.domain.holdings import Order
from risk_manager.domain.locks import Lock, LockPolicy, Release, strictest
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step, step
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import Account as Broker
from risk_manager.practice.records import Bracket, Event, OrderType, Side

ACCOUNT = 101
ROOTS = ("MNQ", "MES", "ES", "RTY")
REST_TICKS = 11  # a second each: longer than a grace that begins anew
NOBODY_ANSWERS_AFTER = timedelta(seconds=20)

ALL: dict[str, Any] = {
    "max_contracts": {"limit": 5, "cancel_entry_orders": True},
    "max_contracts_per_instrument": {
        "limits": {"MNQ": 3, "ES": 1},
        "unknown_symbol": "allow_with_limit:2",
    },
    "daily_realized_loss": {"limit": 500},
    "daily_unrealized_loss": {"limit": 300},
    "max_unrealized_profit": {"target": 400},
    "trade_frequency_limit": {
        "windows": [
            {"per": "1m", "max": 4, "cooldown": "1m"},
            {"per": "trading_day", "max": 12, "cooldown": "until_reset"},
        ]
    },
    "cooldown_after_loss": {
        "tiers": [{"loss": 50, "cooldown": "2m"}, {"loss": 150, "cooldown": "10m"}]
    },
    "no_stop_loss_grace": {"grace": "5s", "rearm_grace": "5s"},
    "session_block_outside": {
        "timezone": "America/Chicago",
        "sessions": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:30", "end": "15:00"}
        ],
    },
    "auth_loss_guard": {},
    "symbol_blocks": {"blocked": ["RTY"]},
    "trade_management": {"enabled": True},
    "daily_profit_target": {"target": 700},
    "consecutive_loss_limit": {"losses": 3, "lockout": "5m"},
    "max_risk_at_entry": {"limit": 200},
    "no_averaging_down": {},
    "stop_guard": {"grace": "2s"},
    "size_after_loss": {"factor": 2},
    "reentry_delay": {"delay": "10s"},
}
# What an edit may turn the file into: laxer, tighter, other actions.
EDITS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "laxer": {
        "max_contracts": {"limit": 9},
        "daily_realized_loss": {"limit": 5000},
        "symbol_blocks": {"blocked": []},
        "cooldown_after_loss": {"tiers": [{"loss": 400, "cooldown": "10s"}]},
        "no_stop_loss_grace": {"grace": "1h"},
    },
    "tighter": {
        "max_contracts": {"limit": 2, "action": "close_newest"},
        "daily_realized_loss": {"limit": 100, "include_unrealized": True},
        "max_contracts_per_instrument": {"limits": {"MNQ": 1}, "action": "close_position"},
        "symbol_blocks": {"blocked": ["ES"], "existing_positions": "close_only"},
        "consecutive_loss_limit": {"losses": 1, "scope": "root", "action": "close_all"},
    },
    "pauses": {
        "max_contracts": {"limit": 9},
        "daily_unrealized_loss": {"limit": 900, "scope": "trade"},
        "no_stop_loss_grace": {"grace": "1h", "rearm_grace": "1h"},
        "trade_frequency_limit": {
            "windows": [{"per": "1m", "max": 1, "cooldown": "5m"}],
            "trip": "reach",
        },
        "max_contracts_per_instrument": {"limits": {"MNQ": 6, "MES": 6}},
    },
    "helped": {
        "no_stop_loss_grace": {"grace": "2s", "action": "place_stop", "place_stop_ticks": 40},
        "trade_management": {
            "enabled": True,
            "initial_stop": {"enabled": True, "ticks": 40},
            "take_profit": {"enabled": True, "ticks": 60},
        },
    },
    "fewer": {"auth_loss_guard": None, "session_block_outside": None, "symbol_blocks": None},
}


def rules_of(edit: str) -> list[Rule]:
    sections = {k: v for k, v in {**ALL, **EDITS[edit]}.items() if v is not None}
    return rules_from(**sections)


def book_of(rules: Iterable[Rule]) -> Rulebook:
    return Rulebook(accounts={ACCOUNT: AccountRules.of(rules)})


@dataclass(slots=True)
class Call:
    """An action on its way to the broker."""

    action: Action
    sent_at: datetime


class Together(RuleBasedStateMachine):
    """One account, one exchange, one core; and a second core with the rules in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = MORNING
        self.exchange = Exchange([Broker(ACCOUNT, "A")], rng=Random(7), max_fill=2)
        self.contracts = {root: self.exchange.contract_of(root) for root in ROOTS}
        for contract in self.contracts.values():
            self.exchange.move_price(contract.id, contract.product.start_price, now=self.now)
        self.exchange.drain_events()
        self.waiting: list[Event] = []
        self.calls: list[Call] = []
        self.edits_seen: set[str] = set()
        self.state = State.at(self.now, book_of(rules_of("as shipped")))
        self.twin = self.state
        self.told: dict[tuple[str, str], Severity] = {}
        self.broken = True
        self.lock_since: dict[str, int] = {}  # contract -> net when no_entries began

    # --- the core ---

    def happens(self, event: AnyEvent) -> Step:
        before = self.state
        self.broken = True  # until all was found well
        outcome = step(before, event)
        self.state = outcome.state
        self._check_actions(outcome)
        self._check_locks(before, outcome)
        self._check_rows(before, outcome)
        self._check_ceilings()
        assert not [f for f in outcome.facts if isinstance(f, Alarm) and f.code == "rule_failed"]
        self._check_twin(event, outcome)
        for action in outcome.actions:
            self.calls.append(Call(action, self.now))
        self.broken = False
        return outcome

    @property
    def account(self) -> Account:
        return self.state.accounts[ACCOUNT]

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def tick(self, seconds: float = 1) -> None:
        self.passes(seconds)
        self.happens(Tick(at=self.now))

    def report(self) -> None:
        """The account as the broker has it now."""
        self.happens(report(self.exchange, ACCOUNT, self.now))

    def hear(self, frame: Event) -> None:
        event = told(frame, self.now)
        if event is not None:
            self.happens(event)

    def heard_at_exchange(self) -> None:
        """What the exchange has to tell waits on the wire; quotes arrive at once."""
        for frame in self.exchange.drain_events():
            if frame.kind == "quote":
                self.hear(frame)
            else:
                self.waiting.append(frame)

    # --- the beginning ---

    @initialize(edit=st.sampled_from(sorted(EDITS)))
    def opens(self, edit: str) -> None:
        self.happens(AccountOpened(at=self.now, account_id=ACCOUNT))
        for contract in resolved(self.exchange, self.now):
            self.happens(contract)
        self.edits(edit)
        for hub in ("user", "market"):
            self.happens(HubChanged.model_validate({"at": self.now, "hub": hub, "state": "up"}))
        self.report()
        self.quotes()

    def quotes(self) -> None:
        """Every contract is quoted where it is."""
        for contract in self.contracts.values():
            last = self.exchange.book(contract.id).last
            self.exchange.move_price(contract.id, last, now=self.now)
        self.heard_at_exchange()

    # --- the trader ---

    @rule(
        root=st.sampled_from(ROOTS),
        side=st.sampled_from(list(Side)),
        size=st.integers(1, 6),
        with_stop=st.booleans(),
    )
    def trades(self, root: str, side: Side, size: int, with_stop: bool) -> None:
        self.passes(0.2)
        stop = Bracket(20, OrderType.STOP) if with_stop else None
        self.exchange.order_entry.place(
            ACCOUNT, self.contracts[root].id, side, size, now=self.now, stop_loss=stop
        )
        self.heard_at_exchange()

    @rule(root=st.sampled_from(["MNQ", "MES"]), ticks=st.integers(-90, 90))
    def trades_well_guarded(self, root: str, ticks: int) -> None:
        """In with a stop, the frames arrive, the price moves: an ordinary trade."""
        self.trades(root, Side.BUY, 2, True)
        self.frames_arrive(30)
        contract = self.contracts[root]
        last = self.exchange.book(contract.id).last + ticks * contract.tick_size
        self.exchange.move_price(contract.id, last, now=self.now)
        self.heard_at_exchange()
        self.frames_arrive(30)
        self.tick()

    @rule(
        root=st.sampled_from(ROOTS),
        side=st.sampled_from(list(Side)),
        size=st.integers(1, 4),
        kind=st.sampled_from(
            [OrderType.LIMIT, OrderType.STOP, OrderType.STOP, OrderType.TRAILING_STOP]
        ),
        ticks=st.integers(1, 40),
    )
    def leaves_an_order(
        self, root: str, side: Side, size: int, kind: OrderType, ticks: int
    ) -> None:
        self.passes(0.2)
        contract = self.contracts[root]
        away = ticks * contract.tick_size * side.sign
        last = self.exchange.book(contract.id).last
        price = last - away if kind is OrderType.LIMIT else last + away
        self.exchange.order_entry.place(
            ACCOUNT,
            contract.id,
            side,
            size,
            kind,
            now=self.now,
            limit_price=price if kind is OrderType.LIMIT else None,
            stop_price=price if kind is OrderType.STOP else None,
            trail_price=ticks * contract.tick_size if kind is OrderType.TRAILING_STOP else None,
        )
        self.heard_at_exchange()

    @rule(data=st.data())
    @precondition(lambda self: self.exchange.positions(ACCOUNT))
    def protects_a_position(self, data: st.DataObject) -> None:
        """A stop for all of it, as most traders do."""
        self.passes(0.2)
        position = data.draw(st.sampled_from(self.exchange.positions(ACCOUNT)))
        contract = self.exchange.contracts[position.contract_id]
        side = Side.SELL if position.net > 0 else Side.BUY
        price = self.exchange.book(contract.id).last + side.sign * 30 * contract.tick_size
        self.exchange.order_entry.place(
            ACCOUNT,
            contract.id,
            side,
            position.size,
            OrderType.STOP,
            now=self.now,
            stop_price=price,
        )
        self.heard_at_exchange()

    @rule(data=st.data(), size=st.integers(0, 2))
    @precondition(lambda self: self.exchange.positions(ACCOUNT))
    def closes_by_hand(self, data: st.DataObject, size: int) -> None:
        self.passes(0.2)
        held = data.draw(st.sampled_from(self.exchange.positions(ACCOUNT)))
        if size:
            self.exchange.order_entry.partial_close(ACCOUNT, held.contract_id, size, now=self.now)
        else:
            self.exchange.order_entry.close_position(ACCOUNT, held.contract_id, now=self.now)
        self.heard_at_exchange()

    @rule(data=st.data())
    @precondition(lambda self: self.exchange.working_orders(ACCOUNT))
    def cancels_an_order(self, data: st.DataObject) -> None:
        self.passes(0.2)
        order = data.draw(st.sampled_from(self.exchange.working_orders(ACCOUNT)))
        self.exchange.order_entry.cancel(ACCOUNT, order.id, now=self.now)
        self.heard_at_exchange()

    # --- the market and the platform ---

    @rule(data=st.data(), ticks=st.integers(-90, 90))
    def price_moves(self, data: st.DataObject, ticks: int) -> None:
        """Of what is held, as a rule: other prices concern nobody."""
        self.passes(0.2)
        held = {p.contract_id for p in self.exchange.positions(ACCOUNT)}
        chosen = [c for c in self.contracts.values() if c.id in held]
        contract = data.draw(st.sampled_from(chosen or list(self.contracts.values())))
        last = self.exchange.book(contract.id).last + ticks * contract.tick_size
        self.exchange.move_price(contract.id, last, now=self.now)
        self.heard_at_exchange()

    @rule(may=st.sampled_from([True, True, False]))
    def platform_says(self, may: bool) -> None:
        self.passes(0.2)
        self.exchange.firm.set_can_trade(ACCOUNT, may, now=self.now)
        self.heard_at_exchange()

    @rule(is_open=st.sampled_from([True, True, False]))
    def market_is(self, is_open: bool) -> None:
        self.passes(0.2)
        self.exchange.set_market_open(is_open, now=self.now)
        self.heard_at_exchange()

    @rule(data=st.data())
    @precondition(lambda self: self.exchange.trades(ACCOUNT))
    def trade_is_voided(self, data: st.DataObject) -> None:
        self.passes(0.2)
        trade = data.draw(st.sampled_from(self.exchange.trades(ACCOUNT)))
        self.exchange.firm.void_trade(trade.id, now=self.now)
        self.heard_at_exchange()

    # --- the wire ---

    @rule(count=st.integers(1, 12))
    def frames_arrive(self, count: int) -> None:
        self.passes(0.01)
        arriving, self.waiting = self.waiting[:count], self.waiting[count:]
        for frame in arriving:
            self.hear(frame)

    @rule(data=st.data(), how=st.sampled_from(["late", "twice", "lost"]))
    @precondition(lambda self: self.waiting)
    def frame_goes_astray(self, data: st.DataObject, how: str) -> None:
        self.passes(0.01)
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        if how == "lost":
            del self.waiting[index]
            return
        self.hear(self.waiting[index])
        if how == "late":
            del self.waiting[index]

    @rule(seconds=st.sampled_from([1, 1, 1, 5, 31, 70]))
    def time_passes(self, seconds: int) -> None:
        for _ in range(min(seconds, 5)):
            self.tick(seconds / min(seconds, 5))
        self._give_up_on_old_calls()

    @rule(until=st.sampled_from(["an hour", "the evening", "the next morning"]))
    def much_time_passes(self, until: str) -> None:
        target = self.now + timedelta(hours=1)
        if until != "an hour":
            target = self.now.replace(hour=23 if until == "the evening" else 16, minute=0)
            while target <= self.now or target.weekday() > 4:
                target += timedelta(days=1)
        for left in (3, 2, 1):
            self.tick((target - self.now).total_seconds() / left)
        self._give_up_on_old_calls()
        self.quotes()

    @rule()
    def broker_is_read(self) -> None:
        self.passes(0.2)
        self.report()

    @rule(hub=st.sampled_from(["user", "market"]))
    def stream_is_lost_and_found(self, hub: str) -> None:
        self.happens(HubChanged.model_validate({"at": self.now, "hub": hub, "state": "down"}))
        if hub == "user":
            self.waiting.clear()
        self.tick()
        self.happens(HubChanged.model_validate({"at": self.now, "hub": hub, "state": "up"}))
        self.passes(0.2)
        self.report()

    # --- the program ---

    @rule(edit=st.sampled_from(sorted(EDITS)))
    def edits(self, edit: str) -> None:
        self.edits_seen.add(edit)
        self.happens(RulebookReplaced(at=self.now, rulebook=book_of(rules_of(edit))))

    @rule(executed=st.booleans())
    def restarts(self, executed: bool) -> None:
        for call in self.calls:
            if executed:
                self.carry_out(call.action)
        self.calls.clear()
        self.waiting.clear()
        self.exchange.drain_events()
        self.state, self.twin = _restarted(self.state), _restarted(self.twin)
        self.tick()
        self.happens(AccountOpened(at=self.now, account_id=ACCOUNT))
        self.report()
        self.happens(Tick(at=self.now))

    @rule(policy=st.sampled_from(["flat", "no_entries"]), minutes=st.integers(1, 10))
    def admin_locks(self, policy: str, minutes: int) -> None:
        until = self.now + timedelta(minutes=minutes)
        self.happens(
            AdminAsked.model_validate(
                {
                    "at": self.now,
                    "account_id": ACCOUNT,
                    "verb": "lock",
                    "reason": "asked",
                    "policy": policy,
                    "until": until,
                }
            )
        )

    # --- the broker acts ---

    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            ["done", "done", "done", "refused", "unknown", "executed, unknown", "unread"]
        ),
    )
    @precondition(lambda self: self.calls)
    def call_ends(self, data: st.DataObject, outcome: str) -> None:
        self.passes(0.1)
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.end_call(call, outcome)

    def end_call(self, call: Call, how: str) -> None:
        outcome = Outcome.DONE
        order_id = None
        if how == "refused":
            outcome = Outcome.REFUSED
        elif how == "unknown":
            outcome = Outcome.UNKNOWN
        else:
            outcome, order_id = self.carry_out(call.action)
            if how == "executed, unknown":
                outcome = Outcome.UNKNOWN
        verified = how != "unread"
        if verified:
            self.report()
        self.happens(
            ActionSettled(
                at=self.now,
                account_id=ACCOUNT,
                action_id=call.action.id,
                outcome=outcome,
                verified=verified,
                order_id=order_id,
            )
        )

    def carry_out(self, action: Action) -> tuple[Outcome, int | None]:
        ended = carry_out(self.exchange, action, self.now)
        self.heard_at_exchange()
        return ended

    def _give_up_on_old_calls(self) -> None:
        for call in list(self.calls):
            if self.now - call.sent_at > NOBODY_ANSWERS_AFTER:
                self.calls.remove(call)
                self.end_call(call, "unknown")

    # --- all is well again ---

    @rule()
    def all_is_well_for_a_while(self) -> None:
        self.settle()

    def teardown(self) -> None:
        if not self.broken:
            self.settle()

    def settle(self) -> None:
        """Frames arrive, calls are obeyed, the account is read: then all must be as it should."""
        self.exchange.set_market_open(True, now=self.now)
        self.heard_at_exchange()
        at_rest = 0
        for _ in range(90):
            arriving, self.waiting = self.waiting, []
            for frame in arriving:
                self.hear(frame)
            obeyed = 0
            while self.calls:
                self.passes(0.05)
                self.end_call(self.calls.pop(0), "done")
                obeyed += 1
                assert obeyed < 120, f"no end of {self.account.attempts}"
            self.tick()
            self.report()
            waits = any(
                a.not_before is not None and a.not_before > self.now
                for a in self.account.attempts.values()
            )
            at_rest = 0 if self.waiting or self.calls or obeyed or waits else at_rest + 1
            if at_rest > REST_TICKS:
                break
        assert at_rest > REST_TICKS, f"it never came to rest: {self.account.attempts}"
        self._check_all_is_known()
        self._check_locked_is_locked()
        self._check_limits_hold()

    def _check_all_is_known(self) -> None:
        account = self.account
        assert {c: p.net for c, p in account.positions.items()} == {
            p.contract_id: p.net for p in self.exchange.positions(ACCOUNT)
        }
        working = {o.id: o for o in self.exchange.working_orders(ACCOUNT, suspended=True)}
        # Lists leave sleeping brackets out. One whose end was not heard is kept for as long as
        # some order works that could be its entry.
        kept = {
            o.id
            for o in account.orders.values()
            if o.status is OrderStatus.SUSPENDED
            and any(
                w.contract_id == o.contract_id and w.side.sign != o.side.sign
                for w in working.values()
            )
        }
        assert {o.id: o.remaining for o in account.orders.values() if o.id not in kept} == {
            o.id: o.remaining for o in working.values() if o.id not in kept
        }
        totals = account.ledger.totals.values()
        entries = {e.id for e in account.ledger.entries.values()}
        trades = [t for t in self.exchange.trades(ACCOUNT) if t.id in entries]
        standing = [t for t in trades if not t.voided]
        assert sum((t.pnl for t in totals), Decimal(0)) == sum(
            (t.profit_and_loss or Decimal(0) for t in standing), Decimal(0)
        )
        assert sum((t.fees for t in totals), Decimal(0)) == sum(
            (t.fees for t in standing), Decimal(0)
        )
        day = self.state.day
        today = [t for t in self.exchange.trades(ACCOUNT) if t.created_at in day]
        mine = account.ledger.day(day.date)
        assert mine.executions == len([t for t in today if not t.voided])

    def _check_locked_is_locked(self) -> None:
        for contract_id, policy in self._policies().items():
            net = self.exchange.net(ACCOUNT, contract_id)
            orders = [
                o
                for o in self.exchange.working_orders(ACCOUNT, suspended=True)
                if o.contract_id == contract_id
            ]
            if policy is LockPolicy.FLAT:
                assert not net, f"locked, and holding {net} {contract_id}"
                assert not orders, f"locked, and working {orders}"
            elif policy is LockPolicy.NO_ENTRIES:
                ceiling = self.account.ceilings.get(contract_id, 0)
                assert abs(net) <= abs(ceiling), f"{net} held where {ceiling} is allowed"
                assert net * ceiling >= 0
                for is_stop in (True, False):
                    leaving = sum(
                        o.remaining
                        for o in orders
                        if (o.stop_price is not None) is is_stop and net * o.side.sign < 0
                    )
                    assert leaving <= abs(net), f"exits of {leaving} for {net}"
                assert not [o for o in orders if net * o.side.sign >= 0], "an entry order works"

    def _check_limits_hold(self) -> None:
        rules = {r.rule: r for r in self.state.rulebook.for_account(ACCOUNT).rules}
        held = self.exchange.positions(ACCOUNT)
        assert sum(p.size for p in held) <= rules["max_contracts"].model_dump()["limit"]
        for position in self.account.positions.values():
            if self.edits_seen & {"laxer", "pauses"}:
                break  # a grace of an hour that has begun is not taken away
            stops = [o for o in self.account.orders_in(position.contract_id) if o.is_stop]
            assert sum(o.remaining for o in stops) >= position.size, "no stop, and no end of grace"
        blocked = rules.get("symbol_blocks")
        if blocked is not None and blocked.model_dump()["existing_positions"] == "close":
            roots = blocked.model_dump()["blocked"]
            assert not [p for p in held if self.state.root(p.contract_id) in roots]

    # --- what holds at every step ---

    def _policies(self) -> dict[str, LockPolicy | None]:
        account = self.state.accounts.get(ACCOUNT)
        if account is None:
            return {}
        return {
            c.id: strictest(k for k in account.locks.values() if k.covers(c.root, c.id))
            for c in self.contracts.values()
        }

    def _check_ceilings(self) -> None:
        """While entries are locked, what the core takes for allowed only falls."""
        account = self.state.accounts.get(ACCOUNT)
        if account is None:
            return
        for contract_id, policy in self._policies().items():
            if policy is None:
                self.lock_since.pop(contract_id, None)
                continue
            ceiling = account.ceilings.get(contract_id, 0)
            if policy is LockPolicy.FLAT and contract_id not in account.ceilings:
                continue
            known = self.lock_since.setdefault(contract_id, ceiling)
            assert abs(ceiling) <= abs(known), f"the ceiling rose from {known} to {ceiling}"
            assert ceiling * known >= 0
            self.lock_since[contract_id] = ceiling

    def _check_actions(self, outcome: Step) -> None:
        account = outcome.state.accounts.get(ACCOUNT)
        if account is None:
            return
        keys = Counter(a.key for a in outcome.actions)
        assert not [k for k, n in keys.items() if n > 1], f"twice in one step: {keys}"
        for action in outcome.actions:
            position = account.positions.get(action.contract_id)
            match action:
                case ClosePosition():
                    assert position is not None
                case ReducePosition():
                    assert position is not None
                    assert 0 < action.keep < position.size
                    assert action.side == position.side
                case PlaceExit() | MoveStop():
                    assert position is not None
                    assert action.side == position.side
                    assert 0 < action.size <= position.size
                case CancelOrder():
                    # A cancel that no list has borne out is repeated for an order that has ended.
                    assert action.order_id in {**account.orders, **account.finished}
        self._check_cover(account, outcome.actions)

    def _check_cover(self, account: Account, actions: tuple[Action, ...]) -> None:
        """Stops are never taken from a position that is still open."""
        cancelled = {a.order_id for a in actions if isinstance(a, CancelOrder)}
        resized = {a.order_id: a.size for a in actions if isinstance(a, MoveStop)}
        for contract_id, position in account.positions.items():
            stops = [
                o
                for o in account.orders_in(contract_id)
                if o.is_stop
                and o.side.sign != position.side
                and o.status in (OrderStatus.OPEN, OrderStatus.PENDING)
            ]
            before = min(sum(o.remaining for o in stops), position.size)
            after = sum(_left(o, resized) for o in stops if o.id not in cancelled)
            why = {a.key: account.attempts[a.key].reason for a in actions}
            words = f"{position.net} held, {before} covered, then {after}: {why} of {stops}"
            assert min(after, position.size) >= before, words

    def _check_locks(self, before: State, outcome: Step) -> None:
        known = before.accounts.get(ACCOUNT)
        if known is None:
            return
        account = outcome.state.accounts[ACCOUNT]
        cleared = {f.lock.key: f.cleared_by for f in outcome.facts if isinstance(f, LockCleared)}
        for key, lock in known.locks.items():
            still = account.locks.get(key)
            if still is None:
                assert key in cleared, f"{lock} vanished without a word"
                self._check_may_end(lock, outcome.state, cleared[key])
                continue
            if lock.policy is LockPolicy.FLAT:
                assert still.policy is LockPolicy.FLAT or key in cleared
            if lock.release is Release.TIME and still.release is Release.TIME:
                assert lock.expires_at is not None
                assert still.expires_at is None or still.expires_at >= lock.expires_at

    def _check_may_end(self, lock: Lock, state: State, cleared_by: str) -> None:
        now = state.now
        match lock.release:
            case Release.TIME:
                assert lock.expires_at is not None
                assert now >= lock.expires_at, lock
            case Release.RESET:
                assert lock.trading_date < state.day.date, lock
                assert lock.expires_at is None or now >= lock.expires_at, lock
            case Release.SESSION_START:
                local = now.astimezone(ZoneInfo("America/Chicago"))
                in_session = local.weekday() < 5 and time(8, 30) <= local.time() < time(15)
                over = lock.expires_at is not None and now >= lock.expires_at
                assert over or in_session, lock
            case Release.CAN_TRADE:
                assert state.accounts[ACCOUNT].can_trade is True, lock
            case Release.CONFIG:
                assert cleared_by == "config", lock
            case Release.MANUAL:
                raise AssertionError(f"nobody cleared {lock}")

    def _check_rows(self, before: State, outcome: Step) -> None:
        """One row for a breach as long as it stands; the next one counts on."""
        known = before.accounts.get(ACCOUNT)
        seen: set[tuple[str, str]] = set()
        for decision in outcome.decisions:
            key = (decision.rule_id, decision.subject)
            assert key not in seen, f"told twice at once: {key}"
            seen.add(key)
            severity = self.told.get(key)
            breach = known.breaches.get(key) if known else None
            if breach is not None:
                # What was over days ago is forgotten, and counts anew.
                forgotten = not breach.active and breach.trading_date < self.account.trading_date
                assert forgotten or decision.count == breach.count + 1
                assert not breach.active or severity is not decision.severity
            self.told[key] = decision.severity

    def _check_twin(self, event: AnyEvent, outcome: Step) -> None:
        """The order of the rules in the file, and among equals, changes nothing."""
        if isinstance(event, RulebookReplaced):
            event = RulebookReplaced(at=event.at, rulebook=_shuffled(event.rulebook, self.now))
        other = step(self.twin, event)
        self.twin = other.state
        assert Counter(outcome.actions) == Counter(other.actions)
        assert Counter(outcome.decisions) == Counter(other.decisions)
        if outcome.facts or other.facts:
            assert Counter(map(repr, outcome.facts)) == Counter(map(repr, other.facts))
            account, twin = outcome.state.accounts, other.state.accounts
            assert {i: dict(a.locks) for i, a in account.items()} == {
                i: dict(a.locks) for i, a in twin.items()
            }


def _left(order: Order, resized: dict[int, int]) -> int:
    return resized.get(order.id, order.remaining)


def _restarted(state: State) -> State:
    accounts = {
        i: replace(a, attempts={}, heard={}, finished={}, unlisted={}, outlived={}, disputes={})
        for i, a in state.accounts.items()
    }
    return replace(state, accounts=accounts, quotes={}, hubs={})


def _shuffled(book: Rulebook, seed: object) -> Rulebook:
    """The same rules from a file in another order; rules of one rank in any order."""
    random = Random(str(seed))
    accounts = {}
    for account_id, own in book.accounts.items():
        rules = list(own.rules)
        random.shuffle(rules)
        assert AccountRules.of(rules) == own
        rules.sort(key=lambda r: r.rank)
        prices = tuple(r for r in rules if r.uses_prices)
        accounts[account_id] = AccountRules(own.mode, tuple(rules), prices)
    return replace(book, accounts=accounts)


def test_whatever_happens_the_rules_together_keep_their_promises() -> None:
    run_state_machine_as_test(
        Together,
        settings=settings(
            max_examples=int(os.environ.get("TOGETHER_EXAMPLES", "60")),
            stateful_step_count=40,
            deadline=None,
            derandomize="CI" in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
