"""A data folder that this user may not look into: one line with the fix, and exit code 6."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from config_folder import ConfigFolder

from risk_manager.cli import main
from risk_manager.cli.exits import Exit

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")

NOBODY = 65534
WHOSE = ("--account", "101", "--reason", "x")
VERBS = [
    ("dashboard", "--once"),
    ("admin", "status"),
    ("admin", "lockouts", "list"),
    ("admin", "lockouts", "set", *WHOSE),
    ("admin", "lockouts", "clear", *WHOSE),
    ("admin", "config", "reload"),
    ("admin", "audit", "verify"),
    ("admin", "audit", "tail"),
    ("admin", "db", "check"),
    ("admin", "db", "backup"),
    ("admin", "journal", "replay", "2026-11-20"),
    ("admin", "logs", "tail"),
    ("admin", "password", "set", "--password-stdin"),
    ("admin", "password", "change", "--password-stdin"),
    ("admin", "accounts", "list"),
    ("admin", "credentials", "test"),
]


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """The tests may run as root, who may read everything: then be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that everybody may read."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        place.chmod(0o755)
        (place / "data").mkdir()
        yield place
        (place / "data").chmod(0o700)


def ended(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    return main(list(words))


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_closed_data_folder_is_one_line_with_the_fix(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """F7.20: A data folder of another user is exit 6 for every verb, in one line with the fix."""
    data = folder / "data"
    ended(*words, "--data", str(folder / "none"), monkeypatch=monkeypatch)  # imports what it needs
    capsys.readouterr()
    data.chmod(0)
    with another_user():
        code = ended(*words, "--data", str(data), monkeypatch=monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == Exit.DATABASE
    assert line.startswith(f"risk-manager: the data folder {data} is closed to this user; ")
    assert "give --data a folder of your own" in line or "chmod" in line


def test_a_panic_goes_to_the_gateway_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed data folder hides the daemon and refuses nothing: the gateway is next."""
    data, config = folder / "data", ConfigFolder(folder / "config").path
    words = ["admin", "panic", "--yes", "--config", str(config), "--data"]
    main([*words, str(folder / "none")])  # imports what it needs
    capsys.readouterr()
    data.chmod(0)
    with another_user():
        code = main([*words, str(data)])
    told = capsys.readouterr().err.splitlines()
    assert code == Exit.UNREACHABLE
    assert told[0].endswith("daemon.json cannot be read: Permission denied")
    assert told[-1].startswith("risk-manager: the practice gateway runs inside the daemon")


def test_the_doctor_says_so_and_checks_the_rest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.20: The doctor names a closed data folder with its fix, goes on, and ends with 6."""
    data, config = folder / "data", ConfigFolder(folder / "config").path
    words = ["doctor", "--config", str(config), "--data", str(data)]
    assert main(words) in (Exit.DONE, Exit.REFUSED)
    capsys.readouterr()
    data.chmod(0)
    with another_user():
        code = main(words)
    told = capsys.readouterr()
    lines = [line for line in told.out.splitlines() if line.startswith("fail")]
    assert code == Exit.DATABASE
    assert told.err == ""
    assert len(lines) == 1
    assert lines[0].startswith(f"fail  data folder: the data folder {data} is closed to this user;")
    assert "gateway:" in told.out


def test_a_daemon_does_not_start_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """F7.20: A daemon that is started with a data folder of another user ends with 6."""
    config = ConfigFolder(folder / "config").path
    for closed in (folder / "data", folder / "data" / "deeper"):
        (folder / "data").chmod(0)
        with another_user():
            code = main(["run", "--config", str(config), "--data", str(closed)])
        (line,) = capsys.readouterr().err.splitlines()
        assert code == Exit.DATABASE
        assert str(closed) in line
        assert "--data" in line


@pytest.mark.parametrize("name", ["logs/daemon.log", "admin.hash", "state.db"])
def test_a_file_of_another_user_in_a_folder_that_is_open_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """F7.20: A single file that is closed to this user is named, with exit code 6."""
    words = {
        "logs/daemon.log": ("admin", "logs", "tail"),
        "admin.hash": ("admin", "password", "set", "--password-stdin"),
        "state.db": ("admin", "db", "check"),
    }[name]
    data = folder / "data"
    data.chmod(0o755)
    (data / "logs").mkdir()
    (data / name).write_text("{}\n")
    ended(*words, "--data", str(folder / "none"), monkeypatch=monkeypatch)
    capsys.readouterr()
    (data / name).chmod(0)
    with another_user():
        code = ended(*words, "--data", str(data), monkeypatch=monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == Exit.DATABASE
    assert str(data / name) in line
