"""The accounts of the login are not always those of accounts.yaml."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway, until

from risk_manager.practice.exchange import Account, Exchange
from risk_manager.practice.products import contracts_on

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
            exchange.open_account(Account(GONE, f"ACC-{GONE}"))
            buy(exchange, "RTY", 1, account=GONE)
            await until(lambda: exchange.is_flat(GONE), "closed there, too")
            await daemon.until_status("RUNNING")


async def test_a_new_account_is_guarded_like_all_where_the_file_says_so(tmp_path: Path) -> None:
    """F5.4: With `unlisted: enforce` an account that comes into the login is guarded at once."""
    exchange = exchange_of(ACCOUNT)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, unlisted="enforce")
        async with daemon.running():
            exchange.open_account(Account(NEW, f"ACC-{NEW}"))
            buy(exchange, "RTY", 1, account=NEW)
            await until(lambda: exchange.is_flat(NEW), "closed there, too")
            await daemon.until_account(lambda a: a["contracts_held"] == 0, "shown", account_id=NEW)


async def test_an_account_that_vanishes_while_the_daemon_runs_is_told(tmp_path: Path) -> None:
    """F5.4: An account the firm closes while the daemon runs is told, and the others go on."""
    exchange = exchange_of(ACCOUNT, GONE)
    async with still_gateway(exchange=exchange) as gateway:
        daemon = DaemonProcess(tmp_path, accounts=BOTH).point_at(gateway)
        async with daemon.running():
            exchange.close_account(GONE)
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
            exchange.open_account(Account(NEW, f"ACC-{NEW}"))
            alarm = await daemon.until_alarm("account_not_guarded")
            assert alarm["account_id"] == NEW
            assert "555 (ACC-555) is not in accounts.yaml: it is NOT guarded" in alarm["message"]
