"""The day as something to draw: thinned, with its gaps, its levels and a range that shows them."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from risk_manager.dashboard.day_chart import (
    DETAIL,
    Chart,
    day_chart,
    in_cells,
)
from risk_manager.dashboard.drawing import ticks_of_money, ticks_of_time
from risk_manager.feed.messages import (
    DayCourse,
    DayTrade,
    LimitLine,
    ResultAt,
    ResultStretch,
)

TEN = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)
NOTHING = DayCourse(
    trading_date="2026-11-16",
    starts_at=TEN - timedelta(hours=17),
    ends_at=TEN + timedelta(hours=7),
    realised=(),
    total=(),
    watched_since=None,
    high=None,
    low=None,
    drawdown=None,
    limits=(),
    sums=(),
)


def after(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


def stretch(minutes: float, *nets: float) -> ResultStretch:
    return ResultStretch(at=after(minutes), low=min(nets), high=max(nets), last=nets[-1])


def limit(net: float, *, counts_open: bool = True, shadow: bool = False) -> LimitLine:
    return LimitLine(
        rule_id="r", title="Loss today", net=net, counts_open=counts_open, shadow=shadow
    )


def chart_of(
    course: DayCourse,
    *trades: DayTrade,
    now: datetime | None = None,
    realised: float = 0.0,
    total: float | None = 0.0,
    columns: int = 100,
) -> Chart:
    return day_chart(
        course,
        trades,
        now=now or after(60),
        realised=realised,
        total=total,
        columns=columns,
    )


def test_realised_moves_in_steps_up_to_now() -> None:
    course = replace(
        NOTHING, realised=(ResultAt(at=after(0), net=50), ResultAt(at=after(30), net=20))
    )
    chart = chart_of(course, realised=20)
    times = [at for at, _ in chart.realised]
    assert times == sorted(times)
    assert [net for _, net in chart.realised] == [0, 0, 50, 50, 20, 20, 20]
    assert times[-1] == after(60).timestamp()
    assert chart.start <= times[0]
    assert chart.end >= times[-1]


def test_a_silence_while_flat_is_no_gap_and_a_silence_with_something_open_is_one() -> None:
    flat = replace(
        NOTHING,
        realised=(ResultAt(at=after(1), net=50),),
        total=(stretch(0, 10), stretch(1, 50), stretch(58, 60), stretch(58.5, 55)),
    )
    [whole] = chart_of(flat, realised=50, total=50).total
    assert (after(58).timestamp(), 50) in whole  # held until the next position
    blind = replace(flat, total=(stretch(0, 10), stretch(1, 45), *flat.total[2:]))
    before, then = chart_of(blind, realised=50, total=50).total
    assert before[-1] == (after(1.5).timestamp(), 45)
    assert then[0] == (after(58).timestamp(), 60)
    for part in (whole, before, then):
        times = [at for at, _ in part]
        assert times == sorted(times)


def test_an_unknown_total_adds_nothing_to_the_curve() -> None:
    course = replace(NOTHING, total=(stretch(59, 10), stretch(59.1, 12)))
    [known] = chart_of(course, total=14.0).total
    [unknown] = chart_of(course, total=None).total
    assert known[-1] == (after(60).timestamp(), 14.0)
    assert unknown[-1][1] == 12


@pytest.mark.parametrize("columns", [1, 40, 188])
def test_a_long_day_is_thinned_to_the_cells_and_keeps_its_extremes(columns: int) -> None:
    nets = [math.sin(n / 50) * 300 + (n % 7) for n in range(5000)]
    course = replace(NOTHING, total=tuple(stretch(n / 50, net) for n, net in enumerate(nets)))
    chart = chart_of(course, now=after(100), total=nets[-1], columns=columns)
    points = [point for part in chart.total for point in part]
    assert len(points) <= 4 * (columns * DETAIL + 1)
    assert min(net for _, net in points) == min(nets)
    assert max(net for _, net in points) == max(nets)
    assert chart.low < min(nets)
    assert chart.high > max(nets)


def test_the_nearest_loss_limit_is_in_sight_and_a_far_target_is_named_beyond() -> None:
    course = replace(
        NOTHING, limits=(limit(-500), limit(-900, shadow=True), limit(3000, counts_open=False))
    )
    chart = chart_of(course, total=20, realised=20)
    assert [x.words for x in chart.levels] == ["loss limit -500.00"]
    assert [x.words for x in chart.beyond] == ["loss limit -900.00 (shadow)", "target +3,000.00"]
    assert chart.low < -500 < 20 < chart.high
    near = chart_of(course, total=2500, realised=2500)
    assert "target +3,000.00" in [x.words for x in near.levels]


def test_trades_are_marked_where_the_day_stood_after_them() -> None:
    trade = DayTrade(
        contract_id="c",
        symbol="MNQZ6",
        side="long",
        size=1,
        price=1.0,
        net=30.0,
        fees=1.0,
        opened_at=after(1),
        closed_at=after(5),
        realised_after=30.0,
        is_over=True,
    )
    lost = replace(trade, net=-10.0, closed_at=after(9), realised_after=20.0)
    even = replace(trade, net=0.0)
    chart = chart_of(replace(NOTHING, realised=(ResultAt(at=after(5), net=30),)), trade, lost, even)
    assert chart.won == ((after(5).timestamp(), 30.0),)
    assert chart.lost == ((after(9).timestamp(), 20.0),)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_figures_that_are_no_numbers_are_left_out(bad: float) -> None:
    course = replace(
        NOTHING,
        realised=(ResultAt(at=after(1), net=bad), ResultAt(at=after(2), net=5)),
        total=(stretch(1, 3), stretch(1.5, bad), stretch(1.6, 4), stretch(1.7, 4)),
        high=ResultAt(at=after(1), net=bad),
        limits=(limit(bad), limit(-100)),
    )
    chart = chart_of(course, realised=bad, total=bad, now=after(3))
    drawn = [net for _, net in chart.realised] + [net for p in chart.total for _, net in p]
    assert all(math.isfinite(net) for net in (*drawn, chart.low, chart.high))
    assert [x.words for x in chart.levels] == ["loss limit -100.00"]
    in_cells(chart, 80, 20)


def test_an_empty_day_can_be_drawn() -> None:
    chart = chart_of(NOTHING)
    assert chart.low < 0 < chart.high
    assert chart.end > chart.start
    assert in_cells(chart, 80, 20) == in_cells(chart_of(NOTHING), 80, 20)


def test_what_would_look_the_same_is_not_drawn_again() -> None:
    course = replace(NOTHING, limits=(limit(-500),), realised=(ResultAt(at=after(0), net=50),))
    one = in_cells(chart_of(course, realised=50, total=50.0, now=after(59.5)), 100, 20)
    same = in_cells(chart_of(course, realised=50, total=50.3, now=after(59.51)), 100, 20)
    other = in_cells(chart_of(course, realised=90, total=90.0, now=after(59.5)), 100, 20)
    assert one == same
    assert one != other


def test_ticks_are_round() -> None:
    assert ticks_of_money(-530, 110, 4) == [-400.0, -200.0, 0.0]
    assert ticks_of_money(-1, 1, 4) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    times = ticks_of_time(after(0).timestamp() + 7, after(60).timestamp() + 7, 6)
    assert [datetime.fromtimestamp(t, UTC).astimezone().minute % 10 for t in times] == [0] * 6
    assert ticks_of_time(0, 10**9, 5)
