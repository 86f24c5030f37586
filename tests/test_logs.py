"""The log: where lines go, and that no secret is in any of them."""

import io
import json
import logging
import logging.handlers
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from risk_manager import logs, redaction
from risk_manager.feed.tokens import ADMIN_TOKEN, FEED_TOKEN, issue_token

CANARY = 'canary/secret "key"+1'
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlY2FuYXJ5"


@pytest.fixture(autouse=True)
def _quiet_third_parties() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in logs.NOISY_LOGGERS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def lines(folder: Path, name: str = "daemon") -> list[dict[str, Any]]:
    path = folder / f"{name}.log"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def events(folder: Path, name: str = "daemon") -> list[str]:
    return [line["event"] for line in lines(folder, name)]


def everything(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())


def test_each_line_is_json_with_its_fields(tmp_path: Path) -> None:
    with logs.Logs(tmp_path, run_id="r1"):
        structlog.get_logger("daemon").info("flattened", account=101, took_ms=84)
    (line,) = lines(tmp_path)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "daemon",
        "event": "flattened",
        "run_id": "r1",
        "account": 101,
        "took_ms": 84,
    }


def test_lines_go_to_the_files_they_belong_in(tmp_path: Path) -> None:
    with logs.Logs(tmp_path):
        logging.getLogger("risk_manager.broker.session").info("logged in")
        logging.getLogger("risk_manager.broker.enforcement").info("closed")
        logging.getLogger("risk_manager.daemon").error("trouble")
        logging.getLogger("risk_manager.daemon").debug("not at this level")
    assert events(tmp_path) == ["logged in", "closed", "trouble"]
    assert events(tmp_path, "enforcement") == ["closed"]
    assert events(tmp_path, "api") == ["logged in", "closed"]
    assert events(tmp_path, "error") == ["trouble"]


def test_libraries_are_quiet_unless_asked(tmp_path: Path) -> None:
    with logs.Logs(tmp_path) as running:
        logging.getLogger("websockets.client").info("one")
        logging.getLogger("websockets.client").warning("two")
        running.set_level("DEBUG")
        logging.getLogger("websockets.client").debug("three")
    assert events(tmp_path) == ["two", "three"]


def leak_everywhere(log: Any) -> None:
    """Every way a secret gets into a log that we could think of."""
    log.debug("plain %s", CANARY)
    log.debug(f"in the text {CANARY}")
    log.debug("by key", api_key="short", password=["a", "canary-x"], headers={"Authorization": JWT})
    log.debug("by value", body={"deep": [{"er": (CANARY, CANARY.encode())}]})
    log.debug("object", thing=Holder(), error=ValueError(CANARY))
    log.debug(f"negotiate https://x/hubs/user/negotiate?access_token={JWT}&v=1")
    log.debug("negotiate wss://x/hubs/user?access_token=canary-opaque-token")
    log.debug("> Authorization: Bearer canary.opaque.token")
    log.debug('{"userName": "me", "apiKey": "canary-json"}')
    log.debug("{'token': 'canary-repr', 'success': True}")
    log.debug(json.dumps({"body": json.dumps({"token": "canary-nested"})}))
    log.debug(f"jwt {JWT} alone")
    try:
        local = CANARY
        raise RuntimeError(f"failed with {local}") from KeyError(f"token={JWT}")
    except RuntimeError:
        log.exception("it failed")
        log.debug("again", exc_info=True, stack_info=True)


class Holder:
    def __repr__(self) -> str:
        return f"Holder(key={CANARY!r})"


