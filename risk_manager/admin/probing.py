"""Asks the rules of an account about one contract at one instant, with no daemon and no broker."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.decisions import Severity
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    AnyEvent,
    ContractResolved,
    PositionChanged,
    Tick,
)
from risk_manager.domain.exchange_hours import trading_since
from risk_manager.domain.records import AccountRecord, PositionType
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.engine.step import step

LOOKED_AHEAD = timedelta(days=8)  # a week with its weekend, and a day more
EVERY = timedelta(minutes=15)
CALM_FOR = timedelta(minutes=45)


def deciding(book: Rulebook, account_id: int, contract: Contract, at: datetime) -> set[str]:
    """Return the ids of the rules that one lot of this contract, held at this instant, breaches."""
    state = State.at(at, book)
    found: set[str] = set()
    for event in _one_lot(account_id, contract, at):
        outcome = step(state, event)
        state = outcome.state
        found |= {
            d.rule_id
            for d in outcome.decisions
            if d.severity in (Severity.BREACH, Severity.CRITICAL)
        }
    return found


def calm_instant(
    book: Rulebook, account_id: int, contract: Contract, now: datetime
) -> datetime | None:
    """Return the first instant from `now` on at which one lot may be held for a while.

    None: there is none within eight days.
    """
    for at in _instants(now):
        if trading_since(book.calendar, book.symbols.root(contract.id, contract), at) is None:
            continue
        if not any(deciding(book, account_id, contract, t) for t in (at, at + CALM_FOR)):
            return at
    return None


def breaching_instant(
    book: Rulebook, account_id: int, contract: Contract, rule_id: str, now: datetime
) -> datetime | None:
    """Return the first instant from `now` on at which one lot breaches this rule; None: never."""
    for at in _instants(now):
        # A few seconds more, as a drill takes time.
        if all(
            rule_id in deciding(book, account_id, contract, t)
            for t in (at, at + timedelta(minutes=5))
        ):
            return at
    return None


def _instants(now: datetime) -> Iterator[datetime]:
    yield now
    rounded = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    for number in range(1, LOOKED_AHEAD // EVERY):
        yield rounded + EVERY * number


def _one_lot(account_id: int, contract: Contract, at: datetime) -> Iterator[AnyEvent]:
    yield AccountOpened(at=at, account_id=account_id, simulated=True)
    yield ContractResolved(at=at, contract=contract)
    record = AccountRecord(
        id=account_id, name="", balance=Decimal(50_000), can_trade=True, simulated=True
    )
    yield AccountReported(
        at=at,
        asked_at=at,
        account_id=account_id,
        account=record,
        positions=(),
        orders=(),
        trades=(),
    )
    yield PositionChanged(
        at=at,
        id=1,
        account_id=account_id,
        contract_id=contract.id,
        creation_timestamp=at,
        type=PositionType.LONG,
        size=1,
        average_price=1000.0,
    )
    yield Tick(at=at)
