"""Each fill once, in any order; sums exact; round turns with what they really cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain.ledger import Execution, Ledger
from risk_manager.domain.records import OrderSide, TradeRecord
from risk_manager.domain.trading_calendar import TradingDay

DAY = TradingDay()
START = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def execution(
    number: int,
    pnl: str | None = None,
    fees: str = "0",
    *,
    order: int | None = None,
    size: int = 1,
    voided: bool = False,
    after: int = 0,
) -> Execution:
    record = TradeRecord(
        id=number,
        account_id=101,
        contract_id="CON.F.US.MNQ.Z26",
        creation_timestamp=START + timedelta(seconds=after),
        price=Decimal(21000),
        profit_and_loss=None if pnl is None else Decimal(pnl),
        fees=Decimal(fees),
        side=OrderSide.BUY,
        size=size,
        voided=voided,
        order_id=order or number,
    )
    return Execution.of(record, START, DAY)


def test_commissions_count_as_fees_only_where_no_fees_are_sent() -> None:
    base = {
        "id": 1,
        "accountId": 1,
        "contractId": "C",
        "creationTimestamp": "2026-11-20T15:00:00Z",
        "price": 1.5,
        "side": 0,
        "size": 1,
        "orderId": 1,
    }
    assert TradeRecord.model_validate({**base, "commissions": 0.74}).fees == Decimal("0.74")
    both = TradeRecord.model_validate({**base, "fees": 0.5, "commissions": 0.74})
    assert both.fees == Decimal("0.5")


def test_a_five_lot_stop_filled_in_three_parts_is_one_loss() -> None:
    ledger = Ledger()
    for number, (pnl, size) in enumerate((("-60", 2), ("-60", 2), ("-60", 1)), start=1):
        ledger = ledger.record(execution(number, pnl, order=9, size=size, after=number))
    (turn,) = ledger.round_turns()
    assert (turn.net, turn.size) == (Decimal(-180), 5)
    assert not turn.settled(turn.last_at + timedelta(milliseconds=700))
    assert turn.settled(turn.last_at + timedelta(milliseconds=750))


def test_a_round_turn_is_charged_its_share_of_the_opening_fees() -> None:
    ledger = Ledger()
    ledger = ledger.record(execution(1, None, "1.40", size=2))
    ledger = ledger.record(execution(2, "-99.30", "0.70", size=1, after=1))
    ledger = ledger.record(execution(3, "10", "0.70", size=1, after=2))
    assert [t.net for t in ledger.round_turns()] == [Decimal("-100.70"), Decimal("8.60")]


def test_a_scratch_is_a_trade_and_a_half_turn_is_not() -> None:
    ledger = Ledger().record(execution(1, None)).record(execution(2, "0.0", after=1))
    assert [t.pnl for t in ledger.round_turns()] == [Decimal(0)]


def test_a_reversal_is_one_entry_and_one_closed_trade() -> None:
    ledger = Ledger()
    ledger = ledger.record(execution(1, None, order=1, size=2))
    ledger = ledger.record(execution(2, "-150", order=2, size=2, after=1))
    ledger = ledger.record(execution(3, None, order=2, size=2, after=1))
    assert list(ledger.increasing_orders()) == [1, 2]
    assert len(ledger.round_turns()) == 1


EXECUTIONS = st.lists(
    st.builds(
        execution,
        st.integers(1, 12),
        st.none() | st.decimals(-500, 500, places=2).map(str),
        st.decimals(0, 5, places=2).map(str),
        size=st.integers(1, 5),
        voided=st.booleans(),
        after=st.integers(-200_000, 200_000),
    ),
    max_size=30,
)


@given(EXECUTIONS)
def test_totals_are_the_sum_of_what_stands(executions: list[Execution]) -> None:
    ledger = Ledger()
    for e in executions:
        ledger = ledger.record(e)
    for day in {e.trading_date for e in executions}:
        standing = list(ledger.on(day))
        totals = ledger.day(day)
        assert totals.net == sum((e.net for e in standing), Decimal(0))
        assert totals.executions == len(standing)


@given(EXECUTIONS, st.randoms(use_true_random=False))
def test_repeats_change_nothing(executions: list[Execution], random: object) -> None:
    ledger = Ledger()
    for e in executions:
        ledger = ledger.record(e)
    for e in executions:
        once = ledger.record(ledger.entries[e.id])
        assert once is ledger


def test_a_void_is_final_whatever_arrives_late() -> None:
    bad = execution(1, "-300", "1")
    ledger = Ledger().record(bad).record(execution(1, "-300", "1", voided=True)).record(bad)
    assert ledger.day(bad.trading_date).net == 0
    assert list(ledger.on(bad.trading_date)) == []


def test_older_days_are_let_go_and_the_rest_kept() -> None:
    ledger = Ledger().record(execution(1, "5", after=-86_400 * 4)).record(execution(2, "7"))
    kept = ledger.forget_before(START.date())
    assert [e.id for e in kept.entries.values()] == [2]
    assert kept.day(START.date()).net == 7
