"""The answer of a what-if as something to draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from risk_manager.dashboard.drawing import Drawing, Line, Marks, Point, Stroke
from risk_manager.whatif.outcomes import Outcome
from risk_manager.whatif.result import AccountResult, Result

INTERVENED, NOT_COUNTED, TRIED = "▼", "×", "o"
ROOM = 0.06  # of the range, above and below all that is drawn

COURSE_LEGENDS = (
    "cumulative:  ▀ as traded  ⠒ under the limits (low, high)  ▼ first intervention  × not counted",
    "▀ as traded  ⠒ under the limits  ▼ first intervention  × not counted",
    "▀ traded  ⠒ limits  ▼ acted  × not counted",
)
GRID_LEGENDS = (
    "change against as traded:  ⠒ low and high, o a value tried  ▀ low without its best day",
    "change:  ⠒ low and high, o tried  ▀ low without its best day",
    "⠒ change  ▀ without its best day",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`labels` are words for places on the axis, in its order."""

    drawing: Drawing
    labels: tuple[tuple[float, str], ...]


def course_chart(days: Sequence[AccountResult]) -> Chart | None:
    """The results added up, a step a round turn, in the order in which they ended.

    A round turn whose outcome cannot be known moves the line of what was traded alone.
    """
    steps = list(_steps(days))
    if not steps:
        return None
    recorded: list[Point] = [(0.0, 0.0)]
    low: list[Point] = [(0.0, 0.0)]
    high: list[Point] = [(0.0, 0.0)]
    for number, step in enumerate(steps, 1):
        result = step.outcome.result
        recorded.append((number, recorded[-1][1] + float(step.outcome.episode.net)))
        low.append((number, low[-1][1] + (0.0 if result is None else float(result.low))))
        high.append((number, high[-1][1] + (0.0 if result is None else float(result.high))))
    began = [high[n] for n, step in enumerate(steps) if step.is_first_changed]
    skipped = [recorded[n] for n, step in enumerate(steps, 1) if step.outcome.result is None]
    strokes = (
        Stroke(line=tuple(recorded), kind="realised", is_bold=True),
        *(Stroke(line=tuple(line), kind="total") for line in (low, high)),
    )
    marks = (
        Marks(points=tuple(skipped), sign=NOT_COUNTED, kind="high"),
        Marks(points=tuple(began), sign=INTERVENED, kind="limit"),
    )
    return Chart(
        drawing=_drawing(0.0, float(len(steps)), strokes, marks), labels=tuple(_labels(steps))
    )


def grid_chart(grid: Sequence[tuple[str, Result]]) -> Chart | None:
    """How much better or worse each value does than what was traded, and without its best day."""
    if not grid:
        return None
    low: list[Point] = []
    high: list[Point] = []
    without: list[Point] = []
    for value, result in grid:
        best = result.best_day_change
        low.append((float(value), float(result.change.low)))
        high.append((float(value), float(result.change.high)))
        rest = result.change.low - (0 if best is None else best.low)
        without.append((float(value), float(rest)))
    strokes = (
        Stroke(line=tuple(without), kind="realised", is_bold=True),
        *(Stroke(line=tuple(line), kind="total") for line in (low, high)),
    )
    marks = (Marks(points=tuple(high), sign=TRIED, kind="total"),)
    first, last = low[0][0], low[-1][0]
    apart = (last - first) or 2.0
    return Chart(
        drawing=_drawing(first - apart * ROOM, last + apart * ROOM, strokes, marks),
        labels=tuple((float(value), value) for value, _ in grid),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One round turn on the axis. `is_first_changed`: the first to end after the intervention."""

    day: AccountResult
    outcome: Outcome
    is_first_changed: bool


def _steps(days: Sequence[AccountResult]) -> Iterator[_Step]:
    turns = [(day, outcome) for day in days for outcome in day.outcomes]
    seen: set[tuple[object, int]] = set()
    for day, outcome in sorted(turns, key=lambda turn: (turn[0].day, _ended(turn[1]))):
        came = day.intervened_at
        is_changed = came is not None and _ended(outcome) > came
        whose = (day.day, day.account_id)
        yield _Step(day=day, outcome=outcome, is_first_changed=is_changed and whose not in seen)
        if is_changed:
            seen.add(whose)


def _ended(outcome: Outcome) -> datetime:
    return outcome.episode.fills[-1].counts_from


def _labels(steps: Sequence[_Step]) -> Iterator[tuple[float, str]]:
    """The days where each of them begins; the minutes likewise where there is one day alone."""
    if len({step.day.day for step in steps}) == 1:
        told = ""
        for number, step in enumerate(steps, 1):
            minute = f"{_ended(step.outcome).astimezone():%H:%M}"
            if minute != told:
                told = minute
                yield float(number), minute
        return
    before = None
    for number, step in enumerate(steps):
        if step.day.day != before:
            before = step.day.day
            yield float(number), f"{before:%d %b}"


def _drawing(
    start: float, end: float, strokes: tuple[Stroke, ...], marks: tuple[Marks, ...]
) -> Drawing:
    lines: list[Line] = [stroke.line for stroke in strokes]
    seen = [net for line in lines for _, net in line] + [0.0]
    low, high = min(seen), max(seen)
    if high - low < 1:
        low, high = low - 1, high + 1
    room = ROOM * (high - low)
    return Drawing(
        start=start, end=end, low=low - room, high=high + room, strokes=strokes, marks=marks
    )
