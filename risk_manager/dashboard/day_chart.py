"""The course of a day as something to draw: lines, levels and marks, thinned to the room there is.

Results are net of fees, instants are seconds since 1970. Nothing here knows how it is drawn.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from risk_manager.dashboard.drawing import STEPS_S, Level, Line, Point
from risk_manager.dashboard.wording import signed
from risk_manager.feed.messages import DayCourse, DayTrade, LimitLine, ResultStretch

SHORTEST_S = 60.0
AXIS_STEPS = 24
GAP_S = 120.0
"""Results are watched each second while something is open: a longer silence is a gap."""
HALF_A_CENT = 0.005
DETAIL = 2  # points a column: a cell of the finest drawing has two
ROOM_ABOVE = 0.06  # of the range, above and below all that is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`realised` moves in steps. `total` is in parts: where it was not known, there is a gap.

    Levels outside of `low` to `high` are left out and named in `beyond`.
    """

    start: float
    end: float
    low: float
    high: float
    realised: Line
    total: tuple[Line, ...]
    levels: tuple[Level, ...]
    beyond: tuple[Level, ...]
    won: Line = ()
    lost: Line = ()


def day_chart(
    course: DayCourse,
    trades: Iterable[DayTrade],
    *,
    now: datetime,
    realised: float,
    total: float | None,
    columns: int,
) -> Chart:
    """Return the day up to now. `realised` and `total` are the newest results."""
    end = now.timestamp()
    steps = [(p.at.timestamp(), p.net) for p in course.realised if _is_drawable(p.net)]
    first, last = _axis(_start(course, steps, end), end)
    stairs = _stairs(steps, first, end, realised)
    parts = _parts(course.total, steps, end, total)
    marks = [
        (min(max(t.closed_at.timestamp(), first), end), t.realised_after, t.net)
        for t in trades
        if _is_drawable(t.realised_after)
    ]
    seen = [net for _, net in stairs] + [net for part in parts for _, net in part] + [0.0]
    levels = _levels(course)
    low, high, shown, beyond = _range(min(seen), max(seen), levels)
    width = (last - first) / max(columns * DETAIL, 1)
    return Chart(
        start=first,
        end=last,
        low=low,
        high=high,
        realised=stairs,
        total=tuple(_thinned(part, first, width) for part in parts),
        levels=tuple(shown),
        beyond=tuple(beyond),
        won=tuple((at, net) for at, net, result in marks if result > 0),
        lost=tuple((at, net) for at, net, result in marks if result < 0),
    )


def _is_drawable(net: float) -> bool:
    return math.isfinite(net)


def _start(course: DayCourse, steps: Sequence[Point], end: float) -> float:
    """A little before the first thing that happened; an empty day begins with the day."""
    begins = [steps[0][0]] if steps else []
    begins += [s.at.timestamp() for s in course.total[:1]]
    if not begins:
        return min(course.starts_at.timestamp(), end - SHORTEST_S)
    return min(*begins, end - SHORTEST_S)


def _axis(start: float, end: float) -> tuple[float, float]:
    """Return both ends of the axis, in steps of it: what is drawn must not move all the time."""
    step = next((s for s in STEPS_S if (end - start) / s <= AXIS_STEPS), STEPS_S[-1])
    return math.floor(start / step) * step, math.ceil(end / step) * step


def _stairs(steps: Sequence[Point], start: float, end: float, realised: float) -> Line:
    points: list[Point] = [(start, 0.0)]
    for at, net in steps:
        points += [(at, points[-1][1]), (at, net)]
    points.append((end, points[-1][1]))
    if _is_drawable(realised):
        points.append((end, realised))
    return tuple(points)


