"""Days that have ended, floors and peaks survive the end of the process, by the rows alone."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from stored_desk import StoppedClock, StoredDesk, at, opened, stored_desk
from trading_month import next_morning, read, trade

from risk_manager.domain.trading_days import EndedDay

RULES = {
    "trailing_max_drawdown": {
        "start_balance": 50_000,
        "distance": 2_000,
        "mode": "intraday_balance",
    },
    "period_loss": {"limit": 1_000, "period": "month"},
    "giveback": {"arm_at": 100, "fraction": 0.5},
    "consistency": {"since": "2026-11-20"},
}


def sentences(desk: StoredDesk) -> list[str]:
    return [desk.meter(rule).sentence for rule in RULES]


async def test_a_new_process_says_the_same_of_every_rule(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as kept:
        desk = await opened(stored_desk(kept, **RULES))
        await read(desk, "50000.00")
        await trade(desk, "700.00", fee="0")
        friday = desk.account().trading_date
        await next_morning(desk, "50700.00")
        await trade(desk, "400.00", fee="0")
        await trade(desk, "-150.00", fee="0")
        told = sentences(desk)
        assert "today $49,100.00" in told[0]
    clock.at = desk.now + timedelta(minutes=5)
    async with at(tmp_path, clock=clock) as kept:
        again = await stored_desk(kept, **RULES).restored(clock.at)
        assert sentences(again) == told
        assert again.account().days.ended == {
            friday: EndedDay(Decimal("700.00"), Decimal(0), Decimal("50700.00"))
        }


async def test_a_day_that_ended_while_nobody_watched_is_unknown_until_it_is_read(
    tmp_path: Path,
) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as kept:
        desk = await opened(stored_desk(kept, **RULES))
        await read(desk, "50000.00")
        friday = desk.pipeline.state.day
    clock.at = friday.ends_at + timedelta(days=2, hours=18)
    async with at(tmp_path, clock=clock) as kept:
        again = await stored_desk(kept, **RULES).restored(clock.at)
        await again.wait(seconds=1)
        assert again.account().days.ended == {friday.date: EndedDay()}
        await again.report(positions={}, trades=[], trades_since=friday.starts_at, balance="50000")
        assert again.account().days.ended == {
            friday.date: EndedDay(Decimal(0), Decimal(0), Decimal(50_000))
        }
