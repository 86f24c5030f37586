"""What a screen may ask for: pages of today and of earlier days, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from feed_daemon import ES, MNQ, FeedDaemon, until
from websockets.asyncio.client import ClientConnection, connect

from risk_manager.domain.events import TradeExecuted
from risk_manager.domain.records import OrderSide

pytestmark = pytest.mark.wire


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path) as running:
        yield running


@pytest.fixture
async def asking(daemon: FeedDaemon, tmp_path: Path) -> AsyncIterator["Asking"]:
    token = (tmp_path / "feed.token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(daemon.server.url, additional_headers=headers, proxy=None) as ws:
        yield Asking(ws)


class Asking:
    """One client of the feed that asks."""

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws
        self._id = 0
        self._seq = 0

    async def send(self, frame: str | bytes) -> None:
        await self._ws.send(frame)

    async def ask(self, kind: str, **more: Any) -> dict[str, Any]:
        """Ask, and return the data of the answer."""
        self._id += 1
        params = {"kind": kind, "account_id": 101, **more}
        request = {"id": self._id, "method": "history", "params": params}
        await self.send(orjson.dumps(request).decode())
        async with asyncio.timeout(5):
            while True:
                frame = orjson.loads(await self._ws.recv())
                self._seq += 1
                assert frame["seq"] == self._seq  # an answer is a frame like any other
                if frame["type"] == "history":
                    assert frame["account_id"] == more.get("account_id", 101)
                    data: dict[str, Any] = frame["data"]
                    assert (data["id"], data["kind"]) == (self._id, kind)
                    return data


async def fill(daemon: FeedDaemon, side: OrderSide, pnl: str | None, contract: str = MNQ) -> None:
    number = 5000 + len(daemon.pipeline.state.accounts[101].ledger.entries)
    await daemon.happen(
        TradeExecuted.model_validate(
            {
                "at": daemon.clock.now(),
                "id": number,
                "accountId": 101,
                "contractId": contract,
                "creationTimestamp": daemon.clock.now(),
                "price": "21000.25",
                "profitAndLoss": pnl,
                "fees": "0.37",
                "side": side,
                "size": 1,
                "orderId": number,
            }
        )
    )


async def round_turn(daemon: FeedDaemon, pnl: str, contract: str = MNQ) -> None:
    await fill(daemon, OrderSide.BUY, None, contract)
    await fill(daemon, OrderSide.SELL, pnl, contract)


async def test_the_day_has_its_realised_curve_its_limits_and_the_sums_of_its_trades(
    daemon: FeedDaemon, asking: Asking
) -> None:
    await round_turn(daemon, "100")
    await round_turn(daemon, "-40.10")
    await round_turn(daemon, "0.74", ES)
    await fill(daemon, OrderSide.SELL, None, ES)
    day = (await asking.ask("day"))["day"]
    steps = [point["net"] for point in day["realised"]]
    assert steps == [-0.37, 99.26, 98.89, 58.42, 58.05, 58.42, 58.05]
    assert [(x["rule_id"], x["net"], x["counts_open"]) for x in day["limits"]] == [
        ("daily_realized_loss", -500.0, False)
    ]
    everything, es, mnq = day["sums"]
    assert (everything["symbol"], es["symbol"], mnq["symbol"]) == ("", "ESZ6", "MNQZ6")
    assert (everything["trades"], everything["won"], everything["lost"]) == (3, 1, 1)
    assert (everything["best"], everything["worst"]) == (99.26, -40.84)
    assert everything["net"] == 58.42
    assert everything["average"] == 19.47
    assert (mnq["average_won"], mnq["average_lost"]) == (99.26, -40.84)
    assert (es["best"], es["average_won"], es["average_lost"]) == (0.0, None, None)
    assert (day["total"], day["watched_since"], day["high"]) == ([], None, None)


async def test_the_result_with_open_positions_is_watched_once_fill_and_position_agree(
    daemon: FeedDaemon, asking: Asking
) -> None:
    daemon.curves.watch()
    await daemon.position(2)
    await fill(daemon, OrderSide.BUY, None)
    await daemon.quote(21010.25)
    daemon.curves.watch()  # too soon after the fill
    daemon.clock.skip(seconds=3)
    await daemon.quote(21010.25)
    await daemon.tick()
    daemon.curves.watch()
    daemon.clock.skip(seconds=60)
    await daemon.quote(20990.25)
    await daemon.tick()
    daemon.curves.watch()
    daemon.clock.skip(seconds=60)
    await daemon.tick()
    daemon.curves.watch()  # the quote is too old now: unknown is no point of a curve
    day = (await asking.ask("day"))["day"]
    assert [(s["low"], s["high"], s["last"]) for s in day["total"]] == [
        (0.0, 39.63, 39.63),
        (-40.37, -40.37, -40.37),
    ]
    assert (day["high"]["net"], day["low"]["net"], day["drawdown"]["net"]) == (39.63, -40.37, 80.0)
    assert day["watched_since"] == day["total"][0]["at"]


async def test_trades_come_in_pages_with_the_days_result_after_each(
    daemon: FeedDaemon, asking: Asking
) -> None:
    for pnl in ("10", "20", "-5"):
        await round_turn(daemon, pnl)
    first = await asking.ask("trades", limit=2)
    assert [(t["net"], t["realised_after"], t["side"]) for t in first["trades"]] == [
        (-5.74, 22.78, "long"),
        (19.26, 28.52, "long"),
    ]
    last = await asking.ask("trades", limit=2, before=first["next"])
    assert [t["realised_after"] for t in last["trades"]] == [9.26]
    assert last["next"] is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"kind": "dance"}, "no history of the kind 'dance'"),
        ({"kind": "day", "account_id": 999}, "account 999 is not watched"),
        ({"kind": "trades", "before": "yesterday"}, "cannot be read"),
        ({"kind": "trades", "before": "-5"}, "cannot be read"),
        ({"kind": "days"}, "cannot read"),  # this daemon has no database
    ],
)
async def test_what_cannot_be_answered_is_answered_with_the_reason(
    daemon: FeedDaemon, asking: Asking, asked: dict[str, Any], why: str
) -> None:
    answer = await asking.ask(**asked)
    assert why in answer["error"]
    assert (answer["day"], answer["trades"], answer["days"]) == (None, [], [])


@pytest.mark.parametrize(
    "frame",
    [
        "x",
        "[]",
        '{"id":1,"method":"clock","params":{"kind":"day","account_id":101}}',
        '{"id":-1,"method":"history","params":{"kind":"day","account_id":101}}',
        '{"id":1,"method":"history","params":{"kind":"day","account_id":101,"limit":100000}}',
        '{"id":1,"method":"history","params":{"kind":"day"}}',
        '{"id":1,"method":"history","params":[]}',
        '{"method":"history","params":{"kind":"day","account_id":101}}',
        b"\xff\xfe",
    ],
)
async def test_whatever_is_no_request_is_ignored(
    daemon: FeedDaemon, asking: Asking, frame: str | bytes
) -> None:
    await asking.send(frame)
    assert (await asking.ask("day"))["error"] == ""


async def test_more_than_600_requests_a_minute_end_the_connection(
    daemon: FeedDaemon, asking: Asking
) -> None:
    for _ in range(601):
        await asking.send("x")
    await until(lambda: not daemon.server.readers)
