"""The running result as a line of inline SVG."""

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from risk_manager.admin.reports.results import CurvePoint
from risk_manager.domain.money import ZERO, dollars

WIDTH, HEIGHT, MARGIN = 720, 180, 12


def curve_svg(points: Sequence[CurvePoint]) -> str:
    """Return the net after each execution, from zero, with equal steps; "" without executions."""
    if not points:
        return ""
    values = [ZERO, *(p.net for p in points)]
    low, high = min(values), max(values)
    span = high - low or Decimal(1)

    def x(place: int) -> str:
        return f"{MARGIN + place * (WIDTH - 2 * MARGIN) / (len(values) - 1):.1f}"

    def y(value: Decimal) -> str:
        return f"{MARGIN + float((high - value) / span) * (HEIGHT - 2 * MARGIN):.1f}"

    steps = [f"M{x(0)} {y(values[0])}"]
    steps += [f"H{x(n)}V{y(value)}" for n, value in enumerate(values) if n]
    about = (
        f"The running net after each of {len(points)} executions: lowest {dollars(low)}, highest "
        f"{dollars(high)}, at the end {dollars(values[-1])}"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">'
        f'<line class="zero" x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y(ZERO)}" y2="{y(ZERO)}"/>'
        f'<path class="curve" d="{"".join(steps)}"/></svg>'
        f"<p>{escape(about)}.</p>"
    )
