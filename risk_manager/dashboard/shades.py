"""The colour and the word of a limit: green, amber from 70 %, red from 90 %."""

from collections.abc import Iterable

from risk_manager.dashboard.wording import DIM
from risk_manager.feed.messages import LockRow, MeterRow

NEAR = 0.70
VERY_NEAR = 0.90

_STATES = {
    "breach": ("BREACH", "$text-error"),
    "warn": ("WARN", "$text-warning"),
    "unknown": ("UNKNOWN", "$text-accent"),
    "ok": ("OK", "$text-success"),
}


def word_and_colour(meter: MeterRow, locks: Iterable[LockRow] = ()) -> tuple[str, str]:
    """The word is the rule's own judgement; the colour also warns of what is merely near.

    `locks` of the account: a pause of entries that runs is the rule at work, and no breach of it.
    """
    if meter.counts_from is not None:
        return "WAITS", DIM
    pauses = {x.rule_id for x in locks if x.policy == "no_entries" and x.expires_at is not None}
    if meter.state == "breach" and meter.rule_id in pauses:
        return "PAUSE", "$text-warning"
    word, colour = _STATES.get(meter.state, (meter.state.upper(), DIM))
    if meter.state in ("ok", "warn") and meter.used is not None and not is_harmless(meter):
        if meter.used >= VERY_NEAR:
            colour = "$text-error"
        elif meter.used >= NEAR:
            colour = "$text-warning"
    return word, colour


def is_harmless(meter: MeterRow) -> bool:
    """Whether a high figure threatens nothing by itself: contracts held, hours of the session."""
    return meter.state != "breach" and (meter.unit == "min" or "contract" in meter.unit)


def place(meter: MeterRow) -> int:
    """Where its state stands among the others, the worst first."""
    order = list(_STATES)
    return order.index(meter.state) if meter.state in order else len(order)


def percent(meter: MeterRow) -> str:
    """How much of the limit is used; a figure on the safe side of zero is 0 %."""
    return "" if meter.used is None else f"{max(meter.used, 0.0) * 100:.0f}%"
