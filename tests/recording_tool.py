"""Stand-ins for commands of the system: each writes down how it was called and answers as told."""

import json
import os
import sys
from pathlib import Path

import pytest

PROGRAM = """\
#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = [pathlib.Path(__file__).name, *sys.argv[1:]]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
for begin, code, out, err, encoding in json.loads((folder / "answers.json").read_text()):
    if words[: len(begin)] == begin:
        sys.stdout.buffer.write(out.encode(encoding))
        sys.stderr.buffer.write(err.encode(encoding))
        sys.exit(code)
"""


class RecordingTools:
    """A folder of such commands, which is all of the PATH. Without an answer a call succeeds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._answers: list[tuple[list[str], int, str, str, str]] = []
        folder.mkdir()
        self._write()
        monkeypatch.setenv("PATH", str(folder))

    def add(self, *names: str) -> None:
        for name in names:
            path = self._folder / name
            path.write_text(PROGRAM.format(python=sys.executable), encoding="utf-8")
            path.chmod(0o755)

    def answer(
        self, *begin: str, code: int = 0, out: str = "", err: str = "", encoding: str = "utf-8"
    ) -> None:
        """What a call that begins with these words is answered with; the newest answer counts."""
        self._answers.insert(0, (list(begin), code, out, err, encoding))
        self._write()

    def _write(self) -> None:
        (self._folder / "answers.json").write_text(json.dumps(self._answers), encoding="utf-8")

    @property
    def calls(self) -> list[list[str]]:
        path = self._folder / "calls.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def forget(self) -> None:
        (self._folder / "calls.jsonl").unlink(missing_ok=True)


needs_scripts = pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts")
