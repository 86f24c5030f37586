"""The unkind habits of gateway, market and trader, of which every seed draws its own set."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from risk_manager.practice.words import Habits

CHANCE = 0.3
"""Each habit is drawn for so many days: a day has five or six of them, hardly two the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unkind:
    """How often what happens. Rates are mean counts an hour, chances from 0 to 1."""

    names: tuple[str, ...] = ()
    words: Habits = field(default_factory=Habits)
    stream_lags: float = 0.0  # an hour: for a while the stream is 0.3-1.5 s behind the lists
    reads_refused: float = 0.0  # an hour: every read answered 429 for a while
    clock_ahead: float = 0.0  # an hour: the gateway's Date a day ahead for a while
    vanishing: float = 0.0  # an hour: an account is not in the login's list for a while
    gaps: float = 0.0  # an hour: a price jumps by 5-30 % and stays
    silences: float = 0.0  # an hour: one contract quotes nothing for a while
    below_zero: bool = False  # crude, from little above nothing
    split_exits: float = 0.0  # chance that exits go out as one-lot orders
    scaling: float = 0.0  # chance that a move is one lot in or out
    pairs: float = 0.0  # chance that a move is to hold two micros for a minute or more
    storms: float = 0.0  # chance that a close of ours is answered by ten entries
    storm_entries: int = 10
    modifies: float = 0.0  # chance that a move is to move an order
    floods: float = 0.0  # an hour: so many orders told at once
    flood_orders: int = 500


def _words(**chances: Any) -> Callable[[Unkind], Unkind]:
    return lambda unkind: replace(unkind, words=replace(unkind.words, **chances))


def _life(**rates: Any) -> Callable[[Unkind], Unkind]:
    return lambda unkind: replace(unkind, **rates)


def _taken_back(unkind: Unkind) -> Unkind:
    unkind = replace(unkind, modifies=max(unkind.modifies, 0.15))
    return _words(order_taken_back=0.3, only_listed=0.2)(unkind)


HABITS: dict[str, Callable[[Unkind], Unkind]] = {
    "taken_back": _taken_back,
    "lost_cancels": _words(cancel_not_taken=0.3),
    "lagging_lists": _words(list_lags=0.6),
    "leading_lists": _life(stream_lags=12.0),
    "shared_ids": _words(shared_trade_id=0.8),
    "late_fees": _words(late_fees=0.3),
    "price_gone": _words(price_gone=0.4),
    "one_sided": _words(one_sided=0.004, one_sided_for_s=(10.0, 400.0)),
    "wild_quotes": _words(wild_quote=0.003),
    "gaps": _life(gaps=8.0),
    "silences": _life(silences=12.0, pairs=0.2),
    "below_zero": _life(below_zero=True),
    "split_exits": _life(split_exits=0.6),
    "scaling": _life(scaling=0.3),
    "storms": _life(storms=0.15),
    "refused_reads": _life(reads_refused=3.0),
    "clock_ahead": _life(clock_ahead=1.0),
    "vanishing": _life(vanishing=2.0),
    "floods": _life(floods=0.5),
    "lost_closes": _words(close_not_taken=0.2),
}


def unkind_for(seed: int) -> Unkind:
    """The habits a seed stands for."""
    dice = Random(f"{seed}/habits")
    return with_habits([name for name in HABITS if dice.random() < CHANCE])


def with_habits(names: Iterable[str]) -> Unkind:
    """Those named, in the order of the table; KeyError for one that is unknown."""
    wanted = set(names)
    if unknown := wanted - HABITS.keys():
        raise KeyError(f"no such habit: {', '.join(sorted(unknown))}")
    unkind = Unkind()
    for name, take_up in HABITS.items():
        if name in wanted:
            unkind = take_up(unkind)
    return replace(unkind, names=tuple(name for name in HABITS if name in wanted))
