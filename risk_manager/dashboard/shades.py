"""The colour, the word and the place of a limit: green, amber from 70 %, red from 90 %."""

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.protection import counting_down
from risk_manager.dashboard.wording import DIM
from risk_manager.feed.messages import AccountSnapshot, MeterRow

NEAR = 0.70
VERY_NEAR = 0.90
SIZES = ("contracts", "micro-equivalents")
"""The units of limits on size, after the name of the product or group where there is one."""

_PAUSE = "PAUSE"
_STATES = {
    "breach": ("BREACH", "$text-error"),
    "warn": ("WARN", "$text-warning"),
    "unknown": ("UNKNOWN", "$text-accent"),
    "ok": ("OK", "$text-success"),
}
_PLACES = ("BREACH", _PAUSE, "WARN", "UNKNOWN", "OK")


def word_and_colour(meter: MeterRow, account: AccountSnapshot | None = None) -> tuple[str, str]:
    """The word is the rule's own judgement; the colour also warns of what is merely near.

    A pause of entries that runs on the account is the rule at work, and no breach of it. While a
    rule counts down to a close, it is as red as the position.
    """
    if meter.counts_from is not None:
        return "WAITS", DIM
    if is_pause(meter, account):
        return _PAUSE, "$text-warning"
    word, colour = _STATES.get(meter.state, (meter.state.upper(), DIM))
    if is_counting_down(meter, account):
        return word, "$text-error"
    if meter.state in ("ok", "warn") and meter.used is not None and not is_harmless(meter):
        if meter.used >= VERY_NEAR:
            colour = "$text-error"
        elif meter.used >= NEAR:
            colour = "$text-warning"
    return word, colour


def row_start(glance: Glance, meter: MeterRow) -> tuple[str, str]:
    """The word at the start of a row, as wide in each row, and its colour; `?` where it is old."""
    word, colour = word_and_colour(meter, glance.account)
    return f"{'' if glance.live else '? '}{word:<7} ", colour


def is_pause(meter: MeterRow, account: AccountSnapshot | None) -> bool:
    """Whether the rule has paused entries on the account, and the pause runs."""
    return (
        account is not None
        and meter.state == "breach"
        and any(
            x.rule_id == meter.rule_id and x.policy == "no_entries" and x.expires_at is not None
            for x in account.locks
        )
    )


def is_counting_down(meter: MeterRow, account: AccountSnapshot | None) -> bool:
    """Whether the rule closes a position of the account when its deadline is over."""
    return account is not None and any(d.rule_id == meter.rule_id for d in counting_down(account))


def is_harmless(meter: MeterRow) -> bool:
    """Whether a high figure threatens nothing by itself: contracts held, hours of the session."""
    return meter.state != "breach" and (meter.unit == "min" or meter.unit.endswith(SIZES))


def place(meter: MeterRow, account: AccountSnapshot) -> tuple[object, ...]:
    """Where it stands among the others: a deadline that runs, then the worst, then the nearest."""
    word, _ = word_and_colour(meter, account)
    return (
        meter.counts_from is not None,
        not is_counting_down(meter, account),
        _PLACES.index(word) if word in _PLACES else len(_PLACES),
        meter.shadow,
        is_harmless(meter),
        -(meter.used or 0.0),
        meter.unit != "USD",
        meter.spec_id,
    )


def percent(meter: MeterRow, account: AccountSnapshot | None = None) -> str:
    """How much of the limit is used; below zero it is 0 %, and of a pause it says nothing."""
    if meter.used is None or is_pause(meter, account):
        return ""
    return f"{max(meter.used, 0.0) * 100:.0f}%"
