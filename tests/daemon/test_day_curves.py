"""The day's curves over a restart: kept in a file that may be missing, broken or of yesterday."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from desk import Desk, DeskMaker
from stored_desk import StoredDesk, at, opened, rows, stored_desk

from risk_manager.daemon.day_curves import DayCurves
from risk_manager.feed.day_curve import DayCurve
from risk_manager.store.store import Store


async def traded(desk: DeskMaker) -> Desk:
    d = desk()
    await d.restart()
    await d.loss("40.25", fees="0.75")
    await d.wait(seconds=3)
    return d


def curves_of(d: Desk, tmp_path: Path) -> DayCurves:
    return DayCurves(tmp_path / "day_curves.json", lambda: d.pipeline.state)


async def test_a_restart_goes_on_with_the_curve_of_the_day(desk: DeskMaker, tmp_path: Path) -> None:
    d = await traded(desk)
    before = curves_of(d, tmp_path)
    before.watch()
    await d.win(100)
    await d.wait(seconds=3)
    before.watch()
    await before.save()
    after = curves_of(d, tmp_path)
    after.load()
    assert after.of(d.account()) == before.of(d.account())
    await d.loss("60")
    await d.wait(minutes=1)
    after.watch()
    curve = after.of(d.account())
    assert curve is not None
    assert (curve.high, curve.low) == (
        before.of(d.account()).high,  # type: ignore[union-attr]
        before.of(d.account()).low,  # type: ignore[union-attr]
    )
    assert curve.last == Decimal("-1.00")
    assert curve.drawdown is not None
    assert curve.drawdown.net == Decimal(60)


async def test_yesterdays_curve_is_not_todays(desk: DeskMaker, tmp_path: Path) -> None:
    d = await traded(desk)
    curves = curves_of(d, tmp_path)
    curves.watch()
    await curves.save()
    await d.wait_until(d.pipeline.state.day.ends_at + timedelta(seconds=5))
    again = curves_of(d, tmp_path)
    again.load()
    assert again.of(d.account()) is None
    again.watch()
    curve = again.of(d.account())
    assert curve is not None
    assert (curve.last, curve.trading_date) == (Decimal(0), d.account().trading_date)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"account_id": 101}]', "\x00"])
async def test_a_broken_file_is_no_reason_not_to_start(
    desk: DeskMaker, tmp_path: Path, content: str
) -> None:
    d = await traded(desk)
    (tmp_path / "day_curves.json").write_text(content, encoding="utf-8")
    curves = curves_of(d, tmp_path)
    curves.load()
    assert curves.of(d.account()) is None
    curves.watch()
    await curves.save()
    again = curves_of(d, tmp_path)
    again.load()
    assert again.of(d.account()) == curves.of(d.account())


async def test_a_disk_that_refuses_the_file_is_survived(desk: DeskMaker, tmp_path: Path) -> None:
    d = await traded(desk)
    (tmp_path / "day_curves.json").mkdir()
    curves = curves_of(d, tmp_path)
    curves.load()
    curves.watch()
    await curves.save()
    assert curves.of(d.account()) is not None


async def test_an_account_that_was_not_read_yet_is_not_watched(
    desk: DeskMaker, tmp_path: Path
) -> None:
    d = desk()
    await d.loss(40)
    await d.wait(seconds=3)
    curves = curves_of(d, tmp_path)
    curves.watch()
    assert curves.of(d.account()) is None


def completing(store: Store, d: StoredDesk, folder: Path) -> DayCurves:
    async def complete(account_id: int, curve: DayCurve) -> None:
        await store.side_records.note_open_extremes(
            account_id, curve.trading_date, curve.open_low, curve.open_high
        )

    return DayCurves(folder / "day_curves.json", lambda: d.pipeline.state, on_day_over=complete)


SUMMARIES = (
    "SELECT unrealized_low, unrealized_low_at, unrealized_high, unrealized_high_at,"
    " unrealized_at_reset FROM daily_summary ORDER BY trading_day"
)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_finished_day_is_completed_by_the_extremes_of_its_open_result(
    tmp_path: Path, is_restarted: bool
) -> None:
    async with at(tmp_path) as store:
        d = await opened(stored_desk(store))
        await d.read_whole(d.account().id)
        await d.position("MNQ", 2, average=21000)
        curves = completing(store, d, tmp_path)
        instants = []
        for bid in (20990, 21040, 21010):
            await d.wait(seconds=3)
            await d.quote("MNQ", bid)
            curves.watch()
            instants.append(int(d.now.timestamp() * 1_000_000))
        await curves.save()
        await d.wait_until(d.pipeline.state.day.ends_at + timedelta(seconds=5))
        if is_restarted:
            curves = completing(store, d, tmp_path)
            curves.load()
        await d.quote("MNQ", 21015)
        curves.watch()
        await curves.hand_over()
        [(low, low_at, high, high_at, _)] = rows(tmp_path, SUMMARIES)
        assert (Decimal(low), Decimal(high)) == (Decimal(-40), Decimal(160))
        assert (low_at, high_at) == (instants[0], instants[1])


async def test_a_day_on_which_nothing_was_open_has_no_extremes(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        d = await opened(stored_desk(store))
        await d.read_whole(d.account().id)
        curves = completing(store, d, tmp_path)
        curves.watch()
        await d.wait_until(d.pipeline.state.day.ends_at + timedelta(seconds=5))
        curves.watch()
        await curves.hand_over()
        assert [row[:4] for row in rows(tmp_path, SUMMARIES)] == [(None,) * 4]
