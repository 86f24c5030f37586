"""The curve of a day: bounded, and yet no low, no high and no end of it is lost."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from risk_manager.feed.day_curve import MOST_STRETCHES, DayCurve, Extreme

NINE = datetime(2026, 11, 16, 14, 0, tzinfo=UTC)
amounts = st.integers(-10_000_00, 10_000_00).map(lambda cents: Decimal(cents) / 100)
steps = st.lists(st.tuples(st.integers(1, 900), amounts), min_size=1, max_size=400)


def curve_of(results: list[tuple[datetime, Decimal]]) -> DayCurve:
    curve = DayCurve(date(2026, 11, 16), NINE)
    for at, net in results:
        curve.note(at, net)
    return curve


def timed(steps: list[tuple[int, Decimal]]) -> list[tuple[datetime, Decimal]]:
    at, results = NINE, []
    for seconds, net in steps:
        at += timedelta(seconds=seconds)
        results.append((at, net))
    return results


@given(steps, st.integers(1, 50))
def test_however_short_it_is_made_it_keeps_its_ends_and_its_extremes(
    steps: list[tuple[int, Decimal]], count: int
) -> None:
    results = timed(steps)
    curve = curve_of(results)
    nets = [net for _, net in results]
    for stretches in (curve.stretches, list(curve.at_most(count))):
        assert min(s.low for s in stretches) == min(nets)
        assert max(s.high for s in stretches) == max(nets)
        assert stretches[-1].last == nets[-1]
        assert stretches[0].at == results[0][0]
        assert [s.at for s in stretches] == sorted({s.at for s in stretches})
        assert all(s.low <= s.last <= s.high for s in stretches)
    assert len(list(curve.at_most(count))) <= count


@given(steps)
def test_high_low_and_drawdown_are_those_of_all_results(steps: list[tuple[int, Decimal]]) -> None:
    results = timed(steps)
    curve = curve_of(results)
    falls = [max(net for _, net in results[: i + 1]) - results[i][1] for i in range(len(results))]
    assert curve.high is not None
    assert curve.low is not None
    assert curve.high.net == max(net for _, net in results)
    assert curve.low.net == min(net for _, net in results)
    assert (curve.drawdown.net if curve.drawdown else 0) == max(falls)


def test_a_day_of_three_days_over_a_weekend_stays_bounded() -> None:
    curve = curve_of([(NINE + timedelta(seconds=s), Decimal(s % 7)) for s in range(72 * 3600)])
    assert len(curve.stretches) <= MOST_STRETCHES
    assert curve.high == Extreme(NINE + timedelta(seconds=6), Decimal(6))
