"""The accounts of the login are not always those of accounts.yaml."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway, until

from risk_manager.broker.request_budget import Limits
from risk_manager.daemon.daemon import Daemon
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire

GONE, NEW = 102, 555
BOTH = f"accounts: [{{id: {ACCOUNT}}}, {{id: {GONE}}}]"


def exchange_of(*account_ids: int) -> Exchange:
    return Exchange(
        accounts=[Account(i, f"ACC-{i}", Decimal(50_000)) for i in account_ids],
        contracts=contracts_on(datetime.now(UTC).date()),
    )


async def test_an_account_that_is_gone_from_the_login_leaves_the_others_guarded(
    tmp_path: Path,
) -> None:
    """F5.4: An account that is no longer in the login is a critical alarm, and the others are
    guarded."""
    async with still_gateway(exchange=exchange_of(ACCOUNT)) as gateway:
        daemon = DaemonProcess(tmp_path, accounts=BOTH).point_at(gateway)
        async with daemon.running():
            buy(gateway.exchange, "RTY", 1)
            await until(lambda: gateway.exchange.is_flat(ACCOUNT), "a blocked product closed")
            # On a busy machine the daemon may be DEGRADED for another reason before.
            await daemon.until_alarm("account_missing")
            snapshot = await daemon.until_status("DEGRADED")
            alarms = [a for a in snapshot["alarms"] if a["code"] == "account_missing"]
            assert [(a["account_id"], a["severity"]) for a in alarms] == [(GONE, "critical")]
            assert "102 is not in this login" in alarms[0]["message"]
            assert [d["account_id"] for d in snapshot["doubts"]] == [GONE]
            assert any("102 is not in this login" in line for line in daemon.said)


async def test_an_account_that_comes_back_into_the_login_is_guarded_and_the_alarm_ends(
    tmp_path: Path,
) -> None:
    """F5.4: An account that comes back into the login is guarded without a restart."""
    exchange = exchange_of(ACCOUNT)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path, accounts=BOTH).point_at(gateway)
        async with daemon.running():
            await daemon.until_status("DEGRADED")
            exchange.firm.open_account(Account(GONE, f"ACC-{GONE}"))
            buy(exchange, "RTY", 1, account=GONE)
            await until(lambda: exchange.is_flat(GONE), "closed there, too")
            await daemon.until_status("RUNNING")


async def test_a_new_account_is_guarded_like_all_where_the_file_says_so(tmp_path: Path) -> None:
    """F5.4: With `unlisted: enforce` an account that comes into the login is guarded at once."""
    exchange = exchange_of(ACCOUNT)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, unlisted="enforce")
        async with daemon.running():
            exchange.firm.open_account(Account(NEW, f"ACC-{NEW}"))
            buy(exchange, "RTY", 1, account=NEW)
            await until(lambda: exchange.is_flat(NEW), "closed there, too")
            await daemon.until_account(lambda a: a["contracts_held"] == 0, "shown", account_id=NEW)


async def test_many_accounts_are_guarded_as_they_are_read_and_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6.8: While many accounts are read, what is guarded and how long it takes is told."""
    many = range(ACCOUNT, ACCOUNT + 62)
    exchange = exchange_of(*many)
    listed = ", ".join(f"{{id: {i}}}" for i in many)
    async with still_gateway(exchange=exchange) as gateway:
        buy(exchange, "RTY", 1, account=many[-1])
        where = DaemonProcess(tmp_path, accounts=f"accounts: [{listed}]").point_at(gateway)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
        monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
        said: list[str] = []
        daemon = Daemon(
            load(where.config),
            where.data,
            console=False,
            announce=said.append,
            limits=Limits(window_seconds=3.0),
        )
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(stop))
        try:
            await until(lambda: exchange.is_flat(many[-1]), "closed before all are read")
            assert not daemon.running.is_set()
            waits = await where.until_status("STARTING")
            assert waits["status"] == "STARTING"
            told = "of 62 accounts are not guarded yet"
            await until(lambda: told in daemon.progress.message, "how many are not guarded yet")
            await until(daemon.running.is_set, "RUNNING")
            known = "today's trades of all accounts are known"
            await until(lambda: known in said, "read whole")
            assert any(line.startswith("62 accounts are read one after the other") for line in said)
            await until(lambda: daemon.progress.status == "RUNNING", "all is well")
        finally:
            stop.set()
            await running


async def test_an_account_that_vanishes_while_the_daemon_runs_is_told(tmp_path: Path) -> None:
    """F5.4: An account the firm closes while the daemon runs is told, and the others go on."""
    exchange = exchange_of(ACCOUNT, GONE)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path, accounts=BOTH).point_at(gateway)
        async with daemon.running():
            exchange.firm.close_account(GONE)
            alarm = await daemon.until_alarm("account_missing")
            assert (alarm["account_id"], alarm["severity"]) == (GONE, "critical")
            await daemon.until_status("DEGRADED")
            buy(exchange, "RTY", 1)
            await until(lambda: exchange.is_flat(ACCOUNT), "a blocked product closed")


async def test_a_new_account_of_the_login_is_announced_while_the_daemon_runs(
    tmp_path: Path,
) -> None:
    """F5.4: A new account of the login that nobody listed is announced: a reset gives a new
    number."""
    exchange = exchange_of(ACCOUNT)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, unlisted="alarm")
        async with daemon.running():
            exchange.firm.open_account(Account(NEW, f"ACC-{NEW}"))
            alarm = await daemon.until_alarm("account_not_guarded")
            assert alarm["account_id"] == NEW
            assert "555 (ACC-555) is not in accounts.yaml: it is NOT guarded" in alarm["message"]
