"""Days of trading go past an open screen: what it keeps of them does not grow with them."""

import asyncio
import gc
from collections import Counter
from datetime import timedelta

import pytest
from screen_day.told_day import ACCOUNT, ToldDay
from virtual_screen import virtual_screen
from virtual_time import in_virtual_time

from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.story import KEPT
from risk_manager.dashboard.wording import signed

FRAMES = 10_000
SOME = FRAMES // 10
"""Objects of one kind that may be more: the screen does not always show as much."""


def _objects() -> Counter[str]:
    """The objects that are there, by module and class."""
    gc.collect()
    return Counter(f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())


@pytest.mark.timeout(300)
@in_virtual_time
async def test_what_the_screen_keeps_does_not_grow_and_it_ends_at_the_last_snapshot() -> None:
    feed = ToldDay(FRAMES, lasting=timedelta(days=3))
    async with virtual_screen(feed) as (app, seen):
        for tab in (*TABS, TABS[0]):  # a first look at each fills what is kept of it for good
            app.tab = tab.id
            await asyncio.sleep(1)
        await feed.is_half_told.wait()
        assert len(app.picture.story.entries) == KEPT
        before = _objects()
        await feed.is_over.wait()
        grown = {kind: more for kind, more in (_objects() - before).items() if more > SOME}
        assert not grown
        await asyncio.sleep(2)
        assert feed.resets == 3
        assert app.picture.account(ACCOUNT) == feed.last
        assert seen.figure("realised").text == signed(feed.last.realised_net)
