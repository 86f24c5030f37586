"""Theme and mute are remembered between starts, and never stand in the way of one."""

from pathlib import Path

import pytest

from risk_manager.dashboard.app import RiskDashboard
from risk_manager.dashboard.choices import Choices, ChoicesFile
from risk_manager.dashboard.themes import COLOUR_BLIND, DARK, LIGHT
from risk_manager.feed.client import FeedClient


@pytest.mark.parametrize(
    ("content", "choices"),
    [
        (b'{"theme":"textual-light","muted":true}', Choices(theme=LIGHT, muted=True)),
        (b'{"theme":"colour-blind"}', Choices(theme=COLOUR_BLIND)),
        (b'{"theme":"no such theme","muted":"yes"}', Choices()),
        (b'{"theme":["x"]}', Choices()),
        (b'{"theme"', Choices()),
        (b"\xff\x00", Choices()),
        (b"[]", Choices()),
        (b"", Choices()),
    ],
)
def test_what_cannot_be_understood_was_not_chosen(
    tmp_path: Path, content: bytes, choices: Choices
) -> None:
    (tmp_path / "screen.json").write_bytes(content)
    assert ChoicesFile(tmp_path / "screen.json").read() == choices


def test_it_is_kept_in_a_folder_that_is_made_for_it_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = ChoicesFile(tmp_path / "state" / "screen.json")
    for muted in (True, False, True):
        file.change(theme=LIGHT, muted=muted)
    assert file.read() == Choices(theme=LIGHT, muted=True)
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["screen.json"]


def test_where_it_cannot_be_written_nothing_is_said_and_nothing_left(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    file = ChoicesFile(tmp_path / "taken" / "screen.json")
    file.change(muted=True)
    assert file.read() == Choices()
    (tmp_path / "screen.json").mkdir()  # it cannot be replaced
    ChoicesFile(tmp_path / "screen.json").change(muted=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["screen.json", "taken"]


async def test_the_next_screen_begins_as_the_last_one_was_left(tmp_path: Path) -> None:
    kept = ChoicesFile(tmp_path / "screen.json")
    (tmp_path / "data").mkdir()
    for expected in ((DARK, False), (LIGHT, True)):
        app = RiskDashboard(
            FeedClient(tmp_path / "data", reconnect_s=(0.05,)), environ={}, choices=kept
        )
        async with app.run_test(size=(120, 40)) as pilot:
            assert (app.theme, app.announcer.is_muted) == expected
            if expected[0] == DARK:
                await pilot.press("t", "m")
    app = RiskDashboard(FeedClient(tmp_path / "data"), environ={"COLORFGBG": "0;15"})
    assert (app.theme, app.announcer.is_muted) == (LIGHT, False)  # nothing is kept for it
