"""The figures of the whole daemon, read as Prometheus reads them."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, closes, still_gateway, until
from prometheus_client.parser import text_string_to_metric_families
from said_secrets import outputs

pytestmark = pytest.mark.wire


async def scraped(url: str) -> dict[str, float]:
    """The value of each sample by its name and its labels."""
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        text = await answer.text()
    outputs.search("the metrics", text)
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    assert not any(str(ACCOUNT) in label for s in samples for label in s.labels.values())
    return {":".join([s.name, *s.labels.values()]): s.value for s in samples}


async def test_a_breach_shows_in_the_figures(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        with (daemon.config / "settings.yaml").open("a", encoding="utf-8") as file:
            file.write("metrics: {port: 0}\n")
        async with daemon.running():
            (url,) = [x.split()[-1] for x in daemon.said if x.startswith("metrics at")]
            before = await scraped(url)
            assert (
                before["risk_manager_status:RUNNING"] + before["risk_manager_status:DEGRADED"] == 1
            )
            buy(gateway.exchange, "RTY", 1)
            await until(lambda: closes(gateway) and gateway.exchange.is_flat(ACCOUNT), "closed")
            figures = before
            closed = "risk_manager_enforcement_latency_seconds_count:close_position"
            while not (figures.get(closed) and figures["risk_manager_loop_lag_seconds_count"]):
                figures = await scraped(url)
                await asyncio.sleep(0.05)
            assert figures[closed] == 1
            assert figures["risk_manager_decisions_total:symbol_blocks:false"] >= 1
            assert figures["risk_manager_accounts:watched"] == 1
            assert figures["risk_manager_hub_state:user:up"] == 1
            assert 0 < figures["risk_manager_request_budget_left_requests:reads"] <= 120
            assert figures["risk_manager_events_total:tick"] >= 1
            assert await daemon.stop() == 0
