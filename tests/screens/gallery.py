"""Every tab in every situation at three sizes, and the screens that are kept of them."""

import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from screens.capture import Shown, shown
from screens.fixed_feed import FixedFeed
from screens.page import Page, differences, read, written
from screens.situations import SITUATIONS, Situation, played

from risk_manager.dashboard.keys import TABS, Tab

KEPT = Path(__file__).parent / "kept"
DOCS = Path(__file__).parents[2] / "docs" / "pictures"
SIZES = ((80, 24), (120, 40), (200, 60))
LOCAL_TIME = "America/Chicago"
HAS_TZSET = hasattr(time, "tzset")


@dataclass(frozen=True, slots=True)
class Gallery:
    """All tabs of one situation at one size."""

    name: str
    pages: dict[str, Page] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)


def name_of(situation: Situation, size: tuple[int, int]) -> str:
    return f"{situation.name}-{size[0]}x{size[1]}"


@contextmanager
def with_local_time() -> Iterator[None]:
    """The screen tells times of this computer: in here it is one in Chicago."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TZ", LOCAL_TIME)
        time.tzset()
        yield
    time.tzset()


async def tabs_of(
    feed: FixedFeed, size: tuple[int, int], situation: Situation
) -> AsyncIterator[tuple[Tab, Shown]]:
    """The screen at this size, with one tab open after the other."""
    async with shown(feed, size) as seen:
        if situation.is_lost:
            await seen.lose()
        for tab in TABS:
            await seen.turn_to(tab)
            yield tab, seen


async def gallery_of(
    new_feed: Callable[[], FixedFeed], situation: Situation, size: tuple[int, int]
) -> Gallery:
    gallery = Gallery(name_of(situation, size))
    async for tab, seen in tabs_of(new_feed(), size, situation):
        gallery.pages[tab.id] = seen.page()
        gallery.pictures[tab.id] = seen.picture()
    return gallery


async def photographed() -> AsyncIterator[Gallery]:
    for situation in SITUATIONS:
        with tempfile.TemporaryDirectory() as folder:
            async with played(situation, Path(folder)) as new_feed:
                for size in SIZES:
                    yield await gallery_of(new_feed, situation, size)


# --- what is kept ---------------------------------------------------------------------------------


def kept(name: str) -> dict[str, Page]:
    path = KEPT / f"{name}.txt"
    return read(path.read_text(encoding="utf-8")) if path.exists() else {}


def keep(gallery: Gallery) -> None:
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{gallery.name}.txt").write_text(written(gallery.pages), encoding="utf-8")


def differing(kept: dict[str, Page], now: dict[str, Page]) -> list[str]:
    """What differs, tab by tab."""
    told = []
    for tab, page in now.items():
        found = differences(kept.get(tab, ()), page)
        if found:
            told += [f"{tab}:", *(f"  {line}" for line in found)]
    return told
