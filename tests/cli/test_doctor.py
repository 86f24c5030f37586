"""The doctor: one line a check, each with its fix."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from config_folder import ConfigFolder
from filelock import FileLock
from pydantic import SecretStr

from risk_manager.admin.checkup import Finding, Grade, checkup
from risk_manager.admin.gateway_login import GatewayProblem, log_in
from risk_manager.cli import main
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings import Credentials

CANARY = "canary-key-123"


def found(findings: list[Finding], check: str) -> list[Finding]:
    return [f for f in findings if f.check == check]


def test_a_fresh_checkout_is_healthy(config: ConfigFolder, tmp_path: Path) -> None:
    findings = checkup(config.path, tmp_path / "data", env={})
    assert [f for f in findings if f.grade is Grade.FAIL] == []
    assert {f.check for f in findings} >= {
        "python", "config", "credentials", "time zones", "data folder", "disk", "database",
        "daemon", "gateway", "clock",
    }  # fmt: skip


def test_every_error_of_the_configuration_is_a_line(
    config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.risk("rules:\n  - {rule: max_contracts, limt: 5}")
    folders = ["--config", str(config.path), "--data", str(tmp_path / "data")]
    assert main(["doctor", *folders]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fail")]
    assert len(failed) == 1
    assert 'did you mean "limit"?' in failed[0]
    assert main(["doctor", "--json", *folders]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [c["grade"] for c in report["checks"] if c["check"] == "config"] == ["fail"]


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_a_data_folder_everybody_may_write_fails(config: ConfigFolder, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    (finding,) = found(checkup(config.path, data, env={}), "data folder")
    assert finding.grade is Grade.FAIL
    assert finding.fix.startswith("chmod 700")


def test_a_file_that_is_no_database_fails(config: ConfigFolder, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, by any means at all" * 40)
    (finding,) = found(checkup(config.path, tmp_path, env={}), "database")
    assert finding.grade is Grade.FAIL


def test_a_daemon_that_holds_the_folder_and_does_not_answer_fails(
    config: ConfigFolder, tmp_path: Path
) -> None:
    with FileLock(tmp_path / "daemon.lock"):
        (finding,) = found(checkup(config.path, tmp_path, env={}), "daemon")
    assert finding.grade is Grade.FAIL
    assert "running, but" in finding.found


def test_a_missing_key_fails_and_the_gateway_is_not_tried(
    config: ConfigFolder, tmp_path: Path
) -> None:
    findings = checkup(
        config.path, tmp_path / "data", env={"RISK_MANAGER_GATEWAY__KIND": "projectx"}
    )
    assert found(findings, "credentials")[0].grade is Grade.FAIL
    assert found(findings, "gateway")[0].found == "not tried without credentials"


# --- the login -------------------------------------------------------------------------------


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with PracticeGateway(username="someone", api_key=CANARY) as running:
        yield running


async def in_thread(api_url: str, key: str = CANARY) -> object:
    return await asyncio.to_thread(log_in, api_url, Credentials("someone", SecretStr(key)))


@pytest.mark.wire
async def test_accounts_of_the_login_are_compared_with_the_file(
    config: ConfigFolder, tmp_path: Path, gateway: PracticeGateway
) -> None:
    config.write("accounts.yaml", "accounts: [{id: 101}, {id: 555}]")
    env = {
        "RISK_MANAGER_GATEWAY__KIND": "projectx",
        "RISK_MANAGER_GATEWAY__API_URL": gateway.api_url,
        "RISK_MANAGER_GATEWAY__USERNAME": "someone",
        "RISK_MANAGER_GATEWAY__API_KEY": "env:KEY",
        "KEY": CANARY,
    }
    findings = await asyncio.to_thread(checkup, config.path, tmp_path / "data", env=env)
    assert found(findings, "gateway")[0].grade is Grade.OK
    grades = {f.found.split()[0]: f.grade for f in found(findings, "accounts")}
    assert grades == {"555": Grade.FAIL, "101": Grade.OK, "102": Grade.WARN}
    assert CANARY not in repr(findings)


@pytest.mark.wire
async def test_trouble_with_the_login_is_a_sentence(
    gateway: PracticeGateway, unused_tcp_port: int
) -> None:
    with pytest.raises(GatewayProblem, match="refuses the login"):
        await in_thread(gateway.api_url, "canary-wrong")
    with pytest.raises(GatewayProblem, match=r"nothing listens at 127.0.0.1"):
        await in_thread(f"http://127.0.0.1:{unused_tcp_port}/api")
    with pytest.raises(GatewayProblem, match=r"there is no address|cannot be reached"):
        await in_thread("https://gateway.invalid/api")


@pytest.mark.wire
async def test_a_key_is_not_sent_where_a_redirect_points() -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        raise web.HTTPTemporaryRedirect("/other")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", elsewhere)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        with pytest.raises(GatewayProblem, match="answers with error 307"):
            await in_thread(f"http://127.0.0.1:{runner.addresses[0][1]}/api")
    finally:
        await runner.cleanup()
    assert seen == ["/api/Auth/loginKey"]
