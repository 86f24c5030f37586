"""The whole daemon as a process against a gateway that speaks the real protocol."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from daemon_process import (
    ACCOUNT,
    DaemonProcess,
    buy,
    closes,
    day_net,
    lose,
    now,
    still_gateway,
    until,
)

pytestmark = pytest.mark.wire


async def test_a_breach_is_cut_back_and_a_loss_closes_and_locks(tmp_path: Path) -> None:
    async with (
        still_gateway() as gateway,
        DaemonProcess(tmp_path).point_at(gateway).running() as daemon,
    ):
        exchange = gateway.exchange
        mnq = exchange.contract_of("MNQ").id
        buy(exchange, "MNQ", 7)
        await until(lambda: exchange.net(ACCOUNT, mnq) == 5, "cut back to 5")

        buy(exchange, "RTY", 1)
        rty = exchange.contract_of("RTY").id
        await until(lambda: exchange.net(ACCOUNT, rty) == 0, "a blocked product closed")

        exchange.move_price(mnq, exchange.book(mnq).last - 60, now=now())
        exchange.order_entry.partial_close(ACCOUNT, mnq, 5, now=now())
        await daemon.until_account(lambda a: a["lock_policy"] == "flat", "locked")
        buy(exchange, "MES", 1)
        await until(lambda: exchange.is_flat(ACCOUNT), "an order after the lock dies")
        shown = await daemon.until_account(lambda a: a["contracts_held"] == 0, "shown flat")
        assert shown["realised_net"] == day_net(exchange)
        assert await daemon.stop() == 0
        assert "stopping" in daemon.said


async def test_killed_while_locked_it_comes_back_locked_and_judges_what_happened(
    tmp_path: Path,
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        exchange = gateway.exchange
        async with daemon.running():
            lose(exchange, "MNQ", 5, 240)
            await daemon.until_account(lambda a: a["lock_policy"] == "flat", "locked")
        assert day_net(exchange) <= -500
        buy(exchange, "MNQ", 3)  # while nobody looks
        lose(exchange, "MES", 2, 8)
        async with daemon.running():
            await until(lambda: exchange.is_flat(ACCOUNT), "flat after the restart")
            account = await daemon.until_account(
                lambda a: a["realised_net"] == day_net(exchange),
                "P&L equal to the gateway's",
            )
            assert account["lock_policy"] == "flat"
            assert [x["rule_id"] for x in account["locks"]] == ["daily_realized_loss"]


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "times": 2},
    "429": {"status": 429, "retry_after": 1, "times": 2},
    "hang": {"hang": True, "times": 1},
    "success false": {"refuse": (7, "try later"), "times": 2},
    "executed, reply lost": {"lose_reply": "close", "times": 1},
    "executed, reply never comes": {"lose_reply": "hang", "times": 1},
    "garbage": {"garbage": True, "times": 1},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_close_that_goes_wrong_ends_flat_once_and_never_reversed(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    async with still_gateway() as gateway, DaemonProcess(tmp_path).point_at(gateway).running():
        exchange = gateway.exchange
        lose(exchange, "MNQ", 5, 100)
        gateway.faults.add("/Position/closeContract", **fault)
        mes = exchange.contract_of("MES").id
        buy(exchange, "MES", 3)
        exchange.move_price(mes, exchange.book(mes).last - 20, now=now())
        lose(exchange, "MNQ", 5, 110)  # beyond the day's limit: MES must go
        await until(lambda: exchange.is_flat(ACCOUNT), "flat")
        asked = closes(gateway)
        closing = [t for t in exchange.trades(ACCOUNT) if t.contract_id == mes]
        assert [(t.side.sign * t.size) for t in closing] == [3, -3]
        buy(exchange, "MES", 1)  # one more proof that it is still awake
        await until(lambda: closes(gateway) > asked and exchange.is_flat(ACCOUNT), "awake")
        gateway.faults.clear()


async def test_no_edit_and_restart_loosens_a_limit_before_the_reset(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            pass
        rules = daemon.config / "risk_config.yaml"
        rules.write_text(rules.read_text().replace("limit: 5}", "limit: 50}"))
        for database in daemon.data.glob("state.db*"):
            database.unlink()  # nor does this help
        async with daemon.running():
            assert any("until the next reset" in line for line in daemon.said)
            buy(gateway.exchange, "MNQ", 7)
            mnq = gateway.exchange.contract_of("MNQ").id
            await until(lambda: gateway.exchange.net(ACCOUNT, mnq) == 5, "still cut back to 5")


async def test_two_garbled_frames_do_not_blind_it(tmp_path: Path) -> None:
    async with still_gateway() as gateway, DaemonProcess(tmp_path).point_at(gateway).running():
        exchange = gateway.exchange
        mnq = exchange.contract_of("MNQ").id
        hub = gateway.user_hub
        for opened in (2, 3):
            await hub.wait_until(lambda: any(c.subscriptions for c in hub.connections), 10)
            await gateway.injection.garble("user")
            await until(lambda times=opened: hub.negotiations >= times, "a new connection")  # type: ignore[misc]
        await hub.wait_until(lambda: any(c.subscriptions for c in hub.connections), 10)
        buy(exchange, "MNQ", 6)
        await until(lambda: exchange.net(ACCOUNT, mnq) == 5, "cut back after two garbled frames")


async def test_no_secret_is_written_anywhere_at_debug(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        tokens = [gateway.api_key]
        issue = gateway.tokens.issue

        def remember() -> str:
            token = issue()
            tokens.append(token)
            return token

        gateway.tokens.issue = remember  # type: ignore[method-assign]  # the tokens of this run
        async with daemon.running("--debug"):
            lose(gateway.exchange, "MNQ", 5, 240)
            await daemon.until_account(lambda a: a["lock_policy"] == "flat", "locked")
            await gateway.revoke_tokens(close_hubs=True)
            logins = len(tokens)
            await until(lambda: len(tokens) > logins, "a second login")
            assert await daemon.stop() == 0
        assert len(tokens) >= 3
        written = {"output": "\n".join(daemon.said).encode()}
        written |= {str(p): p.read_bytes() for p in daemon.data.rglob("*") if p.is_file()}
        for secret in tokens:
            for part in (secret, secret.rpartition(".")[2]):
                leaks = [name for name, text in written.items() if part.encode() in text]
                assert leaks == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_cleanly_when_told(tmp_path: Path, how: signal.Signals) -> None:
    if sys.platform == "win32" and how is signal.SIGTERM:
        return  # there a service stop arrives as a break
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            assert await daemon.stop(how) == 0
        assert '"STOPPED"' in (daemon.data / "daemon.json").read_text(encoding="utf-8")


async def test_a_second_daemon_on_the_same_folder_is_turned_away(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        first = DaemonProcess(tmp_path).point_at(gateway)
        async with first.running():
            second = DaemonProcess(tmp_path).point_at(gateway)
            await second.start()
            assert await second.ended() == 7
            assert len(second.said) == 1
            assert "another daemon" in second.said[0]


async def test_a_wrong_key_is_said_in_one_line(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, PROJECT_X_API_KEY="wrong")
        await daemon.start()
        assert await daemon.ended() == 4
        assert len([line for line in daemon.said if "refused" in line or "key" in line]) == 1


async def test_an_account_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path, accounts="accounts: [{id: 999}]").point_at(gateway)
        await daemon.start()
        assert await daemon.ended() == 5
        assert "999" in daemon.said[-1]
        assert "101" in daemon.said[-1]


async def test_a_gateway_that_takes_four_seconds_for_each_answer_is_read_and_guarded(
    tmp_path: Path,
) -> None:
    async with still_gateway() as gateway:
        buy(gateway.exchange, "RTY", 1)  # before the start: only a list tells of it
        for path in ("Account/search", "Position/searchOpen", "Order/searchOpen", "Trade/search"):
            gateway.faults.add(f"/{path}", delay=4.0)
        async with DaemonProcess(tmp_path).point_at(gateway).running() as daemon:
            await until(lambda: gateway.exchange.is_flat(ACCOUNT), "closed")
            await daemon.until_status("RUNNING")


async def test_it_waits_for_a_gateway_that_is_not_there_yet(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        gateway.faults.add("/Auth/loginKey", status=503, times=2)
        async with daemon.running():
            assert any("trying again" in line for line in daemon.said)
