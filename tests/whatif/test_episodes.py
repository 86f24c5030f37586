"""Fills grouped into round turns."""

from datetime import date, timedelta
from decimal import Decimal

from desk import MORNING
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain.executions import Execution
from risk_manager.domain.records import OrderSide
from risk_manager.whatif.episodes import Episode, episodes


def execution(number: int, signed_size: int, pnl: int | None, fees: int = 1) -> Execution:
    at = MORNING + timedelta(seconds=number)
    return Execution(
        id=number,
        contract_id="CON.F.US.MNQ.Z26",
        order_id=number,
        side=OrderSide.BUY if signed_size > 0 else OrderSide.SELL,
        size=abs(signed_size),
        price=Decimal(21000),
        pnl=None if pnl is None else Decimal(pnl),
        fees=Decimal(fees),
        voided=False,
        executed_at=at,
        received_at=at,
        trading_date=date(2026, 11, 20),
    )


def traded(sizes: list[int], *, reverses_in_one: bool) -> list[Execution]:
    """Fills of these sizes, as the gateway states them: a closing one has a result."""
    found: list[Execution] = []
    net = 0
    for size in sizes:
        after = net + size
        number = 2 * len(found) + 1
        if net * size >= 0:
            found.append(execution(number, size, None))
        elif net * after >= 0 or reverses_in_one:
            found.append(execution(number, size, 5 * size))
        else:
            found.append(execution(number, -net, -5))
            found.append(execution(number + 1, after, None))
        net = after
    return found


def nets(episode: Episode) -> list[int]:
    held, course = 0, []
    for fill in episode.fills:
        held += fill.signed_size
        course.append(held)
    return course


sizes = st.lists(st.integers(-3, 3).filter(bool), min_size=1, max_size=30)


@given(sizes=sizes, reverses_in_one=st.booleans())
def test_every_fill_is_in_one_round_turn_and_none_crosses_flat(
    sizes: list[int], *, reverses_in_one: bool
) -> None:
    fills = traded(sizes, reverses_in_one=reverses_in_one)
    found = episodes(fills)
    assert sum(e.net for e in found) == sum(f.net for f in fills)
    assert sum(f.signed_size for e in found for f in e.fills) == sum(sizes)
    for episode in found:
        course = nets(episode)
        assert all(net * episode.side > 0 for net in course[:-1])
        assert course[-1] == episode.net_at_end
        assert episode.size == max(abs(net) for net in course)
    assert all(e.net_at_end == 0 for e in found[:-1])


def test_a_close_of_what_was_opened_before_the_record_stands_alone() -> None:
    first, second = episodes([execution(1, -1, 20), execution(3, 1, None)])
    assert (first.is_whole, first.side, first.ended_at) == (
        False,
        1,
        MORNING + timedelta(seconds=1),
    )
    assert (second.is_whole, second.ended_at) == (True, None)


def test_a_fill_told_after_the_position_counts_as_before() -> None:
    fills = [execution(1, 1, None), execution(3, 1, None), execution(60, -2, 10)]
    (turn,) = episodes(fills)
    at = MORNING + timedelta(seconds=2)
    before, after = turn.parted(at, 2)
    assert (len(before), len(after)) == (2, 1)
    before, after = turn.parted(at, 1)
    assert (len(before), len(after)) == (1, 2)
