"""A thousand traders who pull their stops about: none doubled, none worsened, none too large."""

from random import Random

import pytest
from desk import Desk, rules_from
from rough_wire import RoughWire, levels

from risk_manager.domain.records import OrderStatus
from risk_manager.rules.stop_guard.levels import compared

SEQUENCES = 1000
AT_ONCE = 250
STEPS = 10
# A quarter of the thousand on a kind wire, the others on a rough one.
BATCHES = [(0, True), (250, False), (500, False), (750, False)]


def guarded(seed: int, *, kind: bool) -> RoughWire:
    grace = Random(seed).choice(("1s", "2s", "4s"))
    return RoughWire(rules_from(stop_guard={"grace": grace}), Random(seed), kind=kind)


def fiddles(wire: RoughWire, dice: Random) -> None:
    """Something that a trader does to a position and its stops."""
    stops, net = wire.stops(), wire.net
    roll = dice.random()
    if not net:
        size = dice.choice((-3, -2, -1, 1, 2, 3))
        wire.trades(size)
        wire.passes(0.5)
        for lots in dice.choice(([abs(size)], [1] * abs(size), [1])):
            wire.stops_at(-lots if size > 0 else lots, dice.randint(20, 60))
    elif roll < 0.35 and stops:
        wire.modifies(dice.choice(stops), dice.randint(-40, 10))
    elif roll < 0.5 and stops:
        wire.cancels(dice.choice(stops))
    elif roll < 0.6:
        wire.stops_at(-net, dice.randint(20, 90))
    elif roll < 0.65 and stops and abs(net) > 1:
        wire.modifies(dice.choice(stops), 0, size=1)
    elif roll < 0.72:
        wire.trades(-1 if net > 0 else 1)
    elif roll < 0.78:
        wire.trades(1 if net > 0 else -1)
    elif roll < 0.81:
        wire.trades(-2 * net)
    else:
        wire.quotes(dice.randint(-25, 25))


@pytest.mark.parametrize(("first", "kind"), BATCHES)
def test_no_stop_is_doubled_worsened_or_too_large(first: int, kind: bool) -> None:
    """The wire itself checks each call against what works and is held at the exchange."""
    restored = 0
    for seed in range(first, first + AT_ONCE):
        wire = guarded(seed, kind=kind)
        dice = Random(f"{seed}/trader")
        for _ in range(STEPS):
            fiddles(wire, dice)
            wire.passes(dice.choice((0.5, 1, 2, 6)))
        wire.passes(12)
        restored += len(wire.calls)
        held = {c: p.net for c, p in wire.account.positions.items()}
        assert held == ({wire.contract.id: wire.net} if wire.net else {}), seed
    assert restored > AT_ONCE // 2, "hardly anything was put back: the test tests nothing"


@pytest.mark.parametrize(("first", "kind"), BATCHES)
def test_what_is_pulled_away_from_a_loser_is_back_or_the_position_is_closed(
    first: int, kind: bool
) -> None:
    back = closed = lies = 0
    for seed in range(first, first + AT_ONCE):
        wire = guarded(seed, kind=kind)
        dice = Random(f"{seed}/trader")
        size = dice.choice((-3, -2, -1, 1, 2, 3))
        side = 1 if size > 0 else -1
        wire.is_lying = False  # nobody can guard a stop that was never heard of
        wire.trades(size)
        for lots in dice.choice(([abs(size)], [1] * abs(size))):
            wire.stops_at(-side * lots, dice.randint(40, 80))
        wire.passes(4)
        wire.quotes(-side * 10)
        wire.passes(2)
        wire.is_lying = not kind
        before = levels(wire)
        for _ in range(dice.randint(1, 6)):
            stops = wire.stops()
            roll = dice.random()
            if stops and roll < 0.5:
                wire.modifies(dice.choice(stops), -dice.randint(1, 40))
            elif stops and roll < 0.7:
                wire.cancels(dice.choice(stops))
            elif sum(o.remaining for o in stops) < abs(wire.net):
                wire.stops_at(-side, dice.randint(70, 120))
            else:
                wire.quotes(-side * dice.randint(0, 25))
            wire.passes(dice.choice((0.25, 1, 3)))
        wire.passes(30)
        lies += wire.lies
        if not wire.net:
            closed += 1
            continue
        back += 1
        after = levels(wire)
        assert len(after) == abs(wire.net), seed
        left = before[-len(after) :]  # the nearest may have been filled
        assert sum(after) >= sum(left), f"{seed}: {before}, then {after}"
        assert sum(o.remaining for o in wire.stops()) == abs(wire.net), seed
    assert back > AT_ONCE // 4
    assert closed
    assert kind or lies > 20


@pytest.mark.parametrize("first", range(0, SEQUENCES, AT_ONCE))
async def test_on_the_desk_every_modification_ends_as_it_should(first: int) -> None:
    """The same trader on the desk, where the broker does at once what it is asked."""
    for seed in range(first, first + AT_ONCE):
        dice = Random(f"{seed}/desk")
        d = Desk(rules_from(stop_guard={"grace": "2s"}))
        net = dice.choice((-2, -1, 1, 2))
        side = 1 if net > 0 else -1
        await d.position("MNQ", net, 21000)
        price = 21000 - side * 10
        await d.quote("MNQ", price)
        best = 21000 - side * dice.randint(20, 60)
        stop = await d.stop("MNQ", -net, best)
        for _ in range(6):
            level = best - side * dice.randint(-9, 30)
            ended = dice.random() < 0.2
            known = d.account().orders
            stop = next(iter(known), stop)
            if ended and known:
                status = OrderStatus.CANCELLED
                await d.stop("MNQ", -net, level, order_id=stop, status=status)
            elif known:
                await d.stop("MNQ", -net, level, order_id=stop)
                if (level - best) * side > 0:
                    best = level
            for _ in range(dice.choice((1, 3, 6))):
                await d.wait(seconds=1)
                await d.quote("MNQ", price)
                await d.obey()
        for _ in range(6):
            await d.wait(seconds=1)
            await d.quote("MNQ", price)
            await d.obey()
        orders = list(d.account().orders.values())
        if not d.account().positions:
            continue
        assert sum(o.remaining for o in orders) == abs(net), seed
        assert [float(o.stop_price or 0) for o in orders] == [best], seed


def test_an_empty_reference_misses_nothing() -> None:
    assert compared((), ()).unmet == ()
