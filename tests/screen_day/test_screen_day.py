"""The suite's share of a practice day with the screen open; `python tests/screen_day` is longer."""

from pathlib import Path

import pytest
from screen_day.day import play, problems


@pytest.mark.wire
async def test_after_a_busy_stretch_the_screen_agrees_with_the_database(tmp_path: Path) -> None:
    played = await play(tmp_path, seconds=12, speed=20)
    assert problems(played) == []
