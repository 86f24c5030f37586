"""The address of a channel is a secret: no part of it is seen, whatever goes wrong with it."""

import asyncio
import importlib.util
import logging
import time
from datetime import timedelta
from pathlib import Path

import pytest
from alert_sink import SECRET, Sink
from config_folder import ConfigFolder
from desk import MORNING
from pydantic import SecretStr

from risk_manager import logs
from risk_manager.alerts.address import secret_parts
from risk_manager.alerts.apprise_channel import AddressUnusable, AppriseChannel
from risk_manager.alerts.assembly import heartbeat_address, open_channels, trial
from risk_manager.alerts.heartbeat import OutsideHeartbeat, post, with_fail
from risk_manager.settings.outside_settings import heartbeat_fault

CHANNELS = "alerts:\n  channels: [{name: phone, url: env:PHONE}]\n"


def config_with(folder: Path, text: str) -> ConfigFolder:
    config = ConfigFolder(folder / "config")
    shipped = (config.path / "settings.yaml").read_text(encoding="utf-8")
    config.write("settings.yaml", shipped + text)
    return config


def logged(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.log"))


@pytest.mark.parametrize(
    ("url", "parts", "plain"),
    [
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", {"4174216298"}, "discord"),
        ("tgram://12345:ABCDEFGH/67890", {"12345:ABCDEFGH", "ABCDEFGH"}, "tgram"),
        ("mailto://someone:s3cr3t-word@gmail.com", {"s3cr3t-word", "someone"}, "gmail.com"),
        ("jsons://hooks.example.com:8443/a-long-token?x=hidden", {"a-long-token", "hidden"},
         "hooks.example.com"),
        ("https://hc-ping.com/0a1b2c3d-uuid", {"0a1b2c3d-uuid"}, "hc-ping.com"),
        ("json://localhost:8080/abcdef", {"abcdef"}, "localhost"),
    ],
)  # fmt: skip
def test_each_part_that_may_be_a_token_is_secret(url: str, parts: set[str], plain: str) -> None:
    found = secret_parts(url)
    assert {url, *parts} <= found
    assert plain not in found


@pytest.mark.parametrize("url", ["nonsense", f"unknown://{SECRET}", "json://", ""])
def test_an_address_that_apprise_does_not_know_is_named_by_its_reference(
    tmp_path: Path, url: str
) -> None:
    config = config_with(tmp_path, CHANNELS)
    channels, broken = open_channels(config.load(), {"PHONE": url})
    assert channels == []
    ((name, reason),) = broken
    assert name == "phone"
    assert "PHONE" in reason
    assert SECRET not in reason
    with pytest.raises(AddressUnusable) as raised:
        AppriseChannel("phone", SecretStr(url))
    assert not url or url not in str(raised.value)


async def test_failures_say_why_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Sink() as sink:
        with logs.Logs(tmp_path, level="DEBUG"):
            channel = AppriseChannel("phone", SecretStr(sink.url))
            assert await asyncio.to_thread(channel.send, trial("phone", MORNING)) == ""
            sink.mode = "refuse"
            refused = await asyncio.to_thread(channel.send, trial("phone", MORNING))
            await sink.close()
            absent = await asyncio.to_thread(channel.send, trial("phone", MORNING))
            unreached = await asyncio.to_thread(post, sink.heartbeat_url, b"")
    assert "503" in refused
    assert "Connection" in absent
    assert unreached == "ConnectionRefusedError"
    said = capfd.readouterr()
    for text in (refused, absent, unreached, logged(tmp_path), caplog.text, said.out, said.err):
        assert SECRET not in text


def test_without_apprise_a_channel_is_an_error_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(tmp_path, CHANNELS + "metrics: {port: 9464}\n")
    assert config.errors() == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    errors = config.errors()
    assert len(errors) == 2
    assert 'alerts.channels: apprise is not installed; run: pip install "risk-man' in errors[0]
    assert "metrics.port: prometheus_client is not installed" in errors[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alerts:\n  channels: [{name: phone, url: 'discord://1/2'}]\n", "never be the secret"),
        ("alerts:\n  heartbeat_url: https://hc-ping.com/x\n", "never be the secret"),
        ("alerts:\n  channels: [{name: My Phone, url: env:X}]\n", "alerts.channels[0].name"),
        ("alerts:\n  channels: [{name: a, url: env:X}, {name: a, url: env:Y}]\n", "twice: a"),
        ("alerts:\n  channels: [{name: a, url: env:X, least: loud}]\n", "info, warning"),
        ("alerts:\n  repeat: 5s\n", "between 1m and 24h"),
        ("alerts:\n  limit_at: 120\n", "alerts.limit_at"),
        ("alerts:\n  quiet: {start: '22:00', end: '22:00'}\n", "the same"),
        ("alerts:\n  quiet: {start: '22:00'}\n", "alerts.quiet.end"),
        ("metrics: {port: 99999}\n", "metrics.port"),
    ],
)
def test_each_mistake_in_the_settings_is_told_in_words(
    tmp_path: Path, text: str, said: str
) -> None:
    (error,) = config_with(tmp_path, text).errors()
    assert said in error
    assert "discord" not in error
    assert "hc-ping" not in error


