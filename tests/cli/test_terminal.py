"""The terminal a command talks to: none at all, or one that knows few signs."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feed_daemon import FeedDaemon

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.cli.terminal import show_plain_signs


@pytest.mark.wire
@pytest.mark.parametrize(
    ("words", "instead"), [(["dashboard"], "dashboard --once"), (["demo"], "try `run`")]
)
def test_a_screen_without_a_terminal_says_so_and_ends(
    tmp_path: Path, words: list[str], instead: str
) -> None:
    """F7.1: A screen whose input is no terminal says so in one line and ends with code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "risk_manager", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "needs a terminal" in line
    assert instead in line


@contextmanager
def output_in(encoding: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield written
    stream.detach()  # or it would close what was written


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_signs_an_output_cannot_show_become_plain_ones(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.14: An output that knows few signs is shown plain ones."""
    text = "- 1 × 2 – 3 ≥ 4 é 日 \ud800"
    with output_in(encoding, monkeypatch) as written:
        show_plain_signs()
        print(text)
    shown = {
        "ascii": "- 1 x 2 - 3 >= 4 e ? ?",
        "cp1252": "- 1 × 2 – 3 >= 4 é ? ?",
        "utf-8": "- 1 × 2 – 3 ≥ 4 é 日 ?",
    }[encoding]
    assert written.getvalue().decode(encoding).splitlines() == [shown]


@pytest.mark.wire
async def test_one_snapshot_goes_to_an_output_that_knows_ascii_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.14: `dashboard --once` prints to an ASCII output."""
    daemon = FeedDaemon(tmp_path)
    async with daemon:
        await daemon.position(2)  # no price of it has come: its result is a dash
        with output_in("ascii", monkeypatch) as written:
            code = await asyncio.to_thread(main, ["dashboard", "--once", "--data", str(tmp_path)])
    assert code == Exit.DONE
    assert b"open -  total -  (- is unknown)" in written.getvalue()
