"""A failure of the platform packed, checked, altered, and packed without account numbers."""

import gzip
import hashlib
import json
import stat
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from config_folder import ConfigFolder
from desk import MORNING
from stored_desk import StoppedClock, at, rows, stored_desk, tamper

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.domain.decisions import Outcome

Say = Callable[..., str]
SPAN = ("--from", "2026-11-20T16:00:00Z", "--to", "2026-11-20T16:30:00Z")
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJl"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The user stream was away for a minute, and the gateway refused a close."""
    folder = tmp_path / "data"
    folder.mkdir()
    async with at(folder, clock=StoppedClock()) as kept:
        desk = stored_desk(kept, daily_realized_loss={"limit": 500})
        await desk.hub("user", "up")
        await desk.wait(minutes=5)
        await desk.hub("user", "down")
        await desk.wait(minutes=1)
        await desk.hub("user", "up")
        await desk.position("MNQ", 1)
        await desk.loss(600)
        await desk.settle(desk.enforcer.actions[-1], Outcome.REFUSED, code=2)
        await desk.wait(minutes=50)
    logs = folder / "logs"
    logs.mkdir()
    lines = [
        _call("2026-11-20T15:59:59.000Z", "too early"),
        _call("2026-11-20T16:06:01.000Z", f"closing?access_token={TOKEN}"),
    ]
    with gzip.open(logs / "api.log.1.gz", "wt", encoding="utf-8") as older:
        older.write("".join(lines))
    (logs / "api.log").write_text(
        _call("2026-11-20T16:06:02.000Z", "refused") + "not JSON\n", encoding="utf-8"
    )
    return folder


def _call(ts: str, event: str) -> str:
    return json.dumps({"ts": ts, "event": event, "account": 101}) + "\n"


