"""Reversals, entries in parts, partial exits and stops that fill: none of the three rules acts.

Traders who keep to the rules, at random, on a kind wire and on a rough one.
"""

from random import Random

import pytest
from desk import rules_from
from rough_wire import RoughWire

from risk_manager.domain.decisions import ClosePosition, ReducePosition

SEQUENCES = 200
STEPS = 12
DELAY_S = 5
SETTLED_S = 3


def trading(seed: int, *, kind: bool, **rules: dict[str, object]) -> tuple[RoughWire, Random]:
    return RoughWire(rules_from(**rules), Random(seed), kind=kind), Random(f"{seed}/trader")


def manages(wire: RoughWire, dice: Random) -> None:
    """What may be done with a position that is neither an entry nor a full exit.

    The stop goes first, as an old one would add to the new side.
    """
    side = 1 if wire.net > 0 else -1
    roll = dice.random()
    if roll < 0.3 and abs(wire.net) > 1:
        cancels_leftovers(wire)
        wire.trades(-side * dice.randint(1, abs(wire.net) - 1))
    elif roll < 0.5:
        cancels_leftovers(wire)
        wire.trades(-2 * wire.net)  # fills in parts of two: turned round
    elif roll < 0.7 and not wire.stops():
        wire.stops_at(-wire.net, dice.randint(2, 20))
    else:
        wire.quotes(dice.randint(-15, 15))


def is_left_alone(wire: RoughWire) -> bool:
    return not [a for a in wire.calls if isinstance(a, ClosePosition | ReducePosition)]


def cancels_leftovers(wire: RoughWire) -> None:
    for order in wire.exchange.working_orders(101):
        wire.cancels(order)


@pytest.mark.parametrize("kind", [True, False], ids=["kind", "rough"])
def test_no_averaging_down_is_told_of_none(kind: bool) -> None:
    entries = 0
    for seed in range(SEQUENCES):
        wire, dice = trading(seed, kind=kind, no_averaging_down={})
        for _ in range(STEPS):
            if not wire.net:
                cancels_leftovers(wire)
                wire.trades(dice.choice((-5, -4, -2, 2, 4, 5)))
                entries += 1
            else:
                manages(wire, dice)
            wire.passes(dice.choice((0.25, 0.5, 2)))
        wire.passes(SETTLED_S)
        assert is_left_alone(wire), seed
        assert wire.decisions == [], seed
    assert entries > SEQUENCES


@pytest.mark.parametrize("kind", [True, False], ids=["kind", "rough"])
def test_size_after_loss_is_told_of_none(kind: bool) -> None:
    losses = 0
    for seed in range(SEQUENCES):
        wire, dice = trading(seed, kind=kind, size_after_loss={"window": "1h"})
        size = dice.choice((2, 3, 5))
        for _ in range(STEPS):
            if not wire.net:
                cancels_leftovers(wire)
                wire.passes(SETTLED_S)
                turns = [t for t in wire.account.ledger.finished_turns if t.net < 0]
                losses += bool(turns)
                size = min([size, *(t.size for t in turns)])
                wire.trades(dice.choice((-size, size)))
            elif dice.random() < 0.2:
                cancels_leftovers(wire)
                wire.trades(-wire.net)
            else:
                manages(wire, dice)
            wire.passes(dice.choice((0.25, 0.5, 2)))
        wire.passes(SETTLED_S)
        assert is_left_alone(wire), seed
        assert wire.decisions == [], seed
    assert losses > SEQUENCES


@pytest.mark.parametrize("kind", [True, False], ids=["kind", "rough"])
def test_reentry_delay_closes_nothing_of_who_waits(kind: bool) -> None:
    exits = 0
    for seed in range(SEQUENCES):
        wire, dice = trading(seed, kind=kind, reentry_delay={"delay": f"{DELAY_S}s"})
        for _ in range(STEPS):
            if not wire.net:
                exits += 1
                cancels_leftovers(wire)
                wire.passes(DELAY_S + SETTLED_S)
                wire.trades(dice.choice((-3, -2, 2, 3)))
            elif dice.random() < 0.15:
                cancels_leftovers(wire)
                wire.trades(-wire.net)
            else:
                manages(wire, dice)
            wire.passes(dice.choice((0.25, 0.5, 2)))
            if wire.net:
                wire.passes(SETTLED_S)
                assert wire.account.locks == {}, f"{seed}: locked with {wire.net} held"
        wire.passes(SETTLED_S)
        assert is_left_alone(wire), seed
    assert exits > SEQUENCES


@pytest.mark.parametrize("kind", [True, False], ids=["kind", "rough"])
def test_who_does_not_keep_to_them_is_found(kind: bool) -> None:
    """The same wire, and what must be acted on: otherwise the tests above prove nothing."""
    for seed in range(40):
        wire, _ = trading(seed, kind=kind, no_averaging_down={})
        wire.trades(2)
        wire.passes(2)
        wire.quotes(-20)
        wire.trades(3)
        wire.passes(12)
        assert wire.net == 2, seed
        wire, _ = trading(seed, kind=kind, size_after_loss={})
        wire.trades(2)
        wire.passes(2)
        wire.trades(-2)
        wire.passes(2)
        wire.trades(5)
        wire.passes(12)
        assert wire.net == 2, seed
        wire, _ = trading(seed, kind=kind, reentry_delay={"delay": "1m"})
        wire.trades(2)
        wire.passes(2)
        wire.trades(-2)
        wire.passes(0.25)
        wire.trades(1)
        wire.passes(15)
        assert wire.net == 0, seed
