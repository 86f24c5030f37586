"""Notices that have gone leave nothing behind."""

import asyncio
import gc
from datetime import timedelta

from screen_day.told_day import ToldDay
from virtual_screen import virtual_screen
from virtual_time import in_virtual_time

from risk_manager.dashboard.alerts import Alert


def _kept(name: str) -> int:
    gc.collect()
    return sum(type(o).__name__ == name for o in gc.get_objects())


@in_virtual_time
async def test_the_lines_of_notices_that_have_gone_are_not_kept() -> None:
    kept = []
    async with virtual_screen(ToldDay(1, timedelta(days=1)), notices=True) as (app, _):
        for number in range(12):
            app.announcer.tell([Alert(text=f"notice {number}", tone="care")], None, 0.0)
            await asyncio.sleep(0.5)
            assert list(app.query("Toast"))
            await asyncio.sleep(9)
            assert not list(app.query("Toast"))
            kept.append(_kept("StylesCache"))
    assert kept[-1] - kept[1] < 5
