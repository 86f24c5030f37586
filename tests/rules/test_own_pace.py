"""Own pace (EXTRA-022): entries an hour and size, against the trader's own days."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.rule import MeterState

# Monday 2 November 2026, 10:00 in New York.
FIRST = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)


async def trade(d: Desk, times: int, lots: int = 1, *, every: float = 5) -> None:
    """So many trades in MNQ, one each `every` minutes."""
    for _ in range(times):
        await d.fill("MNQ", lots)
        await d.position("MNQ", lots)
        await d.wait(minutes=every / 2)
        await d.fill("MNQ", -lots, pnl=1)
        await d.position("MNQ", 0)
        await d.wait(minutes=every / 2)


async def days_of(d: Desk, days: int, times: int = 4, lots: int = 2) -> None:
    """So many days with these trades within the hour from 10:00; ends at 10:00 of the next."""
    for _ in range(days):
        began = d.now
        await trade(d, times, lots)
        step = timedelta(days=3 if began.weekday() == 4 else 1)
        await d.wait_until(began + step)


def desk_with(desk: DeskMaker, **fields: object) -> Desk:
    return desk(own_pace={"armed": True, **fields}, desk_at=FIRST)


async def test_022_1_without_five_days_the_pace_is_unknown_and_nothing_is_done(
    desk: DeskMaker,
) -> None:
    d = desk_with(desk)
    await days_of(d, 4)
    await trade(d, 12, 9)
    assert d.decisions == []
    meter = d.meter("own_pace")
    assert meter.state is MeterState.UNKNOWN
    assert meter.current is None
    assert "4 of 5 traded days" in meter.sentence


async def test_022_2_one_and_a_half_times_the_usual_is_fine_and_one_more_is_not(
    desk: DeskMaker,
) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=4)
    await trade(d, 6, lots=2)
    assert d.decisions == []
    await d.fill("MNQ", 2)
    await d.position("MNQ", 2)
    assert d.reasons == [
        "7 entries in an hour, more than 1.5 times your usual 4; no new entries for 15m"
    ]
    lock = next(iter(d.account().locks.values()))
    assert lock.policy is LockPolicy.NO_ENTRIES
    assert lock.expires_at == d.now + timedelta(minutes=15)
    assert d.actions == []  # what is held stays


async def test_022_3_a_larger_entry_counts_in_micros_whatever_its_product(desk: DeskMaker) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=2, lots=2)
    await d.fill("MNQ", 3)
    await d.position("MNQ", 3)
    await d.wait(minutes=2)
    assert d.decisions == []
    await d.fill("ES", 1, price=6000)  # ten micros
    await d.position("ES", 1, 6000)
    assert "an entry of 10 micro-equivalents, more than 1.5 times your usual 2" in d.reasons[0]


async def test_022_4_an_order_in_parts_is_one_entry_of_its_whole_size(desk: DeskMaker) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=2, lots=2)
    for net in (1, 2, 3):
        await d.fill("MNQ", 1, order_id=77)
        await d.position("MNQ", net)
    assert d.decisions == []
    await d.fill("MNQ", 1, order_id=77)
    await d.position("MNQ", 4)
    assert "an entry of 4 micro-equivalents" in d.reasons[0]


async def test_022_5_an_entry_exactly_an_hour_ago_does_not_count(desk: DeskMaker) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=4)
    await trade(d, 7, every=10)  # the seventh comes as the first is an hour old
    assert d.decisions == []


async def test_022_6_the_pause_holds_and_what_is_entered_in_it_is_closed(desk: DeskMaker) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=1, lots=2)
    await d.fill("MNQ", 4)
    await d.position("MNQ", 4)
    assert d.locked_by() == {"own_pace": "account"}
    await d.fill("MNQ", 2)
    await d.position("MNQ", 6)
    assert d.actions == ["reduce MNQ to 4"]
    assert len(d.decisions) == 1  # an entry in the pause does not begin another
    await d.obey()
    await d.wait(minutes=15)
    assert d.locked_by() == {}


async def test_022_7_until_it_is_armed_it_only_tells(desk: DeskMaker) -> None:
    d = desk(own_pace={}, desk_at=FIRST)
    await days_of(d, 5, times=1, lots=2)
    await d.fill("MNQ", 9)
    await d.position("MNQ", 9)
    assert [x.shadow for x in d.decisions] == [True]
    assert d.locked_by() == {}
    await d.position("MNQ", 12)
    assert d.actions == []


async def test_022_8_days_without_trades_are_none_and_the_oldest_are_dropped(
    desk: DeskMaker,
) -> None:
    d = desk_with(desk, days=5)
    await days_of(d, 3, times=9, lots=9)
    await d.wait(days=4)  # nothing is traded
    await days_of(d, 5, times=1, lots=1)
    meter = d.meter("own_pace")
    assert "usually up to 1)" in meter.sentence
    assert "by 5 days" in meter.sentence


async def test_022_9_the_days_survive_a_restart(desk: DeskMaker) -> None:
    d = desk_with(desk)
    await days_of(d, 5, times=1, lots=2)
    await d.restart()
    await d.fill("MNQ", 4)
    await d.position("MNQ", 4)
    assert d.locked_by() == {"own_pace": "account"}
    await d.restart()
    await d.wait(minutes=1)
    assert len(d.decisions) == 1


async def test_022_10_a_trade_of_yesterday_that_is_voided_corrects_its_day(desk: DeskMaker) -> None:
    d = desk_with(desk, min_days=1)
    opened = d.now
    big = await d.fill("MNQ", 40, trade_id=5)
    await d.fill("MNQ", -40, pnl=0)
    await trade(d, 1, lots=2)
    await d.wait(days=1)
    assert "usually 40)" in d.meter("own_pace").sentence
    await d.fill("MNQ", 40, trade_id=big, order_id=big, at=opened, voided=True)
    assert "usually 2)" in d.meter("own_pace").sentence


async def test_the_figures_of_a_day_are_those_counted_minute_by_minute(desk: DeskMaker) -> None:
    for seed in range(20):
        dice = Random(seed)
        d = desk_with(desk, min_days=1)
        minutes = sorted(dice.sample(range(0, 300), dice.randrange(1, 25)))
        for minute in minutes:
            lots = dice.randrange(1, 6)
            at = FIRST + timedelta(minutes=minute)
            await d.fill("MNQ", lots, at=at)
            await d.fill("MNQ", -lots, pnl=0, at=at + timedelta(seconds=30))
        most = max(sum(m - 60 < each <= m for each in minutes) for m in range(360))
        await d.wait(days=1)
        assert f"usually up to {most})" in d.meter("own_pace").sentence, seed


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"days": 4}, "min_days 5 is above days 4"),
        ({"factor": 1}, "greater than 1"),
        ({"cooldown": "0s"}, "longer than zero"),
    ],
)
def test_figures_without_sense_are_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules_from(own_pace=fields)
