"""The day's curves over a restart: kept in a file that may be missing, broken or of yesterday."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from desk import Desk, DeskMaker

from risk_manager.daemon.day_curves import DayCurves


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
