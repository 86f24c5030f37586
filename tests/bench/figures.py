"""Percentiles and lines: how benchmark figures are printed."""

from collections.abc import Callable, Sequence
from statistics import median, quantiles
from time import perf_counter_ns


def per_call_us(work: Callable[[], object], calls: int, rounds: int = 7) -> list[float]:
    """Microseconds per call, one figure a round, after one round that does not count."""
    figures = []
    for counted in range(rounds + 1):
        start = perf_counter_ns()
        for _ in range(calls):
            work()
        took = (perf_counter_ns() - start) / calls / 1000
        if counted:
            figures.append(took)
    return figures


def p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def line(label: str, values: Sequence[float], unit: str, note: str = "") -> None:
    """label  median  p99 or range, in one unit."""
    spread = (
        f"p99 {p99(values):9.2f}"
        if len(values) >= 100
        else f"{min(values):.2f} .. {max(values):.2f}"
    )
    print(f"{label:<58} median {median(values):9.2f} {unit}  {spread}  {note}", flush=True)
