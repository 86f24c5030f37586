"""The colour and the word of a limit: green, amber from 70 %, red from 90 %."""

from risk_manager.dashboard.wording import DIM
from risk_manager.feed.messages import MeterRow

NEAR = 0.70
VERY_NEAR = 0.90

_STATES = {
    "breach": ("BREACH", "$text-error"),
    "warn": ("WARN", "$text-warning"),
    "unknown": ("UNKNOWN", "$text-accent"),
    "ok": ("OK", "$text-success"),
}


def word_and_colour(meter: MeterRow) -> tuple[str, str]:
    """The word is the rule's own judgement; the colour also warns of what is merely near."""
    if meter.counts_from is not None:
        return "WAITS", DIM
    word, colour = _STATES.get(meter.state, (meter.state.upper(), DIM))
    if meter.state in ("ok", "warn") and meter.used is not None:
        if meter.used >= VERY_NEAR:
            colour = "$text-error"
        elif meter.used >= NEAR:
            colour = "$text-warning"
    return word, colour


def place(meter: MeterRow) -> int:
    """Where its state stands among the others, the worst first."""
    order = list(_STATES)
    return order.index(meter.state) if meter.state in order else len(order)


def percent(meter: MeterRow) -> str:
    """How much of the limit is used; a figure on the safe side of zero is 0 %."""
    return "" if meter.used is None else f"{max(meter.used, 0.0) * 100:.0f}%"
