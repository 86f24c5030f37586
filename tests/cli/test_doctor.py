"""The doctor: one line a check, each with its fix."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from config_folder import ConfigFolder
from feed_daemon import FeedDaemon
from filelock import FileLock
from pydantic import SecretStr

from risk_manager.admin.checkup import checkup
from risk_manager.admin.drill_record import DrilledRule, DrillRecord, keep
from risk_manager.admin.finding import Finding, Grade
from risk_manager.admin.gateway_login import GatewayProblem, log_in
from risk_manager.admin.limit_checks import listed_account
from risk_manager.cli import main
from risk_manager.domain.records import AccountRecord
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import Account as ExchangeAccount
from risk_manager.settings import Credentials
from risk_manager.settings.secrets import SecretUnavailable

CANARY = "canary-key-123"
ANY_PORT = {"RISK_MANAGER_FEED__PORT": "0"}
PROJECTX = {**ANY_PORT, "RISK_MANAGER_GATEWAY__KIND": "projectx"}


def found(findings: list[Finding], check: str) -> list[Finding]:
    return [f for f in findings if f.check == check]


def test_a_fresh_checkout_is_healthy(config: ConfigFolder, tmp_path: Path) -> None:
    findings = checkup(config.path, tmp_path / "data", env=ANY_PORT)
    assert [f for f in findings if f.grade is Grade.FAIL] == []
    assert {f.check for f in findings} >= {
        "python", "config", "credentials", "time zones", "data folder", "disk", "database",
        "daemon", "feed port", "gateway", "clock",
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
    findings = checkup(config.path, tmp_path / "data", env=PROJECTX)
    assert found(findings, "credentials")[0].grade is Grade.FAIL
    assert found(findings, "gateway")[0].found == "not tried without credentials"


def test_all_missing_variables_are_named_at_once(config: ConfigFolder, tmp_path: Path) -> None:
    """F7.12: Every variable of the login that is missing is a line of its own, with its fix."""
    user, key = found(checkup(config.path, tmp_path / "data", env=PROJECTX), "credentials")
    assert user.found.endswith("the environment variable PROJECT_X_USERNAME is not set")
    assert key.found.endswith("the environment variable PROJECT_X_API_KEY is not set")
    assert user.fix
    assert key.fix
    with pytest.raises(SecretUnavailable, match=r"PROJECT_X_USERNAME.*; .*PROJECT_X_API_KEY"):
        config.load(PROJECTX).credentials(PROJECTX)


# --- the data folder, the port and the daemon -----------------------------------------------------


@pytest.mark.parametrize("where", ["a file/data", "a file", "/proc/none/data"])
def test_a_data_folder_that_cannot_be_made_fails_and_nothing_else_is_said_of_it(
    config: ConfigFolder, tmp_path: Path, where: str
) -> None:
    """F7.12: A `--data` that cannot be made is named with its fix, and no free space is told."""
    if where.startswith("/proc") and sys.platform != "linux":
        pytest.skip("no such folder here")
    (tmp_path / "a file").write_text("")
    findings = checkup(config.path, tmp_path / where, env=ANY_PORT)
    (finding,) = found(findings, "data folder")
    assert finding.grade is Grade.FAIL
    assert "give --data a folder" in finding.fix
    assert not found(findings, "disk")
    assert not found(findings, "database")


def test_looking_whether_a_data_folder_can_be_made_leaves_nothing(
    config: ConfigFolder, tmp_path: Path
) -> None:
    """F7.12: The doctor tries whether a data folder can be made, and leaves nothing behind."""
    before = sorted(tmp_path.rglob("*"))
    (finding,) = found(checkup(config.path, tmp_path / "a" / "b", env=ANY_PORT), "data folder")
    assert finding.grade is Grade.OK
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.wire
async def test_a_feed_port_that_is_taken_fails_with_who_has_it(
    config: ConfigFolder, tmp_path: Path
) -> None:
    """F7.12: A feed's port taken by another program, or another daemon, is named with its fix."""

    async def port_finding(port: int) -> Finding:
        env = {"RISK_MANAGER_FEED__PORT": str(port)}
        looked = await asyncio.to_thread(checkup, config.path, tmp_path / "data", env=env)
        (finding,) = found(looked, "feed port")
        return finding

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        finding = await port_finding(port)
    assert finding.grade is Grade.FAIL
    assert (
        finding.found == f"port {port} is taken: another program listens there, which is no daemon"
    )
    assert "feed.port" in finding.fix
    assert (await port_finding(port)).grade is Grade.OK
    other = tmp_path / "other"
    other.mkdir()
    async with FeedDaemon(other) as daemon:
        finding = await port_finding(daemon.server.port)
        assert finding.grade is Grade.FAIL
        assert "a daemon with another data folder listens there" in finding.found