@pytest.fixture
def say(data: Path, config: ConfigFolder, capsys: pytest.CaptureFixture[str]) -> Say:
    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--data", str(data), "--config", str(config.path))
        code = main(["admin", "incident", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


@pytest.fixture
def packed(say: Say, tmp_path: Path) -> Path:
    to = tmp_path / "incident.zip"
    say(*SPAN, "--out", str(to))
    return to


def lines_of(packed: Path, name: str) -> list[Any]:
    with zipfile.ZipFile(packed) as archive:
        return [json.loads(line) for line in archive.read(name).decode().splitlines()]


def altered(packed: Path, name: str, content: bytes | None, to: Path) -> Path:
    """The same zip file with one file changed, added, or left out."""
    with zipfile.ZipFile(packed) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    if content is None:
        del files[name]
    else:
        files[name] = content
    with zipfile.ZipFile(to, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return to


def with_true_sums(packed: Path, to: Path) -> Path:
    """The same zip file with a list of hashes that fits its files."""
    with zipfile.ZipFile(packed) as archive:
        names = sorted(set(archive.namelist()) - {"SHA256SUMS"})
        sums = "".join(f"{hashlib.sha256(archive.read(n)).hexdigest()}  {n}\n" for n in names)
    return altered(packed, "SHA256SUMS", sums.encode(), to)


def test_what_happened_in_the_span_is_packed_and_nothing_else(packed: Path, data: Path) -> None:
    assert [c["event"] for c in lines_of(packed, "api.log")] == [
        "closing?access_token=[redacted]",
        "refused",
    ]
    down = MORNING + timedelta(minutes=5)
    gap = {
        "hub": "user",
        "from": down.isoformat(),
        "until": (down + timedelta(minutes=1)).isoformat(),
        "seconds": 60.0,
    }
    assert [{k: g[k] for k in gap} for g in lines_of(packed, "stream_gaps.jsonl")] == [gap]
    refused = [r for r in lines_of(packed, "refusals.jsonl") if r["outcome"] == "failed"]
    assert [(r["action"], r["details"]["error_code"]) for r in refused] == [("close_position", 2)]
    audit = lines_of(packed, "audit.jsonl")
    assert [r["id"] for r in audit] == list(range(audit[0]["id"], audit[-1]["id"] + 1))
    end = (MORNING + timedelta(minutes=30)).isoformat()
    assert audit[-1]["at"] <= end
    assert {"lock.set", "settled"} <= {r["action"] for r in audit}
    if sys.platform != "win32":
        assert stat.S_IMODE(packed.stat().st_mode) == 0o600


def test_a_packed_file_is_verified_by_anybody(say: Say, packed: Path, data: Path) -> None:
    out = say("--verify", str(packed))
    assert "6 files are as they were packed; the chain of the audit is whole" in out
    with zipfile.ZipFile(packed) as archive:
        assert hashlib.sha256(archive.read("SHA256SUMS")).hexdigest() in out
        told = json.loads(archive.read("summary.json"))["audit"]
    ((row, digest),) = rows(data, "SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")
    assert told["head"] == {"row": row, "hash": digest}
    assert told["is_whole"] is True


def test_what_was_altered_after_packing_is_named(say: Say, packed: Path, tmp_path: Path) -> None:
    for name, content, problem in (
        ("api.log", b"{}\n", "api.log is not as it was packed"),
        ("refusals.jsonl", None, "refusals.jsonl is missing"),
        ("more.txt", b"x", "more.txt is not in SHA256SUMS"),
    ):
        other = altered(packed, name, content, tmp_path / f"{name}.zip")
        assert problem in say("--verify", str(other), ends=Exit.REFUSED)


def test_an_edited_audit_row_is_found_even_with_hashes_made_to_fit(
    say: Say, packed: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(packed) as archive:
        text = archive.read("audit.jsonl").decode()
    edited = text.replace('"actor": "gateway"', '"actor": "nobody"', 1)
    assert edited != text
    other = altered(packed, "audit.jsonl", edited.encode(), tmp_path / "one.zip")
    fitting = with_true_sums(other, tmp_path / "two.zip")
    out = say("--verify", str(fitting), ends=Exit.REFUSED)
    assert "does not follow from the row before it" in out
    shorter = "".join(text.splitlines(keepends=True)[:-1])
    cut = altered(packed, "audit.jsonl", shorter.encode(), tmp_path / "three.zip")
    out = say("--verify", str(with_true_sums(cut, tmp_path / "four.zip")), ends=Exit.REFUSED)
    assert "the last row is not the one that summary.json names" in out


def test_masked_it_names_no_account_anywhere(say: Say, tmp_path: Path, data: Path) -> None:
    tamper(data, "UPDATE accounts SET name = '50KTC-V2-7654321'")
    to = tmp_path / "masked.zip"
    say(*SPAN, "--mask", "--out", str(to))
    with zipfile.ZipFile(to) as archive:
        for name in archive.namelist():
            text = archive.read(name).decode()
            assert '"account": 101' not in text
            assert "account:101" not in text
            assert '"account_id": 101' not in text
            assert "7654321" not in text
    assert "account-" in json.dumps(lines_of(to, "api.log"))
    assert "not checked, as it is masked" in say("--verify", str(to))


def test_a_span_in_which_nothing_happened_packs_empty_files(say: Say, tmp_path: Path) -> None:
    to = tmp_path / "quiet.zip"
    out = say("--from", "2020-01-01T00:00Z", "--to", "2020-01-02T00:00Z", "--out", str(to))
    assert "0 lines of audit.jsonl" in out
    assert "as they were packed" in say("--verify", str(to))


def test_a_stream_that_is_still_away_has_no_end(say: Say, tmp_path: Path) -> None:
    to = tmp_path / "away.zip"
    say("--from", "2026-11-20T16:05:30Z", "--to", "2026-11-20T16:05:40Z", "--out", str(to))
    (gap,) = lines_of(to, "stream_gaps.jsonl")
    assert (gap["until"], gap["seconds"]) == (None, None)


def test_what_cannot_be_meant_is_refused(say: Say, packed: Path, tmp_path: Path) -> None:
    assert "is there already" in say(*SPAN, "--out", str(packed), ends=Exit.REFUSED)
    junk = tmp_path / "junk.zip"
    junk.write_bytes(b"no zip file")
    assert "no packed incident" in say("--verify", str(junk), ends=Exit.REFUSED)
    assert "cannot be read" in say("--verify", str(tmp_path / "none.zip"), ends=Exit.REFUSED)
    for words in (
        (),
        SPAN[:2],
        (*SPAN, "--verify", str(packed)),
        ("--from", SPAN[3], "--to", SPAN[1]),
        ("--from", "yesterday", "--to", SPAN[3]),
    ):
        with pytest.raises(SystemExit, match="2"):
            say(*words)
