"""The search at the end of each run finds what it is meant to find."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from written_secrets import Found, masked, secrets_in

from risk_manager.feed.tokens import FEED_TOKEN, issue_token
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.tokens import Tokens


def test_a_key_and_a_token_are_found_wherever_they_stand(tmp_path: Path) -> None:
    token = Tokens("somebody", timedelta(hours=1), lambda: datetime.now(UTC)).issue()
    log, database = tmp_path / "daemon.log", tmp_path / "state.db"
    log.write_text(f"wss://127.0.0.1/hubs/user?access_token={token}", encoding="utf-8")
    database.write_bytes(b"\x00\x01" + PracticeGateway().api_key.encode() + b"\x00")
    (tmp_path / "other.log").write_text("api_key: env:PROJECT_X_API_KEY", encoding="utf-8")
    notes = tmp_path / "notes.txt"
    notes.write_text(f"{issue_token(tmp_path / FEED_TOKEN)} opens the feed", encoding="utf-8")
    found = {Found(log, "token"), Found(database, "key"), Found(notes, "access token")}
    assert set(secrets_in(tmp_path)) == found
    for file, _ in found:
        file.unlink()


LEAKS = """
import asyncio, logging, subprocess, sys
import pytest
from said_secrets import outputs
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

KEY = "practice-" + "key-" + "0" * 12
SAY = [sys.executable, "-c", "print('practice-' + 'key-' + '0' * 12)"]

def test_printed():
    print(KEY)

def test_logged():
    logging.getLogger("anything").warning("login with %s", KEY)

def test_read_back(capsys):
    print(KEY, file=sys.stderr)
    assert KEY in capsys.readouterr().err

def test_run():
    assert subprocess.run(SAY, capture_output=True, check=True).stdout

async def test_streamed():
    program = f"print('{KEY[:9]}', end='', flush=True); input(); print('{KEY[9:]}')"
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, **pipes)
    first = await process.stdout.readexactly(9)
    rest, _ = await process.communicate(b"on with it")
    assert KEY in (first + rest).decode()

async def test_framed():
    async def tell(ws):
        await ws.send('{"a": "' + KEY + '"}')
    async with serve(tell, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", proxy=None) as ws:
            async for frame in ws:
                assert KEY in frame

def test_handed_over():
    outputs.search("an alert", KEY.encode())

@pytest.fixture
def late():
    yield
    print(KEY)

def test_said_while_tidying_up(late):
    pass

def test_nothing_said(capsys):
    print("practice-key-file")
    assert capsys.readouterr().out
"""


def test_a_test_in_which_a_key_is_said_fails_without_showing_it(tmp_path: Path) -> None:
    """Each way in which a program may say something is searched; seen in a pytest of its own."""
    (tmp_path / "conftest.py").write_text(
        "from said_secrets import every_output_is_searched, pytest_runtest_makereport\n"
    )
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    words = ("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-rA", "--basetemp", "kept")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), *words, "test_leaks.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent),
            "COLUMNS": "200",
            "PYTHONDONTWRITEBYTECODE": "1",  # the compiled file would have the key in it
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert masked(run.stdout) == run.stdout
    where = {
        "test_printed": "captured stdout call",
        "test_logged": "captured log call",
        "test_read_back": "stderr of a command",
        "test_run": "the output of a process (stream 1)",
        "test_streamed": "the output of a process (stream 1)",
        "test_framed": "a frame of a websocket",
        "test_handed_over": "an alert",
        "test_said_while_tidying_up": "captured stdout teardown",
    }
    parts = re.split(r"\n_+ (?:ERROR at teardown of )?(test_\w+) _+\n", run.stdout)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert {name: text.splitlines()[0] for name, text in shown.items()} == {
        name: f"a secret (key) in {place}" for name, place in where.items()
    }
    assert "7 failed, 2 passed, 1 error" in run.stdout
    assert "PASSED test_leaks.py::test_nothing_said" in run.stdout