def _parts(
    stretches: Sequence[ResultStretch], steps: Sequence[Point], end: float, total: float | None
) -> list[Line]:
    """Return the result with open positions, in parts wherever it was not known for a while.

    While nothing is open it is what is realised, so that a silence then is no gap.
    """
    begins = [s.at.timestamp() for s in stretches]
    width = min((b - a for a, b in pairwise(begins)), default=0.0)
    longest = max(GAP_S, 2.5 * width)
    known = [
        ((at, s.low), (at + width / 2, s.high), (at + width, s.last))
        for at, s in zip(begins, stretches, strict=True)
        if at <= end
    ]
    if total is not None:
        known.append(((end, total),) * 3)
    times = [at for at, _ in steps]
    parts: list[list[Point]] = []
    for points in known:
        if not all(_is_drawable(net) for _, net in points):
            continue
        at = points[0][0]
        if not parts:
            parts.append([])
        elif at - parts[-1][-1][0] > longest:
            silent_since, held = parts[-1][-1]
            found = bisect_right(times, silent_since + GAP_S)
            realised = steps[found - 1][1] if found else 0.0
            if abs(held - realised) < HALF_A_CENT:
                parts[-1].append((at, held))
            else:
                parts.append([])
        parts[-1] += [(min(each, end), net) for each, net in points]
    return [tuple(part) for part in parts if len(set(part)) > 1]


def _thinned(points: Line, start: float, width: float) -> Line:
    """Keep the first, lowest, highest and last point of each column, in their order."""
    if width <= 0:
        return points
    columns: dict[int, list[tuple[int, Point]]] = {}
    for number, point in enumerate(points):
        columns.setdefault(int((point[0] - start) / width), []).append((number, point))
    kept: list[Point] = []
    for column in columns.values():
        ends = (
            column[0],
            min(column, key=lambda one: one[1][1]),
            max(column, key=lambda one: one[1][1]),
            column[-1],
        )
        kept += [point for _, point in sorted(set(ends))]
    return tuple(kept)


def _levels(course: DayCourse) -> list[Level]:
    levels = [_level(limit) for limit in course.limits if _is_drawable(limit.net)]
    if course.high is not None and _is_drawable(course.high.net) and course.high.net > 0:
        words = f"high {signed(course.high.net)}"
        levels.append(Level(net=course.high.net, words=words, kind="high"))
    return levels


def _level(limit: LimitLine) -> Level:
    is_loss = limit.net < 0
    words = f"{'loss limit' if is_loss else 'target'} {signed(limit.net)}"
    if limit.shadow:
        words += " (shadow)"
    elif is_loss and not limit.counts_open:
        words += ", realised only"
    return Level(net=limit.net, words=words, kind="limit" if is_loss else "target")


def _range(
    low: float, high: float, levels: Sequence[Level]
) -> tuple[float, float, list[Level], list[Level]]:
    """Return the range to draw, the levels in it and those beyond it.

    The nearest loss limit is always in it: how far it is, is the question. A target is in it once
    the day is on its way there.
    """
    losses = [x.net for x in levels if x.kind == "limit"]
    if losses:
        low = min(low, max(losses))
    targets = [x.net for x in levels if x.kind == "target"]
    if targets and min(targets) <= max(2 * high, high - low):
        high = max(high, min(targets))
    if high - low < 1:
        low, high = low - 1, high + 1
    above = ROOM_ABOVE * (high - low)
    low, high = low - above, high + above
    shown = [x for x in levels if low <= x.net <= high]
    return low, high, shown, [x for x in levels if x not in shown]


def in_cells(chart: Chart, columns: int, rows: int) -> tuple[object, ...]:
    """Return the chart as it would be drawn in so many cells: equal where nothing would change."""
    across = columns * DETAIL / (chart.end - chart.start)
    up = rows * 2 * DETAIL / (chart.high - chart.low)

    def placed(line: Line) -> tuple[tuple[int, int], ...]:
        points = (
            (int((at - chart.start) * across), int((net - chart.low) * up)) for at, net in line
        )
        return tuple(dict.fromkeys(points))

    return (
        (chart.start, chart.end, round(chart.low, 2), round(chart.high, 2), columns, rows),
        placed(chart.realised),
        tuple(map(placed, chart.total)),
        (chart.levels, chart.beyond),
        (placed(chart.won), placed(chart.lost)),
    )
