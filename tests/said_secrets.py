"""Finds keys and session tokens in whatever the programs under test say, and fails that test.

Searched by themselves are: what processes write to a pipe, what capsys and capfd read, what pytest
captures besides (output and log), and every frame that a client of a websocket receives. A test
that receives something in another way hands it to `outputs.search`.
"""

import subprocess
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Generator, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from websockets.asyncio.client import ClientConnection
from written_secrets import kinds_in, masked

LONGEST = 4096
"""Bytes. No secret is longer: a piece of a stream is searched with so much of what came before."""


class Outputs:
    """What was searched so far: where a secret was and of which kind, never the secret."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def search(self, where: str, content: str | bytes | None) -> None:
        """Look for secrets in an output, which `where` names for a person."""
        if isinstance(content, str):
            content = content.encode(errors="surrogateescape")
        for kind in kinds_in(content or b""):
            self._found.append(f"a secret ({kind}) in {where}")

    def take(self) -> list[str]:
        """What has been found since the last time, each once."""
        found = list(dict.fromkeys(self._found))
        self._found.clear()
        return found


outputs = Outputs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail each phase of a test in which a secret was said, and show the captured text masked."""
    report = yield
    for name, text in report.sections:
        if not name.endswith(report.when or ""):
            continue  # said in an earlier phase
        outputs.search(name.lower(), text)
    if found := outputs.take():
        report.sections = [(name, masked(text)) for name, text in report.sections]
        report.outcome = "failed"
        report.longrepr = "\n".join([*found, masked(report.longreprtext)]).strip()
    return report


@pytest.fixture(autouse=True, scope="session")
def every_output_is_searched() -> Iterator[None]:
    """Search where outputs of any kind arrive, for as long as the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        _search_pipes(patch)
        _search_captures(patch)
        _search_frames(patch)
        yield


def _search_pipes(patch: pytest.MonkeyPatch) -> None:
    piece_came, all_came = SubprocessStreamProtocol.pipe_data_received, subprocess.Popen.communicate
    before: WeakKeyDictionary[SubprocessStreamProtocol, dict[int, bytes]]
    before = WeakKeyDictionary()

    def pipe_data_received(self: SubprocessStreamProtocol, fd: int, data: bytes | str) -> None:
        tails = before.setdefault(self, {})
        piece = tails.get(fd, b"") + (data.encode() if isinstance(data, str) else data)
        outputs.search(f"the output of a process (stream {fd})", piece)
        tails[fd] = piece[-LONGEST:]
        piece_came(self, fd, data)

    def communicate(self: "subprocess.Popen[Any]", *given: Any, **named: Any) -> tuple[Any, Any]:
        said = all_came(self, *given, **named)
        for fd, text in enumerate(said, 1):
            outputs.search(f"the output of a process (stream {fd})", text)
        return said

    patch.setattr(SubprocessStreamProtocol, "pipe_data_received", pipe_data_received)
    patch.setattr(subprocess.Popen, "communicate", communicate)


def _search_captures(patch: pytest.MonkeyPatch) -> None:
    read = pytest.CaptureFixture.readouterr

    def readouterr(self: "pytest.CaptureFixture[Any]") -> Any:
        said = read(self)
        outputs.search("stdout of a command", said.out)
        outputs.search("stderr of a command", said.err)
        return said

    patch.setattr(pytest.CaptureFixture, "readouterr", readouterr)


def _search_frames(patch: pytest.MonkeyPatch) -> None:
    receive = ClientConnection.recv

    async def recv(self: ClientConnection, decode: bool | None = None) -> Any:
        frame = await receive(self, decode)
        outputs.search("a frame of a websocket", frame)
        return frame

    patch.setattr(ClientConnection, "recv", recv)
