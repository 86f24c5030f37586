"""What the feed says: the whole picture first, then each change, to each client in order."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import structlog
from feed_daemon import ES, MNQ, MONDAY, RUN, FeedDaemon, KeepingStore, rules, until
from feed_listener import listening
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from risk_manager.domain.decisions import Action, Decision, Outcome, Severity, Verdict
from risk_manager.domain.events import (
    AdminAsked,
    AnyEvent,
    Hub,
    HubState,
    QuoteChanged,
    Tick,
    Unreadable,
)
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine.step import Step
from risk_manager.feed import frames
from risk_manager.feed.messages import DEGRADED
from risk_manager.feed.server import FeedServer, FeedUnavailable
from risk_manager.feed.snapshot import money
from risk_manager.feed.step_queue import BACKLOG
from risk_manager.rules.daily_unrealized_loss import DailyUnrealizedLoss
from risk_manager.rules.max_contracts import MaxContracts

pytestmark = pytest.mark.wire


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path) as running:
        yield running


async def test_the_first_frame_says_who_speaks_and_the_second_says_everything(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(3)
    await daemon.order()
    await daemon.quote(21010.25)
    await daemon.trade("-120.50")
    await daemon.happen(
        AdminAsked(
            at=daemon.clock.now(),
            account_id=101,
            verb="lock",
            reason="lunch",
            policy="no_entries",
            until=daemon.clock.now() + timedelta(minutes=30),
        )
    )
    async with listening(daemon, tmp_path) as client:
        status, snapshot = client.frames[:2]
    assert status["type"] == "daemon_status"
    assert status["account_id"] is None
    said = status["data"]
    assert (said["status"], said["run_id"], said["protocol"]) == ("RUNNING", RUN, 1)
    assert said["accounts"] == [101]
    assert said["heartbeat_s"] == 2.0
    assert snapshot["type"] == "snapshot"
    assert snapshot["account_id"] is None
    assert snapshot["ts"].endswith("Z")
    data = snapshot["data"]
    assert data["next_reset"] == "2026-11-16T22:00:00Z"  # 17:00 in New York
    assert {name: hub["state"] for name, hub in data["hubs"].items()} == {
        "user": "up",
        "market": "up",
    }
    assert data["rest"]["latency_ms"] == 42.0
    assert data["db"]["ok"] is True
    [quote] = data["quotes"]
    assert (quote["symbol"], quote["bid"], quote["fresh"]) == ("MNQZ6", 21010.25, True)
    assert quote["age_ms"] < 10_000
    [account] = data["accounts"]
    assert account["name"] == "combine-50k"
    assert account["mode"] == "enforce"
    assert (account["balance"], account["can_trade"]) == (50000.0, True)
    assert account["trading_date"] == "2026-11-16"
    assert (account["realised_net"], account["realised_gross"], account["fees"]) == (
        -121.5,
        -120.5,
        1.0,
    )
    assert account["unrealised"] == 60.0  # 40 ticks of $0.50 on three
    assert account["total"] == -61.5
    assert (account["executions"], account["round_turns"], account["contracts_held"]) == (1, 1, 3)
    assert account["lock_policy"] == "no_entries"
    [position] = account["positions"]
    assert (position["symbol"], position["net"], position["average_price"]) == (
        "MNQZ6",
        3,
        21000.25,
    )
    [order] = account["orders"]
    assert (order["type"], order["side"], order["stop_price"]) == ("stop", "sell", 20990.0)
    [lock] = account["locks"]
    assert (lock["rule_id"], lock["policy"], lock["reason"]) == ("manual", "no_entries", "lunch")
    assert lock["expires_at"].startswith("2026-11-16T15:30:0")
    assert [m["rule_id"] for m in account["meters"]] == ["daily_realized_loss", "max_contracts"]
    assert account["meters"][1]["used"] == 0.6
    [trade] = account["trades"]
    assert trade["net"] == -121.5


async def test_what_is_not_known_is_null_and_never_zero(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.position(1)
    async with listening(daemon, tmp_path) as client:
        account = client.account()
    assert account["unrealised"] is None
    assert account["total"] is None
    assert account["positions"][0]["unrealised"] is None


async def test_numbers_rise_by_one_for_each_client_whenever_it_came(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as early:
        for net in range(1, 5):
            await daemon.position(net)
        async with listening(daemon, tmp_path) as late:
            for net in range(4, 0, -1):
                await daemon.position(net)
                await daemon.quote(21000.0 + net)
            await until(lambda: len(late.of("GatewayUserPosition")) == 4)
            await until(lambda: len(early.of("GatewayUserPosition")) == 8)
            for client in (early, late):
                assert [f["seq"] for f in client.frames] == list(range(1, len(client.frames) + 1))


async def test_a_breach_is_told_from_decision_to_verified_end(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        await daemon.position(2)
        await daemon.trade("-600")
        [action] = daemon.enforcer.actions
        await until(lambda: client.of("lockout_set"))
        [locked] = client.of("lockout_set")
        assert locked["account_id"] == 101
        assert locked["data"]["rule_id"] == "daily_realized_loss"
        assert locked["data"]["policy"] == "flat"
        assert locked["data"]["locked_until"] == "2026-11-16T22:00:00Z"
        await until(lambda: len(client.of("enforcement_action")) == 2)
        decided, started = (f["data"] for f in client.of("enforcement_action"))
        assert (decided["phase"], decided["action"]) == ("decided", "CLOSE_ALL_AND_LOCKOUT")
        assert decided["rule_ids"] == ["daily_realized_loss"]
        assert decided["success"] is None
        assert (started["phase"], started["action"]) == ("started", "CLOSE_POSITION")
        assert (started["action_id"], started["attempt"]) == (action.id, 1)
        assert started["success"] is None

        await daemon.settle(action, Outcome.REFUSED)
        await until(lambda: len(client.of("enforcement_action")) == 3)
        failed = client.of("enforcement_action")[2]["data"]
        assert (failed["phase"], failed["success"]) == ("failed", False)
        assert failed["details"]["message"] == "the gateway said no"

        daemon.clock.skip(seconds=5)
        await daemon.tick()
        again = daemon.enforcer.actions[1]
        await daemon.position(0)
        await daemon.settle(again)
        await until(lambda: len(client.of("enforcement_action")) == 5)
        confirmed = client.of("enforcement_action")[4]["data"]
        assert (confirmed["phase"], confirmed["success"], confirmed["attempt"]) == (
            "confirmed",
            True,
            2,
        )
        assert confirmed["duration_ms"] >= 0
        trade = client.of("GatewayUserTrade")[0]["data"]
        assert (trade["profitAndLoss"], trade["realized_today"]) == (-600.0, -601.0)
        await until(lambda: len(client.account()["enforcements"]) == 3)
        # Newest first, and each call stands once, as it ended.
        assert [e["phase"] for e in client.account()["enforcements"]] == [
            "confirmed",
            "failed",
            "decided",
        ]


async def test_a_close_that_could_not_be_read_back_is_uncertain(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        await daemon.position(9)
        await daemon.settle(daemon.enforcer.actions[0], Outcome.DONE, verified=False)
        await until(lambda: len(client.of("enforcement_action")) == 3)
        ended = client.of("enforcement_action")[2]["data"]
        assert (ended["phase"], ended["success"]) == ("uncertain", None)


async def test_what_happened_while_nobody_listened_is_in_the_snapshot(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(9)
    await daemon.happen(Unreadable(at=daemon.clock.now(), source="user hub", detail="not a dict"))
    async with listening(daemon, tmp_path) as client:
        assert [e["phase"] for e in client.account()["enforcements"]] == ["started", "decided"]
        [alarm] = client.frames[1]["data"]["alarms"]
        assert alarm["code"] == "unreadable"


async def test_a_shadow_account_tells_its_decisions_and_sends_nothing(tmp_path: Path) -> None:
    async with (
        FeedDaemon(tmp_path, mode=Mode.SHADOW) as daemon,
        listening(daemon, tmp_path) as client,
    ):
        await daemon.position(9)
        await until(lambda: client.of("enforcement_action"))
        [decided] = client.of("enforcement_action")
        assert decided["data"]["shadow"] is True
        assert client.account()["mode"] == "shadow"
        assert daemon.enforcer.actions == []


async def test_quotes_are_conflated_to_the_latest_and_at_most_four_a_second(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        began = time.monotonic()
        for n in range(400):
            await daemon.quote(21000.0 + n)
            await daemon.quote(6000.0 + n, contract_id=ES)
            if n % 4 == 0:
                await asyncio.sleep(0.01)
        await until(
            lambda: (
                {f["data"]["contractId"]: f["data"]["bid"] for f in client.of("MarketQuote")}
                == {MNQ: 21399.0, ES: 6399.0}
            )
        )
        took = time.monotonic() - began
        for contract_id in (MNQ, ES):
            told = [f for f in client.of("MarketQuote") if f["data"]["contractId"] == contract_id]
            assert len(told) <= took * 4 + 2


async def test_figures_stay_live_as_account_snapshots_at_most_twice_a_second(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        await daemon.position(1)
        await until(lambda: client.account()["positions"])
        before = len(client.refreshed())
        began = time.monotonic()
        for n in range(100):
            await daemon.quote(21000.25 + n)
            await asyncio.sleep(0.01)
        await until(lambda: client.account()["unrealised"] == 198.0)
        took = time.monotonic() - began
        assert 1 <= len(client.refreshed()) - before <= took * 2 + 2
        assert all(f["account_id"] == 101 for f in client.refreshed())


@pytest.mark.parametrize("breach", ["a position", "a quote"])
async def test_nothing_is_told_between_the_decision_and_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breach: str
) -> None:
    monkeypatch.setattr("risk_manager.right_of_way.LONGEST_RIGHT_S", 60.0)
    steps: list[str] = []

    async def commit(_: object, event: AnyEvent, before: State, outcome: Step) -> None:
        if outcome.actions:
            steps.append("committed")
            for _turn in range(20):  # every other task of the daemon has its turns
                await asyncio.sleep(0)

    limits = (MaxContracts(limit=5), DailyUnrealizedLoss(limit=Decimal(500)))
    async with (
        FeedDaemon(tmp_path, rules=lambda: limits) as daemon,
        listening(daemon, tmp_path),
    ):
        told, submit = frames.told, daemon.enforcer.submit

        def telling(event: AnyEvent, outcome: Step) -> Iterator[frames.Told]:
            for frame in told(event, outcome):
                steps.append("told")
                yield frame

        def asking(action: Action) -> None:
            steps.append("asked")
            submit(action)

        monkeypatch.setattr(frames, "told", telling)
        monkeypatch.setattr(daemon.enforcer, "submit", asking)
        monkeypatch.setattr(KeepingStore, "commit", commit)
        for net in (1, 2, 3):  # these are still to be told when the breach comes
            await daemon.position(net)
        if breach == "a position":
            await daemon.position(8)
        else:
            await daemon.quote(20000.0)
        await until(lambda: "told" in steps)
        assert steps[:3] == ["committed", "asked", "told"]


async def test_time_alone_refreshes_what_has_grown_old(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.position(1)
    await daemon.quote(21001.0)
    async with listening(daemon, tmp_path) as client:
        assert client.account()["unrealised"] == 1.5
        daemon.clock.skip(seconds=30)
        await daemon.tick()
        await until(lambda: client.account()["unrealised"] is None)


async def test_a_stalled_client_is_let_go_and_the_others_miss_nothing(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    token = (tmp_path / "feed.token").read_text()
    stalled = []
    for _ in range(8):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", daemon.server.port))
        sock.sendall(
            (
                f"GET /feed HTTP/1.1\r\nHost: 127.0.0.1:{daemon.server.port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                f"Authorization: Bearer {token}\r\n\r\n"
            ).encode()
        )
        stalled.append(sock)
    await until(lambda: daemon.server.readers == 8)
    async with listening(daemon, tmp_path) as client:
        sent = 0

        def heard(orders: int) -> bool:
            return len(client.of("GatewayUserOrder")) == orders

        while daemon.server.readers > 1:
            assert sent < 60_000, "a client that reads nothing is still kept"
            for _ in range(50):
                sent += 1
                await daemon.order(
                    order_id=sent, status=OrderStatus.CANCELLED, custom_tag="x" * 900
                )
            await until(partial(heard, sent))
        assert daemon.server.readers == 1
        assert [f["seq"] for f in client.frames] == list(range(1, len(client.frames) + 1))
    for sock in stalled:
        sock.close()


async def test_with_nobody_listening_nothing_waits_to_be_told(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(1)
    before = daemon.pipeline.state
    quote = QuoteChanged(at=daemon.clock.now(), contract_id=MNQ, best_bid=21000.0)
    quoted = await daemon.happen(quote)
    ticked = daemon.pipeline.state
    tick = Tick(at=daemon.clock.now())
    after = await daemon.happen(tick)
    with structlog.testing.capture_logs() as logged:
        for _ in range(BACKLOG + 1):  # too many, if somebody listened
            daemon.server.publish(quote, before, quoted)
            daemon.server.publish(tick, ticked, after)
        assert logged == []
    async with listening(daemon, tmp_path) as client:
        await daemon.hub(Hub.MARKET, HubState.DOWN)
        await until(lambda: client.of("daemon_status")[1:])
        assert client.of("MarketQuote") == []
        with structlog.testing.capture_logs() as logged:
            for _ in range(BACKLOG + 1):
                daemon.server.publish(tick, ticked, after)
        assert [line["event"] for line in logged] == ["feed_backlog_dropped", "feed_reader_let_go"]


async def test_status_changes_hubs_and_alarms_are_told_at_once(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        daemon.server.set_status(DEGRADED, "the disk is full")
        await until(lambda: len(client.of("daemon_status")) == 2)
        said = client.of("daemon_status")[1]["data"]
        assert (said["status"], said["message"]) == ("DEGRADED", "the disk is full")
        await daemon.position(1)
        await daemon.hub(Hub.USER, HubState.DOWN, "connection reset")
        await until(lambda: len(client.of("daemon_status")) == 4)
        alarm = client.of("daemon_status")[2]["data"]["alarm"]
        assert alarm["code"] == "user_hub_down"
        assert alarm["severity"] == "critical"
        assert client.of("daemon_status")[3]["data"]["hubs"]["user"]["state"] == "down"


async def test_a_cleared_lock_and_the_daily_reset_are_told(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.trade("-600")
    async with listening(daemon, tmp_path) as client:
        daemon.clock.skip(hours=8)
        await daemon.tick()
        await until(lambda: client.of("daily_reset"))
        [reset] = client.of("daily_reset")
        assert reset["data"]["previous_pnl"] == -601.0
        assert reset["data"]["lockouts_cleared"] is True
        assert reset["data"]["trading_date"] == "2026-11-17"
        await until(lambda: client.of("lockout_cleared"))
        [cleared] = client.of("lockout_cleared")
        assert cleared["data"]["cleared_by"] == "DAILY_RESET"
        await until(lambda: client.account()["locks"] == [])


async def test_the_heart_beats_and_says_how_old_the_judgement_is(tmp_path: Path) -> None:
    async with (
        FeedDaemon(tmp_path, heartbeat_s=0.05) as daemon,
        listening(daemon, tmp_path) as client,
    ):
        await until(lambda: len(client.of("heartbeat")) >= 2)
        daemon.clock.skip(seconds=60)
        await until(lambda: client.of("heartbeat")[-1]["data"]["state_age_s"] >= 60)


class Broken(Rule):
    """A rule whose meter fails."""

    spec_id = "RULE-099"
    title = "Broken"

    rule: str = "broken"

    def judge(self, view: View) -> Verdict | None:
        return None

    def meter(self, view: View) -> Meter | None:
        raise ZeroDivisionError("no")


async def test_a_meter_that_fails_is_shown_as_unknown_and_the_rest_stays(tmp_path: Path) -> None:
    async with (
        FeedDaemon(tmp_path, rules=lambda: (*rules(), Broken())) as daemon,
        listening(daemon, tmp_path) as client,
    ):
        meters = {m["rule_id"]: m for m in client.account()["meters"]}
    assert meters["broken"]["state"] == "unknown"
    assert meters["broken"]["used"] is None
    assert meters["max_contracts"]["state"] == "ok"


async def test_a_step_that_cannot_be_told_is_an_alarm_and_not_the_end(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with listening(daemon, tmp_path) as client:
        outcome = await daemon.happen(Tick(at=daemon.clock.now()))
        lost = Decision(
            at=MONDAY,
            account_id=101,
            rule_id="max_contracts",
            spec_id="RULE-001",
            reason=cast(str, object()),  # nothing JSON knows
            subject="",
            severity=Severity.BREACH,
        )
        unspeakable = outcome._replace(decisions=(lost,))
        daemon.server.publish(Tick(at=MONDAY), outcome.state, unspeakable)
        await until(
            lambda: any(
                (f["data"]["alarm"] or {}).get("code") == "feed_failed"
                for f in client.of("daemon_status")
            )
        )
        await daemon.position(1)
        await until(lambda: client.of("GatewayUserPosition"))


async def test_stopping_says_farewell_and_does_not_wait_for_the_deaf(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        token = (tmp_path / "feed.token").read_text()
        deaf = await connect(
            daemon.server.url,
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=None,
            compression=None,
        )
        deaf.transport.pause_reading()
        async with listening(daemon, tmp_path) as client:
            daemon.server.set_status("STOPPING")
            await until(lambda: client.of("daemon_status")[-1]["data"]["status"] == "STOPPING")
            began = time.monotonic()
            await daemon.server.__aexit__(None, None, None)
            assert time.monotonic() - began < 5
            with pytest.raises(ConnectionClosed):
                await client.ws.send("still there?")
            assert client.ws.close_code == 1001
        deaf.transport.abort()


async def test_a_taken_port_is_explained(daemon: FeedDaemon, tmp_path: Path) -> None:
    second = FeedServer(
        feed_source=lambda: daemon.pipeline.state,
        clock=daemon.clock,
        data_dir=tmp_path,
        run_id="run-2",
        version="0.1.0",
        port=daemon.server.port,
    )
    before = (tmp_path / "feed.token").read_text()
    with pytest.raises(FeedUnavailable, match=r"feed\.port in settings\.yaml"):
        await second.__aenter__()
    assert (tmp_path / "feed.token").read_text() == before


async def test_a_folder_that_cannot_hold_the_token_is_explained(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    homeless = FeedServer(
        feed_source=lambda: daemon.pipeline.state,
        clock=daemon.clock,
        data_dir=tmp_path / "missing",
        run_id="run-2",
        version="0.1.0",
        port=0,
    )
    with pytest.raises(FeedUnavailable, match="cannot write its token"):
        await homeless.__aenter__()


def test_money_on_the_wire_is_whole_cents() -> None:
    assert money(Decimal("1.005")) == 1.0
    assert money(Decimal("-0.1") + Decimal("-0.2")) == -0.3
    assert money(None) is None
