"""`admin panic` as a process of its own, with and without a daemon, on the practice gateway."""

import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, buy, now, still_gateway

from risk_manager.admin.watched_accounts import watched_accounts
from risk_manager.cli.exits import Exit
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderType, Side
from risk_manager.settings.commitment import Commitment

pytestmark = pytest.mark.wire

TWO = "accounts: [{id: 101, nickname: combine}, {id: 102}]"


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, gateway: PracticeGateway) -> DaemonProcess:
    return DaemonProcess(tmp_path, accounts=TWO).point_at(gateway)


def rest(gateway: PracticeGateway, root: str, size: int, *, account: int = 101) -> int:
    """A buy limit far below the market; its id."""
    contract = gateway.exchange.contract_of(root)
    order = gateway.exchange.order_entry.place(
        account,
        contract.id,
        Side.BUY,
        size,
        OrderType.LIMIT,
        now=now(),
        limit_price=gateway.exchange.book(contract.id).last - 400 * contract.tick_size,
    )
    assert isinstance(order, int)
    return order


async def test_without_a_daemon_everything_is_closed_and_verified(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    """No daemon has ever run, and the rules file is broken: neither refuses anything."""
    buy(gateway.exchange, "MNQ", 2)
    buy(gateway.exchange, "MES", -1, account=102)
    order = rest(gateway, "MES", 3)
    desk.write_rules("version: 1\nrules: [{rule: max_contracts, limit: [")
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.DONE, ended
    first, second, last = ended.out.splitlines()
    assert first.startswith("account 101 (combine): closed 2 MNQ")
    assert f"(order {order}); confirmed by the gateway at " in first
    assert second.startswith("account 102: closed 1 MES")
    assert last.startswith("no lock was set, and nobody guards")
    assert gateway.exchange.is_flat(101)
    assert gateway.exchange.is_flat(102)
    assert "no daemon has run in" in ended.err
    assert gateway.api_key not in ended.out + ended.err


async def test_one_account_is_chosen_and_what_is_not_watched_is_left_alone(
    tmp_path: Path, gateway: PracticeGateway
) -> None:
    desk = DaemonProcess(tmp_path, accounts="accounts: [{id: 101}]").point_at(gateway)
    buy(gateway.exchange, "MNQ", 2, account=102)
    ended = await desk.command("admin", "panic", "--yes", "--json")
    assert ended.code == Exit.DONE
    told = json.loads(ended.out)
    assert told["accounts"] == [101]
    assert [a["account_id"] for a in told["left_alone"]] == [102]
    assert not gateway.exchange.is_flat(102)
    ended = await desk.command("admin", "panic", "--yes", "--account", "102")
    assert ended.code == Exit.DONE
    assert gateway.exchange.is_flat(102)


async def test_what_cannot_be_closed_is_told_and_the_exit_code_says_so(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    buy(gateway.exchange, "MNQ", 2)
    gateway.exchange.set_market_open(False, now=now())
    ended = await desk.command("admin", "panic", "--yes", "--within", "3s")
    assert ended.code == Exit.REFUSED
    lines = ended.out.splitlines()
    assert lines[0] == "account 101 (combine): not done yet"
    assert lines[1].startswith("  NOT CLOSED: 2 MNQ")
    assert "tries, " in lines[1]
    assert lines[2] == (
        "  it is not tried any longer: close it by hand in the platform, or give panic again"
    )
    assert lines[3].startswith("account 102: nothing was open or working; confirmed")


async def test_a_refused_key_is_told_with_the_way_out(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    ended = await desk.command("admin", "panic", "--yes", PROJECT_X_API_KEY="planted-canary")
    assert ended.code == Exit.CREDENTIALS
    assert "NOTHING was closed; close by hand in the platform" in ended.err
    assert "planted-canary" not in ended.out + ended.err


async def test_refusals_and_lost_answers_are_survived(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    buy(gateway.exchange, "MNQ", 2)
    for path in ("/Auth/loginKey", "/Position/searchOpen", "/Position/closeContract"):
        gateway.faults.add(path, status=429, retry_after=60, times=1)
    gateway.faults.add("/Position/closeContract", lose_reply="close", times=1)
    gateway.faults.add("/Position/searchOpen", status=503, times=1)
    gateway.faults.add("/Order/searchOpen", garbage=True, times=1)
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.DONE, ended
    assert gateway.exchange.is_flat(101)
    contract = gateway.exchange.contract_of("MNQ")
    assert gateway.exchange.net(101, contract.id) == 0


async def test_a_token_that_is_refused_is_replaced(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    buy(gateway.exchange, "MNQ", 2)
    gateway.faults.add("/Position/closeContract", status=401, times=1)
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.DONE, ended
    assert gateway.exchange.is_flat(101)


async def test_without_any_list_of_accounts_all_of_the_login_are_closed(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    buy(gateway.exchange, "MNQ", 2, account=102)
    (desk.config / "accounts.yaml").write_text("accounts: [{id: 101", encoding="utf-8")
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.DONE, ended
    assert "no file tells which accounts are watched" in ended.err
    assert gateway.exchange.is_flat(102)


async def test_a_practice_gateway_inside_the_daemon_is_gone_with_it(
    desk: DaemonProcess,
) -> None:
    (desk.config / "settings.yaml").write_text("gateway: {kind: practice}\n", encoding="utf-8")
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.UNREACHABLE
    assert "the practice gateway runs inside the daemon" in ended.err


async def test_a_broken_gateway_section_is_told_by_its_key(desk: DaemonProcess) -> None:
    text = "gateway: {kind: projectx, api_url: 'http://api.example.com'}\n"
    (desk.config / "settings.yaml").write_text(text, encoding="utf-8")
    ended = await desk.command("admin", "panic", "--yes")
    assert ended.code == Exit.CONFIGURATION
    assert "settings.yaml:1: gateway.api_url: " in ended.err


async def test_with_the_daemon_it_also_locks(desk: DaemonProcess, gateway: PracticeGateway) -> None:
    """A position opened after the panic is closed by the lock."""
    async with desk.running():
        buy(gateway.exchange, "MNQ", 2)
        ended = await desk.command("admin", "panic", "--yes", "--account", "101")
        assert ended.code == Exit.DONE, ended
        assert "account 101: locked flat; " in ended.out
        assert gateway.exchange.is_flat(101)
        buy(gateway.exchange, "MES", 1)
        await desk.until_account(lambda a: not a["contracts_held"], "closed again")
        assert [a["locks"] for a in (await desk.snapshot())["accounts"]][1] == []


async def test_a_daemon_that_hangs_is_passed_by(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    async with desk.running():
        buy(gateway.exchange, "MNQ", 2)
        desk.send(signal.SIGSTOP)
        try:
            ended = await desk.command("admin", "panic", "--yes")
        finally:
            desk.send(signal.SIGCONT)
        assert ended.code == Exit.DONE, ended
        assert "no answer in time" in ended.err
        assert gateway.exchange.is_flat(101)


def test_an_account_that_is_guarded_until_the_reset_is_watched(tmp_path: Path) -> None:
    """Taken out of the file today, it is still in the limits in force."""
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    data.mkdir()
    (config / "accounts.yaml").write_text(
        "accounts: [{id: 102, nickname: two, enabled: true, typo: 1}, {id: 103, enabled: false}]",
        encoding="utf-8",
    )
    texts = {"accounts.yaml": TWO, "risk_config.yaml": "version: 1\nrules: []\n"}
    (data / "limits.json").write_text(Commitment(in_force=texts).text(), encoding="utf-8")
    watched = watched_accounts(config, data, datetime.now(UTC))
    assert watched.names == {101: "combine", 102: "two"}
    assert watched.is_known
    assert not watched.unlisted_too