class StdlibLogger:
    """The stdlib's calls under structlog's signature."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)

    def debug(self, event: str, *args: object, **fields: Any) -> None:
        known = {k: fields.pop(k) for k in ("exc_info", "stack_info") if k in fields}
        self._log.debug(event, *args, extra=fields, **known)

    def exception(self, event: str) -> None:
        self._log.exception(event)


@pytest.mark.parametrize(
    "log",
    [structlog.get_logger("daemon"), StdlibLogger("pysignalr.transport"), StdlibLogger("daemon")],
)
def test_no_secret_gets_out_at_debug(tmp_path: Path, log: Any) -> None:
    redaction.conceal(CANARY)
    screen = io.StringIO()
    with logs.Logs(tmp_path, level="DEBUG", console=screen) as running:
        leak_everywhere(log)
        warnings.warn(f"warned with {CANARY}", stacklevel=1)
    told = everything(tmp_path) + screen.getvalue()
    assert "it failed" in told
    assert "RuntimeError" in told
    assert "canary" not in told.replace("tests/test_logs.py", "")
    assert JWT.split(".")[1] not in told
    assert running.lines_lost == 0


def test_plain_lines_are_masked_too(tmp_path: Path) -> None:
    redaction.conceal(CANARY)
    with logs.Logs(tmp_path, level="DEBUG", as_json=False):
        leak_everywhere(structlog.get_logger("daemon"))
    assert "canary" not in everything(tmp_path)


def test_a_known_secret_is_masked_in_every_spelling() -> None:
    redaction.conceal("canary two&three")
    for text in ("canary two&three", "canary%20two%26three", '{"a": "canary two&three"}'):
        assert "two" not in redaction.redact(text)


@pytest.mark.parametrize("name", [FEED_TOKEN, ADMIN_TOKEN])
def test_an_access_token_is_masked_wherever_it_stands(tmp_path: Path, name: str) -> None:
    token = issue_token(tmp_path / name)
    assert redaction.redact(f"401 for {token}, try again") == "401 for [redacted], try again"


def test_words_that_only_look_like_keys_stay() -> None:
    assert redaction.redact("the token expires at 17:00") == "the token expires at 17:00"
    assert redaction.redact("tokens: 3 left; limit=500") == "tokens: 3 left; limit=500"
    assert redaction.redacted({"token_expires_at": "17:00"}) == {"token_expires_at": "17:00"}


def test_output_of_a_library_with_its_own_handler_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = logging.getLogger("project_x_py.client.http")
    theirs.addHandler(logging.StreamHandler(sys.stdout))
    theirs.propagate = False
    with logs.Logs(tmp_path):
        theirs.warning("token=canary")
    assert events(tmp_path, "api") == ["token=[redacted]"]
    assert capsys.readouterr().out == ""


def test_the_same_line_again_and_again_is_not_written_again_and_again(tmp_path: Path) -> None:
    with logs.Logs(tmp_path):
        for _ in range(100):
            logging.getLogger("daemon").warning("gateway unreachable")
        logging.getLogger("daemon").warning("something else")
        for _ in range(5):
            logging.getLogger("daemon").error("an error is never left out")
    assert events(tmp_path).count("gateway unreachable") == logs.REPEATS_SHOWN
    assert "something else" in events(tmp_path)
    assert len(events(tmp_path, "error")) == 5


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    __repr__ = __str__


def test_logging_never_raises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = structlog.get_logger("daemon")
    with logs.Logs(tmp_path):
        log.info("odd", thing=Broken(), event_=Broken())
        log.info("wrong placeholders %d", "x")
        logging.getLogger("x").warning("wrong %d %d", "x")
        logging.getLogger("x").warning(Broken())
        log.info("last")
    assert events(tmp_path)[-1] == "last"
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_written_costs_only_the_files(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    screen = io.StringIO()
    with logs.Logs(tmp_path / "taken", console=screen) as running:
        logging.getLogger("daemon").warning("still on the screen")
    assert running.problem is not None
    assert "still on the screen" in screen.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_counted_and_never_raised(tmp_path: Path) -> None:
    (tmp_path / "daemon.log").symlink_to("/dev/full")
    screen = io.StringIO()
    with logs.Logs(tmp_path, console=screen) as running:
        for number in range(5):
            logging.getLogger("daemon").error("line %d", number)
    assert running.lines_lost > 0
    assert "line 4" in screen.getvalue()
    assert len(lines(tmp_path, "error")) == 5


def test_files_rotate_by_size_and_old_ones_go(tmp_path: Path) -> None:
    with logs.Logs(tmp_path, max_mb=0.01, backups=2):
        for number in range(400):
            logging.getLogger("daemon").info("a line of some length, number %d", number)
    kept = sorted(path.name for path in tmp_path.glob("daemon.log*"))
    assert kept == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert all((tmp_path / name).stat().st_size <= 11_000 for name in kept)


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    with logs.Logs(tmp_path):
        logging.getLogger("daemon").info("x")
    assert (tmp_path / "daemon.log").stat().st_mode & 0o077 == 0


def test_closing_gives_the_root_logger_back(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    running = logs.Logs(tmp_path)
    running.close()
    running.close()
    assert (root.level, list(root.handlers)) == before
