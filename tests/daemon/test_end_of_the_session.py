"""A clean stop makes the token worthless, after everything else; a crash leaves it."""

import json
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway, until

from risk_manager.practice.gateway import PracticeGateway

pytestmark = pytest.mark.wire
LOGOUT = "/Auth/logout"


def paths(gateway: PracticeGateway) -> list[str]:
    return [request.path for request in gateway.requests]


def log_lines(daemon: DaemonProcess) -> list[dict[str, object]]:
    text = (daemon.data / "logs" / "daemon.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


async def test_a_stop_logs_out_once_the_last_close_has_been_read_back(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            slow = gateway.faults.add("/Position/closeContract", delay=1.2)
            buy(gateway.exchange, "RTY", 1)
            await until(lambda: slow.hits, "the close is under way")
            assert await daemon.stop() == 0
        assert gateway.exchange.is_flat(ACCOUNT)
        assert paths(gateway)[-1] == LOGOUT
        assert paths(gateway).count(LOGOUT) == 1
        lines = log_lines(daemon)
        assert "logged out; the token is worthless" in [line["event"] for line in lines]
        (close,) = [x for x in lines if x.get("path") == "/Position/closeContract"]
        assert close["level"] == "warning", "a slow call"
        steps = {str(x["step"]): x for x in lines if x["event"] == "start_step"}
        assert list(steps) == [
            "database and parts", "feed", "login", "time", "accounts", "first reading",
        ]  # fmt: skip
        assert all(isinstance(x["took_ms"], int) and x["ended"] == "done" for x in steps.values())


@pytest.mark.parametrize("fault", [{"hang": True}, {"status": 500}, {"lose_reply": "close"}])
async def test_a_gateway_that_does_not_log_out_fails_no_stop(
    tmp_path: Path, fault: dict[str, object]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            asked = gateway.faults.add(LOGOUT, **fault)  # type: ignore[arg-type]
            assert await daemon.stop() == 0
        assert asked.hits == 1, "one attempt"
        (told,) = [x for x in log_lines(daemon) if str(x["event"]).startswith("not logged out")]
        assert told["level"] == "warning"
        assert json.loads((daemon.data / "daemon.json").read_text())["status"] == "STOPPED"


async def test_a_killed_daemon_leaves_its_token(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        async with DaemonProcess(tmp_path).point_at(gateway).running():
            pass
        assert LOGOUT not in paths(gateway)