@pytest.mark.parametrize("status", ["RUNNING", "DEGRADED"])
def test_a_daemon_that_crashed_is_warned_of_with_since_when(
    config: ConfigFolder, tmp_path: Path, status: str
) -> None:
    """F7.11: After a crash the doctor warns, and says since when nobody guards."""
    (tmp_path / "daemon.json").write_text(json.dumps({"pid": 1, "status": status}))
    (tmp_path / "heartbeat").touch()
    since = datetime.now(UTC) - timedelta(minutes=12)
    os.utime(tmp_path / "heartbeat", (since.timestamp(), since.timestamp()))
    (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "daemon")
    assert finding.grade is Grade.WARN
    assert finding.found.startswith("not running: it ended without being stopped; nobody guards")
    assert f"since {since.astimezone():%Y-%m-%d %H:%M:%S} (12m" in finding.found
    assert "risk-manager run" in finding.fix


def test_a_daemon_that_was_stopped_is_no_crash(config: ConfigFolder, tmp_path: Path) -> None:
    """F7.11: A daemon that was stopped, or never ran, is not called a crash."""
    for text in (None, json.dumps({"pid": 1, "status": "STOPPED"})):
        if text is not None:
            (tmp_path / "daemon.json").write_text(text)
        (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "daemon")
        assert finding.grade is Grade.OK
        assert "not running" in finding.found
    (tmp_path / "daemon.json").write_text("{")
    (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "daemon")
    assert finding.grade is Grade.WARN


def test_more_accounts_than_the_gateway_lets_us_read_at_once_are_a_warning(
    config: ConfigFolder, tmp_path: Path
) -> None:
    """F6.8: The doctor warns where the request budget makes a start slow, and says how slow."""
    assert found(checkup(config.path, tmp_path / "data", env={}), "budget") == []
    listed = ", ".join(f"{{id: {i}}}" for i in range(101, 301))
    config.write("accounts.yaml", f"accounts: [{listed}]")
    (finding,) = found(checkup(config.path, tmp_path / "data", env={}), "budget")
    assert finding.grade is Grade.WARN
    assert "200 accounts" in finding.found
    assert "positions within 1 min, orders within 3 min" in finding.found
    assert "today's trades within 5 min" in finding.found


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
    """F5.4: The doctor names an account that is gone from the login, and one nobody listed."""
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
    gone = next(f for f in found(findings, "accounts") if f.grade is Grade.FAIL)
    assert "not an account of this login: it is NOT guarded" in gone.found
    new = next(f for f in found(findings, "accounts") if f.grade is Grade.WARN)
    assert new.found.startswith("102 ")
    assert "NOT guarded" in new.found
    assert CANARY not in repr(findings)


@pytest.mark.wire
async def test_what_the_gateway_states_of_each_listed_account_is_told(
    config: ConfigFolder, tmp_path: Path
) -> None:
    exchange = Exchange(
        accounts=[
            ExchangeAccount(101, "LIVE", simulated=False),
            ExchangeAccount(102, "BARRED", can_trade=False),
            ExchangeAccount(103, "LIVE-TOO", simulated=False),
            ExchangeAccount(104, "GOOD"),
        ]
    )
    config.write("accounts.yaml", "accounts: [{id: 101}, {id: 102}, {id: 103}, {id: 104}]")
    config.risk(
        "rules: [{rule: max_contracts, limit: 5}]", "accounts: {103: {enforce_on_live: true}}"
    )
    async with PracticeGateway(exchange, username="someone", api_key=CANARY) as gateway:
        env = {
            "RISK_MANAGER_GATEWAY__KIND": "projectx",
            "RISK_MANAGER_GATEWAY__API_URL": gateway.api_url,
            "RISK_MANAGER_GATEWAY__USERNAME": "someone",
            "RISK_MANAGER_GATEWAY__API_KEY": "env:KEY",
            "KEY": CANARY,
        }
        findings = await asyncio.to_thread(checkup, config.path, tmp_path / "data", env=env)
    live, barred, allowed, good = found(findings, "accounts")
    assert live.grade is Grade.WARN
    assert "LIVE FUNDED: it is in shadow and NOT guarded" in live.found
    assert "accounts.101.enforce_on_live: true" in live.fix
    assert "the platform does not let it trade" in barred.found
    assert "enforce_on_live is set, so it is enforced" in allowed.found
    assert (good.grade, good.found) == (Grade.OK, "104 (GOOD) is listed; simulated, it may trade")