# --- the heartbeat --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_usable"),
    [
        ("https://hc-ping.com/uuid", True),
        ("http://127.0.0.1:8000/x", True),
        ("http://hc-ping.com/uuid", False),
        ("ftp://hc-ping.com/uuid", False),
        ("hc-ping.com/uuid", False),
        ("https://[bad", False),
    ],
)
def test_a_heartbeat_goes_over_https(tmp_path: Path, url: str, is_usable: bool) -> None:
    assert (heartbeat_fault(url) == "") is is_usable
    config = config_with(tmp_path, "alerts:\n  heartbeat_url: env:BEAT\n")
    broken: list[tuple[str, str]] = []
    found = heartbeat_address(config.load(), {"BEAT": url}, broken)
    assert (found is not None) is is_usable
    assert url not in str(broken)


def test_fail_goes_behind_the_path() -> None:
    assert with_fail("https://hc-ping.com/uuid") == "https://hc-ping.com/uuid/fail"
    assert with_fail("https://x.io/ping/uuid/?a=1") == "https://x.io/ping/uuid/fail?a=1"


class Beats:
    """A heartbeat over a clock and an address in the test's hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fresh = True
        self.answer = ""
        self.sent: list[tuple[str, bytes]] = []
        self.heartbeat = OutsideHeartbeat(
            SecretStr(f"https://hc.example/{SECRET}"),
            timedelta(seconds=60),
            is_fresh=lambda: self.fresh,
            send=self._send,
            monotonic=lambda: self.now,
        )
        self.heartbeat.start()

    def _send(self, url: str, text: bytes) -> str:
        self.sent.append((url.rpartition(SECRET)[2], text))
        return self.answer

    def cycles(self, seconds: int) -> int:
        """So many cycles of the watchdog. Returns how many pings were sent for them."""
        before = len(self.sent)
        for _ in range(seconds):
            wanted = len(self.sent) + 1
            due = self.now >= self._due
            self.heartbeat.after_cycle()
            if due and self.fresh:
                self._until(wanted)
                self._due = self.now + (10.0 if self.answer else 60.0)
            self.now += 1
        return len(self.sent) - before

    _due = 0.0

    def _until(self, number: int) -> None:
        end = time.monotonic() + 10
        while len(self.sent) < number or (self.answer and self.heartbeat.reason != self.answer):
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(0.01)


def test_a_ping_a_minute_after_cycles_on_fresh_data_and_none_otherwise() -> None:
    beats = Beats()
    assert beats.cycles(180) == 3
    beats.fresh = False
    assert beats.cycles(600) == 0
    beats.heartbeat.stop(5)
    assert all(where == "" for where, _ in beats.sent)


def test_a_ping_that_fails_is_repeated_sooner_and_counted_as_failing() -> None:
    beats = Beats()
    beats.answer = "it answered 500"
    assert beats.cycles(30) == 3
    assert beats.heartbeat.failing_s > 0
    beats.answer = ""
    assert beats.cycles(11) == 1
    assert beats.heartbeat.failing_s == 0
    beats.heartbeat.stop(5)


def test_a_crash_tells_fail_and_a_clean_stop_nothing() -> None:
    beats = Beats()
    beats.heartbeat.stop(5)
    assert beats.sent == []
    beats = Beats()
    beats.heartbeat.stop(5, "it crashed (TypeError)")
    assert beats.sent == [("/fail", b"it crashed (TypeError)")]
