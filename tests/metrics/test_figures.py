"""The figures for Prometheus: right, in base units, and without the number of an account."""

import asyncio
import json
import re
import time
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from desk import MORNING, Desk, rules_from
from prometheus_client.parser import text_string_to_metric_families

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AnyEvent, QuoteChanged
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.metrics.figures import Figures
from risk_manager.metrics.server import MetricsServer, MetricsUnavailable
from risk_manager.metrics.sources import AlertFigures, Sources
from risk_manager.pipeline import Pipeline
from risk_manager.right_of_way import RightOfWay

DOCS = Path(__file__).parent.parent.parent / "docs"
ACCOUNT = 7654321


class MeasuredDesk(Desk):
    """A desk whose steps are counted."""

    def __init__(self) -> None:
        rules = rules_from(symbol_blocks={"blocked": ["MNQ"]}, daily_realized_loss={"limit": 500})
        super().__init__(rules, accounts=(ACCOUNT,))
        self.pipeline = Pipeline(
            self.pipeline.state, store=self.store, enforcer=self.enforcer, feed=self
        )
        self.token_expires_at: datetime | None = MORNING
        self.figures = Figures(
            Sources(
                state=lambda: self.pipeline.state,
                status=lambda: "RUNNING",
                inbox=lambda: 3,
                reads_left=lambda: 110,
                looks_left=lambda: 50,
                hub_ages_s=lambda: {"user": 0.25, "market": None},
                database_ok=lambda: True,
                token_expires_at=lambda: self.token_expires_at,
            ),
            lambda: AlertFigures(open=2, sent=5),
            version="0.1.0",
        )

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        self.figures.count(event, outcome)

    def value(self, name: str, **labels: str) -> float | None:
        return self.figures.registry.get_sample_value(f"risk_manager_{name}", labels)


async def a_breach() -> MeasuredDesk:
    """A fill in a forbidden product, closed after 40 ms."""
    desk = MeasuredDesk()
    await desk.hub("user", "up")
    await desk.position("MNQ", 2, account=ACCOUNT)
    (action,) = desk.enforcer.actions
    desk.now = desk.now.fromtimestamp(desk.now.timestamp() + 0.04, desk.now.tzinfo)
    await desk.settle(action, Outcome.DONE, verified=True)
    return desk


async def test_events_decisions_calls_and_their_latency_are_counted() -> None:
    desk = await a_breach()
    assert desk.value("events_total", kind="position_changed") == 1
    assert desk.value("events_total", kind="hub_changed") == 1
    assert desk.value("decisions_total", rule="symbol_blocks", shadow="false") == 1
    assert desk.value("locks_set_total", rule="symbol_blocks") == 1
    call = {"kind": "close_position"}
    assert desk.value("enforcement_calls_total", **call, result="confirmed") == 1
    assert desk.value("enforcement_latency_seconds_count", **call) == 1
    assert desk.value("enforcement_latency_seconds_sum", **call) == pytest.approx(0.04)
    assert desk.value("enforcement_latency_seconds_bucket", **call, le="0.025") == 0
    assert desk.value("enforcement_latency_seconds_bucket", **call, le="0.05") == 1


async def test_what_stands_is_read_when_somebody_asks() -> None:
    desk = await a_breach()
    desk.figures.lagged(0.003)
    assert desk.value("hub_state", hub="user", state="up") == 1
    assert desk.value("hub_state", hub="user", state="down") == 0
    assert desk.value("hub_message_age_seconds", hub="user") == 0.25
    assert desk.value("hub_message_age_seconds", hub="market") is None
    assert desk.value("request_budget_left_requests", lane="reads") == 110
    assert desk.value("accounts", which="watched") == 1
    assert desk.value("health_issues", kind="hub_down") == 0
    await desk.hub("user", "down")
    await desk.wait(seconds=1)
    assert desk.value("health_issues", kind="hub_down") == 1
    assert desk.value("status", status="RUNNING") == 1
    assert desk.value("loop_lag_seconds_bucket", le="0.005") == 1
    assert desk.value("loop_lag_seconds_bucket", le="0.002") == 0
    assert desk.value("token_expiry_time_seconds") == MORNING.timestamp()
    assert desk.value("alerts_sent_total") == 5


async def test_names_follow_the_conventions_and_no_account_is_named() -> None:
    desk = await a_breach()
    text = desk.figures.text().decode()
    assert str(ACCOUNT) not in text
    families = list(text_string_to_metric_families(text))
    ours = [f for f in families if f.name.startswith("risk_manager_")]
    assert len(ours) >= 18
    for family in ours:
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|millis|minutes|percent|mb)$", family.name)
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total")
            assert not sample.labels.keys() & {"account", "account_id", "contract"}
    assert not any(family.name.endswith("_created") for family in families)


async def test_counting_is_cheap() -> None:
    """The path of a quote gets one counted dictionary entry, whatever else is measured."""
    desk = await a_breach()
    quote = await desk.quote("MNQ", 21000)
    event = QuoteChanged(at=desk.now, contract_id="CON.F.US.MNQ.Z26", last_price=21000.0)
    begun = time.perf_counter()
    for _ in range(10_000):
        desk.figures.count(event, quote)
    assert (time.perf_counter() - begun) / 10_000 < 20e-6


async def test_it_is_served_to_programs_of_this_machine_only() -> None:
    desk = await a_breach()
    async with (
        MetricsServer(desk.figures.text, 0, RightOfWay()) as server,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(server.url) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "risk_manager_events_total" in await answer.text()
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            async with client.get(server.url, headers=headers) as answer:
                assert answer.status == 403
        async with client.post(server.url) as answer:
            assert answer.status == 405
        with pytest.raises(MetricsUnavailable, match=r"metrics\.port"):
            async with MetricsServer(desk.figures.text, server.port):
                await asyncio.sleep(0)


async def test_each_metric_of_the_dashboard_and_of_the_page_exists() -> None:
    desk = await a_breach()
    text = desk.figures.text().decode()
    known = set()
    for family in text_string_to_metric_families(text):
        known |= {sample.name for sample in family.samples} | {family.name}
        known |= {f"{family.name}_total"} if family.type == "counter" else set()
    board = json.loads((DOCS / "metrics" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = [t["expr"] for p in board["panels"] for t in p.get("targets", ())]
    assert len(asked) >= 10
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for name in re.findall(r"risk_manager_\w+", " ".join([*asked, page])):
        assert name in known, name
    for name in {f.name for f in text_string_to_metric_families(text)}:
        if name.startswith("risk_manager_"):
            assert name in page, name