def test_an_account_of_which_the_gateway_states_too_little_is_warned_of(
    config: ConfigFolder,
) -> None:
    finding = listed_account(config.load(), 101, "A", AccountRecord(id=101, can_trade=True))
    assert finding.grade is Grade.WARN
    assert "guarded as configured" in finding.found
    assert "mode: shadow" in finding.fix


# --- the limits -----------------------------------------------------------------------------------


def test_rules_that_can_never_fire_are_named_and_the_others_counted(
    config: ConfigFolder, tmp_path: Path
) -> None:
    config.risk(
        "rules:\n"
        "  - {rule: max_contracts, limit: 5}\n"
        "  - {rule: daily_realized_loss, limit: 9000000}\n"
        "  - {rule: symbol_blocks, blocked: [RTTY]}\n"
        "  - {rule: daily_profit_target, target: 9, enabled: false}\n"
    )
    *dead, count = found(checkup(config.path, tmp_path, env=ANY_PORT), "rules")
    assert [f.found.partition(" ")[0] for f in dead] == ["daily_realized_loss", "symbol_blocks"]
    assert all(f.grade is Grade.WARN and f.fix for f in dead)
    assert count.found == "1 armed, 1 disabled, 2 that can never fire"


def test_a_limit_that_is_not_inside_the_platforms_own_is_warned_of(
    config: ConfigFolder, tmp_path: Path
) -> None:
    config.risk(
        "rules: [{rule: daily_realized_loss, limit: 1000}, {rule: max_contracts, limit: 5}]",
        "accounts: {101: {platform: {daily_loss: 1000, max_contracts: 4}}, "
        "102: {platform: {daily_loss: 1000.01, max_contracts: 5}}}",
    )
    findings = found(checkup(config.path, tmp_path, env=ANY_PORT), "backstop")
    assert [f.found.partition(", which")[0] for f in findings] == [
        "combine-50k: daily_realized_loss has the limit $1,000.00",
        "combine-50k: max_contracts has the limit 5",
    ]


def test_the_last_drill_is_told_and_whether_the_limits_have_changed(
    config: ConfigFolder, tmp_path: Path
) -> None:
    def drill() -> Finding:
        (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "fire drill")
        return finding

    assert drill().found == "none yet; run: risk-manager admin selftest"
    fired = DrilledRule(rule_id="max_contracts", accounts=(101,), fired=True, what="", took_ms=3.0)
    record = DrillRecord(
        at=datetime.now(UTC), digest=config.load().digest, version="1", rules=(fired,)
    )
    keep(tmp_path, record)
    assert (drill().grade, drill().fix) == (Grade.OK, "")
    assert drill().found.startswith("1 of 1 armed rules fired on ")
    keep(tmp_path, record.model_copy(update={"at": record.at - timedelta(days=40)}))
    assert drill().grade is Grade.WARN
    keep(tmp_path, record)
    config.risk("rules: [{rule: max_contracts, limit: 4}]")
    assert drill().grade is Grade.WARN
    assert "THE LIMITS HAVE CHANGED SINCE" in drill().found
    (tmp_path / "selftest.json").write_text("{")
    assert drill().found.startswith("none yet")


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_a_token_that_others_may_read_fails(config: ConfigFolder, tmp_path: Path) -> None:
    token = tmp_path / "admin.token"
    token.write_text("x")
    token.chmod(0o600)
    (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "tokens")
    assert finding.grade is Grade.OK
    token.chmod(0o644)
    (finding,) = found(checkup(config.path, tmp_path, env=ANY_PORT), "tokens")
    assert (finding.grade, finding.fix) == (Grade.FAIL, f"chmod 600 {token}")


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
