"""Trades are told apart as executions come: one by one, the same as all at once."""

from datetime import timedelta
from decimal import Decimal

from desk import MORNING
from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.records import OrderSide

CONTRACTS = ("CON.F.US.MNQ.Z26", "CON.F.US.MES.Z26")


@st.composite
def executions(draw: st.DrawFn) -> list[Execution]:
    """A day of fills: scaled in and out, reversed in one or two parts, late, corrected, voided."""
    told: list[Execution] = []
    at = MORNING
    for number in range(draw(st.integers(1, 25))):
        at += timedelta(milliseconds=draw(st.sampled_from([0, 1, 400, 30_000])))
        known = draw(st.sampled_from(told)) if told and draw(st.integers(0, 9)) == 0 else None
        late = timedelta(seconds=draw(st.sampled_from([0, 0, 0, 0, 3])))
        execution = Execution(
            id=1000 + number if known is None else known.id,
            contract_id=draw(st.sampled_from(CONTRACTS)) if known is None else known.contract_id,
            order_id=draw(st.integers(1, 6)) if known is None else known.order_id,
            side=draw(st.sampled_from([OrderSide.BUY, OrderSide.SELL])),
            size=draw(st.integers(1, 3)),
            price=Decimal(21000),
            pnl=draw(st.sampled_from([None, Decimal(-50), Decimal(20), Decimal(0)])),
            fees=Decimal("0.37"),
            voided=draw(st.integers(0, 15)) == 0,
            executed_at=at - late,
            received_at=at,
            trading_date=MORNING.date(),
        )
        told.append(execution)
    return told


@settings(max_examples=300)
@given(executions())
def test_one_by_one_is_the_same_as_all_at_once(told: list[Execution]) -> None:
    ledger = Ledger()
    for execution in told:
        ledger = ledger.record(execution)
        afresh = Ledger(ledger.entries, ledger.totals)
        assert ledger.round_turns() == afresh.round_turns()
        assert ledger.finished_turns == afresh.finished_turns
        assert ledger.standing() == afresh.standing()
        assert list(ledger.increasing_orders()) == list(afresh.increasing_orders())
        for contract_id in CONTRACTS:
            for net in (-1, 0, 2):
                assert ledger.episode(contract_id, net) == afresh.episode(contract_id, net)


def test_a_fill_more_costs_no_more_late_in_the_day_than_early() -> None:
    """Only the trades that a fill changes are worked out again."""
    ledger = Ledger()
    for number in range(400):
        ledger = ledger.record(
            Execution(
                id=number,
                contract_id=CONTRACTS[0],
                order_id=number,
                side=OrderSide.SELL if number % 2 else OrderSide.BUY,
                size=1,
                price=Decimal(21000),
                pnl=Decimal(-5) if number % 2 else None,
                fees=Decimal("0.37"),
                voided=False,
                executed_at=MORNING + timedelta(seconds=number),
                received_at=MORNING + timedelta(seconds=number),
                trading_date=MORNING.date(),
            )
        )
        before = ledger.round_turns()
    assert len(before) == 200
    later = MORNING + timedelta(hours=1)
    further = ledger.record(
        fast_replace(ledger.entries[0], id=999, order_id=999, executed_at=later, received_at=later)
    )
    assert all(a is b for a, b in zip(further.round_turns(), before, strict=True))
