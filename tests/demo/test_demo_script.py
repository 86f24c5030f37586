"""The demonstration's own limits against its own trader, in no time: who steps in, and when."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files

import pytest
from on_exchange import carry_out, report, resolved, told

from risk_manager.domain.decisions import Action, Decision, Severity
from risk_manager.domain.events import AccountOpened, ActionSettled, AnyEvent, Tick
from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import step
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.market import Market
from risk_manager.practice.trader import ExchangeHands, Trader
from risk_manager.settings import load

ACCOUNT = 101
OPEN = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


class Show:
    """The whole demonstration with a broker that is quick and never ill."""

    def __init__(self, book: Rulebook, seed: int) -> None:
        self.now = OPEN
        self.exchange = Exchange()
        self.market = Market(self.exchange, seed)
        self.trader = Trader(ExchangeHands(self.exchange, ACCOUNT, self.market))
        self.state = State.at(OPEN, book)
        self.rows: list[tuple[float, Decision]] = []
        self.happen([AccountOpened(at=OPEN, account_id=ACCOUNT), *resolved(self.exchange, OPEN)])

    @property
    def elapsed(self) -> float:
        return (self.now - OPEN).total_seconds()

    def happen(self, events: Iterable[AnyEvent]) -> None:
        asked: list[Action] = []
        for event in events:
            outcome = step(self.state, event)
            self.state = outcome.state
            self.rows += [(self.elapsed, d) for d in outcome.decisions]
            asked += outcome.actions
            if outcome.reads:
                self.happen([report(self.exchange, ACCOUNT, self.now)])
        for action in asked:
            outcome_, order_id = carry_out(self.exchange, action, self.now)
            self.hear()
            self.happen(
                [
                    report(self.exchange, ACCOUNT, self.now),
                    ActionSettled(
                        at=self.now,
                        account_id=ACCOUNT,
                        action_id=action.id,
                        outcome=outcome_,
                        verified=True,
                        order_id=order_id,
                    ),
                ]
            )

    def hear(self) -> None:
        frames = self.exchange.drain_events()
        self.happen([e for e in (told(f, self.now) for f in frames) if e is not None])

    def play(self) -> None:
        while not self.trader.is_done:
            self.market.step(self.now)
            self.hear()
            for due in self.trader.due(self.elapsed):
                self.trader.perform(due, now=self.now)
                self.hear()
            if self.elapsed % 1 == 0:
                self.happen([Tick(at=self.now)])
            self.now += timedelta(seconds=self.market.step_seconds)

    def first(self, rule: str, severity: Severity = Severity.BREACH) -> float:
        """When a rule decided first, in seconds from the start."""
        return min(at for at, d in self.rows if d.rule_id == rule and d.severity is severity)


@pytest.mark.parametrize("seed", [1, 3, 7, 11, 12])
def test_the_trader_runs_into_nine_rules_and_ends_the_day_within_a_minute(seed: int) -> None:
    with as_file(files("risk_manager.demo") / "config") as folder:
        configuration = load(folder, {})
    show = Show(configuration.rulebook(), seed)
    show.play()
    happened = [
        show.first("symbol_blocks"),
        show.first("max_contracts"),
        show.first("max_contracts_per_instrument"),
        show.first("trade_management", Severity.INFO),
        show.first("no_stop_loss_grace"),
        show.first("trade_frequency_limit"),
        show.first("daily_unrealized_loss"),
        show.first("cooldown_after_loss"),
        show.first("daily_realized_loss"),
    ]
    assert happened[1] < 15
    assert happened[2] < 15
    assert happened[-1] < 60
    account = show.state.accounts[ACCOUNT]
    assert show.exchange.is_flat(ACCOUNT)
    assert [k.policy for k in account.locks.values() if k.rule_id == "daily_realized_loss"] == [
        LockPolicy.FLAT
    ]
    # Nothing of what was tried afterwards lived for a quarter of a second.
    ended = OPEN + timedelta(seconds=happened[-1])
    late = [t for t in show.exchange.trades(ACCOUNT) if t.created_at > ended]
    assert len({t.contract_id for t in late}) >= 4
    for entry, leaving in zip(late[::2], late[1::2], strict=True):
        assert (entry.contract_id, entry.size) == (leaving.contract_id, leaving.size)
        assert entry.created_at == leaving.created_at
