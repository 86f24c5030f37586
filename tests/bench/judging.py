"""What one step costs: per quote, position, order and tick, by contracts held and by accounts.

Most quotes are where no rule can have anything to say; one near a limit asks them all.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from bench.figures import Figures, per_call_us
from desk import contract, contract_id

from risk_manager.domain.decisions import Action, Outcome
from risk_manager.domain.events import (
    AccountOpened,
    ActionSettled,
    AnyEvent,
    ContractResolved,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    Tick,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.money import NOWHERE
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import step
from risk_manager.rules import RULES

AT = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
SYMBOLS = ("MNQ", "MES", "ES", "NQ", "M2K", "RTY", "CL", "MCL", "GC", "MGC")
BLOCKED = "6E"
SECTIONS: dict[str, dict[str, object]] = {
    "max_contracts": {"limit": 500},
    "max_contracts_per_instrument": {"limits": {s: 50 for s in SYMBOLS}},
    "daily_realized_loss": {"limit": 500000},
    "symbol_blocks": {"blocked": [BLOCKED]},
    "daily_unrealized_loss": {"limit": 300000},
    "max_unrealized_profit": {"target": 1000000},
    "trade_frequency_limit": {"windows": [{"name": "m", "per": "1m", "max": 3, "cooldown": "1m"}]},
    "cooldown_after_loss": {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    "no_stop_loss_grace": {"grace": "1h"},
    "session_block_outside": {
        "timezone": "America/Chicago",
        "sessions": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "00:00", "end": "24:00"}
        ],
    },
    "auth_loss_guard": {},
    "trade_management": {
        "breakeven": {"enabled": True, "trigger_ticks": 1000, "offset_ticks": 1},
        "trailing": {"enabled": False},
    },
    "daily_profit_target": {"target": 1000000},
    "consecutive_loss_limit": {"losses": 30, "lockout": "1h"},
    "trailing_max_drawdown": {"start_balance": 50000, "distance": 1000000},
    "trailing_daily_loss": {"limit": 1000000, "trail": "realized"},
    "period_loss": {"limit": 1000000},
    "scaling_plan": {"tiers": [{"max": 100}]},
    "giveback": {"arm_at": 1000000, "fraction": "0.4"},
    "consistency": {"since": "2026-11-01"},
    "max_risk_at_entry": {"limit": 500000},
    "no_averaging_down": {"tolerance": 500000},
    "stop_guard": {},
    "size_after_loss": {"factor": 100},
    "reentry_delay": {"delay": "1s"},
}


OF_THE_CALENDAR: dict[str, dict[str, object]] = {
    "product_caps": {"caps": [{"roots": ["GC", "MGC"], "limit": 500}]},
    "release_window": {
        "before": "5m",
        "after": "5m",
        "windows": [{"at": "2026-12-10 07:30", "roots": ["ES", "NQ", "RTY"]}],
    },
    "own_pace": {},
}
"""The rest of the rules of one account."""
FIRST_RULES = 14
"""The rules that the aims were set for; those after them came later."""


def rules_of(number: int | None = None) -> list[Rule]:
    """The first so many rules of the sections above, with limits that nothing here reaches."""
    known = {cls.model_fields["rule"].default: cls for cls in RULES}
    sections = SECTIONS | OF_THE_CALENDAR
    names = list(sections)[:number]
    return [known[name].model_validate({"rule": name, **sections[name]}) for name in names]


def position(account: int, symbol: str, size: int) -> PositionChanged:
    return PositionChanged.model_validate(
        {
            "at": AT,
            "id": 1,
            "accountId": account,
            "contractId": contract_id(symbol),
            "creationTimestamp": AT,
            "type": 1,
            "size": size,
            "averagePrice": 1000.25,
        }
    )


def order(account: int, symbol: str, size: int) -> OrderChanged:
    return OrderChanged.model_validate(
        {
            "at": AT,
            "id": 7,
            "accountId": account,
            "contractId": contract_id(symbol),
            "status": 1,
            "type": 4,
            "side": 1,
            "size": size,
            "stopPrice": 990.25,
        }
    )


def done(action: Action) -> ActionSettled:
    return ActionSettled(
        at=AT,
        account_id=action.account_id,
        action_id=action.id,
        outcome=Outcome.DONE,
        verified=True,
    )


def state_with(
    accounts: int, held_by: int, symbols: tuple[str, ...] = SYMBOLS, rules: int | None = None
) -> State:
    """Every account holds one of each of these but the first, which only `held_by` of them do."""
    of_account = AccountRules.of(rules_of(rules))
    book = Rulebook(accounts={a: of_account for a in range(1, accounts + 1)})
    state = State.at(AT, book)

    def fold(event: AnyEvent) -> None:
        nonlocal state
        state = step(state, event).state

    for symbol in (*SYMBOLS, BLOCKED):
        fold(ContractResolved(at=AT, contract=contract(symbol)))
    for account in range(1, accounts + 1):
        fold(AccountOpened(at=AT, account_id=account))
        for symbol in symbols[1:]:
            fold(position(account, symbol, 1))
        if account <= held_by:
            fold(position(account, "MNQ", 1))
    for symbol in SYMBOLS:
        fold(quote_event(symbol))
    for _ in range(2):
        fold(Tick(at=AT))
    return state


def payload(symbol: str) -> dict[str, object]:
    return {
        "at": AT,
        "contract_id": contract_id(symbol),
        "symbol": "F.US." + symbol,
        "symbolName": "/" + symbol,
        "lastPrice": 1000.25,
        "bestBid": 1000.25,
        "bestAsk": 1000.5,
        "volume": 100,
        "timestamp": "2026-11-20T16:00:00+00:00",
    }


def quote_event(symbol: str) -> QuoteChanged:
    return QuoteChanged.model_validate(payload(symbol))


def run(figures: Figures) -> None:
    raw = payload("MNQ")
    figures.line(
        "quote event from its payload",
        per_call_us(lambda: QuoteChanged.model_validate(raw), 5000),
        "us",
    )
    for rules in (FIRST_RULES, None):
        for held in (1, 10):
            state = state_with(1, 1, SYMBOLS[:held], rules)
            _one_account(figures, state, f", {rules or len(rules_of())} rules, 1 account x {held}")
    for accounts, held_by in ((10, 1), (10, 10), (100, 1), (100, 100)):
        state = state_with(accounts, held_by)
        figures.line(
            f"quote -> judged, {accounts} accounts x 10, {held_by} hold it",
            per_call_us(_quote_of(state), max(2000 // held_by, 50)),
            "us",
        )


def _quote_of(state: State) -> Callable[[], object]:
    """A quote and its event, judged."""
    raw = payload("MNQ")
    return lambda: step(state, QuoteChanged.model_validate(raw))


def _one_account(figures: Figures, state: State, of: str) -> None:
    calm = per_call_us(_quote_of(state), 2000)
    figures.line(f"quote -> judged, its event included{of}", calm, "us", aim="<= 5 us")
    near = fast_replace(state, accounts={1: fast_replace(state.accounts[1])})
    near.accounts[1].memo[contract_id("MNQ")] = (state.rulebook, NOWHERE, state.now)
    figures.line(f"the same near a limit{of}", per_call_us(_quote_of(near), 1000), "us")
    breached = step(state, position(1, BLOCKED, 1))
    locked = step(breached.state, position(1, BLOCKED, 0)).state
    for action in breached.actions:
        locked = step(locked, done(action)).state
    assert locked.accounts[1].locks
    assert not locked.accounts[1].attempts
    figures.line(
        f"the same under a tripped symbol block{of}",
        per_call_us(_quote_of(locked), 1000),
        "us",
        beside=("without", calm),
        aim="<= 7 us, <= 1.5x",
    )
    changes: dict[str, tuple[AnyEvent, AnyEvent]] = {
        "position": (position(1, "MNQ", 2), position(1, "MNQ", 1)),
        "order": (order(1, "MNQ", 1), order(1, "MNQ", 2)),
    }
    for label, (first, second) in changes.items():

        def both(first: AnyEvent = first, second: AnyEvent = second) -> None:
            step(step(state, first).state, second)

        took = [value / 2 for value in per_call_us(both, 300)]
        figures.line(f"{label} event -> judged{of}", took, "us", aim="<= 60 us")
    tick = Tick(at=AT)
    figures.line(f"tick -> judged{of}", per_call_us(lambda: step(state, tick), 500), "us")
