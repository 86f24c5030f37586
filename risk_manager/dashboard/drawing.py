"""Results as something to draw: lines, levels with words, marks, and round figures for the axes.

Nothing here knows which widget draws it.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Point = tuple[float, float]
Line = tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A horizontal line with its words. `kind`: limit, target, high, zero."""

    net: float
    words: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """One line. A bold one is drawn in half blocks, any other in dots."""

    line: Line
    kind: str
    is_bold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The same sign at several points."""

    points: Line
    sign: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What a plot shows.

    A `kind` chooses the colour. What is drawn later lies on top.
    """

    start: float
    end: float
    low: float
    high: float
    strokes: tuple[Stroke, ...]
    marks: tuple[Marks, ...] = ()
    levels: tuple[Level, ...] = ()


STEPS_S = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def ticks_of_time(start: float, end: float, most: int) -> list[float]:
    """Return round times of day of this computer between two instants."""
    span = end - start
    step = next((s for s in STEPS_S if span / s <= max(most, 1)), STEPS_S[-1])
    offset = datetime.fromtimestamp(start, UTC).astimezone().utcoffset() or timedelta(0)
    offset_s = offset.total_seconds()
    first = math.ceil((start + offset_s) / step) * step - offset_s
    count = int((end - first) // step) + 1 if end >= first else 0
    return [first + number * step for number in range(min(count, 50))]


def ticks_of_money(low: float, high: float, most: int) -> list[float]:
    """Return round amounts between two results, zero among them where it lies between."""
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * 0.999)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]
