"""Every tab in four situations at three sizes looks as it did when somebody last looked at it.

`python tests/screens` shows the differences; `python tests/screens --update` keeps the screens as
they are now, and `make screenshots` draws the pictures of the documentation anew.
"""

import re
from pathlib import Path

import pytest
from screens.documented import FILES, pictures
from screens.gallery import (
    DOCS,
    HAS_TZSET,
    SIZES,
    differing,
    gallery_of,
    kept,
    name_of,
    with_local_time,
)
from screens.page import Line, Page, differences, read, written
from screens.situations import SITUATIONS, Situation, played

from risk_manager.dashboard.keys import TABS

ROOT = Path(__file__).parents[2]

needs_a_local_time = pytest.mark.skipif(
    not HAS_TZSET, reason="the local time cannot be chosen on this system"
)


@pytest.mark.timeout(300)
@needs_a_local_time
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda s: s.name)
async def test_a_situation_looks_as_it_was_kept(situation: Situation, tmp_path: Path) -> None:
    with with_local_time():
        async with played(situation, tmp_path) as new_feed:
            for size in SIZES:
                gallery = await gallery_of(new_feed, situation, size)
                assert list(gallery.pages) == [tab.id for tab in TABS]
                found = differing(kept(gallery.name), gallery.pages)
                if found:
                    pytest.fail(
                        "\n".join((f"{gallery.name} differs", *found[:60]))
                        + "\nIs the change meant? Then: python tests/screens --update",
                        pytrace=False,
                    )


@pytest.mark.timeout(300)
@needs_a_local_time
async def test_the_pictures_of_the_documentation_are_of_this_screen() -> None:
    stale = []
    with with_local_time():
        async for name, picture in pictures():
            path = DOCS / name
            if not path.exists() or path.read_text(encoding="utf-8") != picture:
                stale.append(name)
    assert not stale, f"{', '.join(stale)}: draw them anew with `make screenshots`"


def test_each_picture_is_shown_and_each_picture_shown_is_there() -> None:
    shown = {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for name in re.findall(r"pictures/([\w-]+\.svg)", page.read_text(encoding="utf-8"))
    }
    there = {path.name for path in DOCS.iterdir()}
    assert shown == there == FILES


def test_a_picture_fetches_nothing_and_runs_nothing() -> None:
    for path in DOCS.iterdir():
        picture = path.read_text(encoding="utf-8")
        without_names = re.sub(r'xmlns="[^"]*"|<!--.*?-->', "", picture)
        assert not re.search(r"https?:|@import|<script|<image|url\((?!#)", without_names), path.name


def test_what_is_kept_is_of_no_machine_and_no_more_than_there_is() -> None:
    folder = Path(__file__).parent / "kept"
    names = {f"{name_of(s, size)}.txt" for s in SITUATIONS for size in SIZES}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        assert not re.search(r"/tmp|/home|/work|/Users|[A-Z]:\\\\", path.read_text("utf-8"))


def page(*rows: tuple[str, str]) -> Page:
    return tuple(Line(text, (style,) * 10) for text, style in rows)


def test_a_page_is_read_as_it_was_written() -> None:
    first = page(("LOCKED", "bold red"), ("", "plain"), ("| a = b", "plain"), ("=== x", "plain"))
    mixed = (Line("ab", ("plain", "bold", *("plain",) * 8)),)
    assert read(written({"one": first, "two": mixed})) == {"one": first, "two": mixed}


def test_a_difference_is_told_by_row_and_column() -> None:
    kept = page(("flat", "plain"), ("LOCKED", "bold red"))
    assert differences(kept, kept) == []
    assert differences(kept, page(("flat", "plain"), ("OK", "bold red"))) == [
        "row 2",
        "  kept |LOCKED",
        "  now  |OK",
    ]
    assert differences(kept, page(("flat", "plain"), ("LOCKED", "bold green"))) == [
        "row 2, columns 1-10 'LOCKED': bold red is now bold green"
    ]
    assert differences(kept, kept[:1])[-1] == "  now  |(no such row)"
