"""Each fill once, in any order; sums exact; round turns with what they really cost."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.ledger import Ledger
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
    side: OrderSide | None = None,
    voided: bool = False,
    after: int = 0,
) -> Execution:
    """An execution of a long position, unless a side is given: what opens buys."""
    usual = OrderSide.BUY if pnl is None else OrderSide.SELL
    record = TradeRecord(
        id=number,
        account_id=101,
        contract_id="CON.F.US.MNQ.Z26",
        creation_timestamp=START + timedelta(seconds=after),
        price=Decimal(21000),
        profit_and_loss=None if pnl is None else Decimal(pnl),
        fees=Decimal(fees),
        side=usual if side is None else side,
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


def test_a_trade_still_open_is_charged_for_the_lots_it_has_closed() -> None:
    ledger = Ledger()
    ledger = ledger.record(execution(1, None, "1.40", size=2))
    ledger = ledger.record(execution(2, "-99.30", "0.70", size=1, after=1))
    (part,) = ledger.round_turns()
    assert (part.net, part.size, part.is_over) == (Decimal("-100.70"), 1, False)
    (whole,) = ledger.record(execution(3, "10", "0.70", size=1, after=2)).round_turns()
    assert (whole.net, whole.size, whole.is_over) == (Decimal("-92.10"), 2, True)
    assert whole.name == part.name


def test_a_scratch_is_a_trade_and_a_half_turn_is_not() -> None:
    ledger = Ledger().record(execution(1, None)).record(execution(2, "0.0", after=1))
    assert [t.pnl for t in ledger.round_turns()] == [Decimal(0)]


BUY, SELL = OrderSide.BUY, OrderSide.SELL


@pytest.mark.parametrize("opening_half_first", [False, True])
def test_a_reversal_is_one_entry_and_one_closed_trade(opening_half_first: bool) -> None:
    halves = [
        execution(2, "-150", order=2, size=2, after=1),
        execution(3, None, order=2, size=2, side=SELL, after=1),
    ]
    if opening_half_first:
        halves = [
            execution(2, None, order=2, size=2, side=SELL, after=1),
            execution(3, "-150", order=2, size=2, after=1),
        ]
    ledger = Ledger().record(execution(1, None, order=1, size=2))
    for half in halves:
        ledger = ledger.record(half)
    assert list(ledger.increasing_orders()) == [1, 2]
    (turn,) = ledger.round_turns()
    assert (turn.net, turn.is_over) == (Decimal(-150), True)
    ledger = ledger.record(execution(4, "-40", side=BUY, size=2, after=2))
    assert [(int(t.net), t.is_over) for t in ledger.round_turns()] == [(-150, True), (-40, True)]


def test_one_execution_that_turns_a_position_round_ends_one_trade_and_opens_another() -> None:
    ledger = Ledger().record(execution(1, None, size=2))
    ledger = ledger.record(execution(2, "-150", size=5, after=1))
    ledger = ledger.record(execution(3, "90", side=BUY, size=3, after=2))
    assert [(int(t.net), t.is_over) for t in ledger.round_turns()] == [(-150, True), (90, True)]


SCALED = [
    # (signed lots, P&L or None) of each execution; the trades: (net, is it over)
    ([(3, None), (-1, -60), (-1, -60), (-1, -60)], [(-180, True)]),
    ([(1, None), (2, None), (-3, -90)], [(-90, True)]),
    ([(2, None), (-1, -60), (1, None), (-1, 20), (-1, -70)], [(-110, True)]),
    ([(2, None), (-1, -60)], [(-60, False)]),
    ([(1, None), (-1, -60), (-1, None), (1, 25)], [(-60, True), (25, True)]),
    ([(-2, None), (1, -30), (1, -30), (1, None), (-1, 5)], [(-60, True), (5, True)]),
    ([(-1, -60), (-1, -60)], [(-60, True), (-60, True)]),  # the opening is not known
]


@pytest.mark.parametrize(("fills", "trades"), SCALED)
def test_a_trade_lasts_from_flat_to_flat(
    fills: list[tuple[int, int | None]], trades: list[tuple[int, bool]]
) -> None:
    """F5.1: A trade lasts from flat to flat, however many orders scaled it in and out."""
    ledger = Ledger()
    for number, (lots, pnl) in enumerate(fills, start=1):
        ledger = ledger.record(
            execution(
                number,
                None if pnl is None else str(pnl),
                size=abs(lots),
                side=BUY if lots > 0 else SELL,
                after=number,
            )
        )
    assert [(int(t.net), t.is_over) for t in ledger.round_turns()] == trades


FILLS = st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.integers(-99, 99)), max_size=40)


@given(FILLS)
def test_trades_keep_every_cent_and_split_where_the_position_is_flat(
    fills: list[tuple[int, int]],
) -> None:
    """F5.1: However orders scale in and out, trades add up to the day and end where it is flat."""
    ledger, net, ends = Ledger(), 0, 0
    for number, (lots, pnl) in enumerate(fills, start=1):
        if net * lots < 0:
            lots = max(lots, -net) if lots < 0 else min(lots, -net)  # two halves at a reversal
        closes = net * lots < 0
        net += lots
        ends += closes and net == 0
        ledger = ledger.record(
            execution(
                number,
                str(pnl) if closes else None,
                "0.35",
                size=abs(lots),
                side=BUY if lots > 0 else SELL,
                after=number,
            )
        )
    turns = ledger.round_turns()
    assert sum(t.is_over for t in turns) == ends
    assert sum((t.pnl for t in turns), Decimal(0)) == ledger.day(START.date()).pnl
    if net == 0:
        assert sum((t.net for t in turns), Decimal(0)) == ledger.day(START.date()).net


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


# --- two executions under one id ------------------------------------------------------------------

CLOSING = execution(9002, "-300", "1", side=SELL)
OPENING = execution(9002, None, "1", side=SELL)


@pytest.mark.parametrize(
    "told",
    [
        (OPENING, CLOSING),
        (CLOSING, OPENING),
        (OPENING, CLOSING, OPENING),
        (CLOSING, OPENING, CLOSING, OPENING, OPENING),
    ],
)
def test_both_halves_of_a_reversal_count_once_each_under_one_id(told: tuple[Execution]) -> None:
    """F1.5: The half without P&L and the half with it are two executions, in any order."""
    ledger = Ledger()
    for e in told:
        ledger = ledger.record(e)
    day = ledger.day(CLOSING.trading_date)
    assert (day.pnl, day.fees, day.executions) == (Decimal(-300), Decimal(2), 2)
    assert [e.pnl for e in ledger.standing()] == [Decimal(-300), None], "closed before it opened"
    assert list(ledger.increasing_orders()) == [9002]
    assert [t.pnl for t in ledger.round_turns()] == [Decimal(-300)]


def test_fees_that_come_later_and_a_void_belong_to_their_own_half() -> None:
    """F1.5: A correction replaces the execution it corrects; a void undoes it and no other."""
    ledger = Ledger().record(execution(9002, "-300")).record(execution(9002, None))
    ledger = ledger.record(CLOSING).record(OPENING)
    day = CLOSING.trading_date
    assert (ledger.day(day).fees, ledger.day(day).executions) == (Decimal(2), 2)
    ledger = ledger.record(fast_replace(CLOSING, pnl=Decimal("-299.50")))
    assert ledger.day(day).pnl == Decimal("-299.50")
    ledger = ledger.record(fast_replace(CLOSING, voided=True))
    assert (ledger.day(day).net, ledger.day(day).executions) == (Decimal(-1), 1)
    assert ledger.record(CLOSING) is ledger, "a void never comes back"


def test_a_void_that_says_no_result_undoes_the_only_execution_of_its_id() -> None:
    """F1.5: A gateway may leave the P&L out of a void."""
    ledger = Ledger().record(CLOSING).record(fast_replace(CLOSING, pnl=None, voided=True))
    assert ledger.day(CLOSING.trading_date).executions == 0


def test_a_list_says_how_many_executions_an_id_has() -> None:
    """F1.5: Rows of one list under one id that differ are as many executions; repeats are none."""
    second = fast_replace(CLOSING, size=2, pnl=Decimal(-100))
    ledger = Ledger().record(CLOSING).stated([second, CLOSING, OPENING, CLOSING, second])
    day = ledger.day(CLOSING.trading_date)
    assert (day.pnl, day.executions) == (Decimal(-400), 3)
    assert ledger.stated([OPENING, CLOSING, second]) is ledger
    assert ledger.record(second) is ledger


def test_a_result_that_came_later_is_no_second_execution_when_the_list_shows_one() -> None:
    """F1.5: Told without P&L at first and with it afterwards: the list tells it from a reversal."""
    ledger = Ledger().record(OPENING).record(CLOSING)
    day = CLOSING.trading_date
    early = ledger.stated([CLOSING], as_of=START + timedelta(seconds=1))
    assert early is ledger, "a list that may be older says nothing"
    ledger = ledger.stated([CLOSING], as_of=START + timedelta(seconds=5))
    assert (ledger.day(day).net, ledger.day(day).executions) == (Decimal(-301), 1)
    flip = Ledger().record(fast_replace(OPENING, size=2)).record(CLOSING)
    kept = flip.stated([CLOSING], as_of=START + timedelta(seconds=5))
    assert kept is flip, "of another size: this was no first word of the same"
    assert Ledger().record(OPENING).stated([], as_of=START + timedelta(hours=1)).entries


@given(
    st.lists(st.sampled_from(["close", "open"]), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_in_whatever_order_frames_and_lists_come_each_half_counts_once(
    told: list[str], random: Random
) -> None:
    """F1.5: Hypothesis over frames, repeats and lists of the two halves."""
    halves = {"close": CLOSING, "open": OPENING}
    ledger = Ledger()
    for name in told:
        ledger = ledger.record(halves[name])
    rows = [CLOSING, OPENING]
    random.shuffle(rows)
    ledger = ledger.stated(rows, as_of=START + timedelta(seconds=10))
    for name in told:
        ledger = ledger.record(halves[name])
    day = ledger.day(CLOSING.trading_date)
    assert (day.pnl, day.fees, day.executions) == (Decimal(-300), Decimal(2), 2)
