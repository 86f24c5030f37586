"""`admin alerts` without a daemon: what the last run left, and a test from this process."""

import asyncio
import json
from pathlib import Path

import alert_sink
import pytest
from alert_sink import SECRET, Sink
from config_folder import ConfigFolder
from desk import MORNING

from risk_manager.admin.checkup import checkup
from risk_manager.admin.finding import Grade
from risk_manager.alerts.book import AlertBook
from risk_manager.alerts.keeping import ALERTS_FILE, text_of, write_alerts
from risk_manager.alerts.notice import Notice
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.domain.decisions import Severity


def words(config: ConfigFolder, data: Path, *more: str) -> list[str]:
    return ["admin", "alerts", *more, "--config", str(config.path), "--data", str(data)]


def with_alerts(config: ConfigFolder, text: str) -> ConfigFolder:
    shipped = (config.path / "settings.yaml").read_text(encoding="utf-8")
    config.write("settings.yaml", shipped + text)
    return config


def left_behind(data: Path) -> None:
    """The alerts of a run that has ended: a lock that nobody has acknowledged."""
    book = AlertBook(repeat=MORNING - MORNING)
    book.take(
        Notice(
            subject="lock:101:account:daily_realized_loss",
            at=MORNING,
            severity=Severity.CRITICAL,
            title="combine-50k locked by daily_realized_loss",
            text="lost $600.00 today\nuntil the reset",
            account_id=101,
        )
    )
    write_alerts(data, text_of(book.alerts))


def test_list_shows_what_the_last_run_left(
    config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(tmp_path)
    assert main(words(config, tmp_path, "list")) == Exit.DONE
    said = capsys.readouterr().out
    assert "no daemon runs" in said
    assert "critical  open, not acknowledged  combine-50k locked by daily_realized_loss" in said
    assert main(words(config, tmp_path, "list", "--json", "--account", "101")) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["running"] is False
    assert [alert["number"] for alert in told["alerts"]] == [1]
    assert main(words(config, tmp_path, "list", "--account", "102")) == Exit.DONE
    assert "no alert is open" in capsys.readouterr().out


def test_a_file_that_holds_no_alerts_is_named(
    config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ALERTS_FILE).write_text('{"alerts": [{"odd": 1}]}')
    assert main(words(config, tmp_path, "list")) == Exit.REFUSED
    assert "does not hold alerts; move it away" in capsys.readouterr().err


def test_ack_needs_the_daemon_and_a_number_or_all(
    config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_behind(tmp_path)
    assert main(words(config, tmp_path, "ack", "--all")) == Exit.UNREACHABLE
    with pytest.raises(SystemExit) as ended:
        main(words(config, tmp_path, "ack"))
    assert ended.value.code == Exit.USAGE


async def test_a_test_is_sent_from_here_and_says_which_arrived(
    config: ConfigFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_alerts(config, alert_sink.settings(heartbeat=True))
    async with Sink() as sink:
        for name, value in alert_sink.env(sink).items():
            monkeypatch.setenv(name, value)
        code = await asyncio.to_thread(main, words(config, tmp_path, "test"))
        assert (code, sink.titles, sink.pings) == (Exit.DONE, ["Test"], [])
        assert capsys.readouterr().out == "phone: sent\n"
        sink.mode = "refuse"
        code = await asyncio.to_thread(main, words(config, tmp_path, "test"))
        said = capsys.readouterr().out
        assert code == Exit.REFUSED
        assert said.startswith("phone: NOT SENT: ")
        assert "503" in said
        assert SECRET not in said
    monkeypatch.delenv("ALERT_URL")
    code = await asyncio.to_thread(main, words(config, tmp_path, "test", "--json"))
    (channel,) = json.loads(capsys.readouterr().out)
    assert code == Exit.REFUSED
    assert channel["reason"] == "the environment variable ALERT_URL is not set"


def test_without_channels_it_says_where_to_name_one(
    config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(config, tmp_path, "test")) == Exit.REFUSED
    assert "no alerts are configured; name a channel" in capsys.readouterr().err


def test_doctor_says_whether_each_address_is_found(config: ConfigFolder, tmp_path: Path) -> None:
    def alerts(env: dict[str, str]) -> list[tuple[Grade, str]]:
        found = checkup(config.path, tmp_path / "data", env=env)
        return [(f.grade, f.found) for f in found if f.check == "alerts"]

    ((grade, text),) = alerts({})
    assert (grade, "none are configured" in text) == (Grade.OK, True)
    with_alerts(config, alert_sink.settings(heartbeat=True))
    good = {"ALERT_URL": "json://127.0.0.1/x", "HEARTBEAT_URL": "https://hc.example/uuid"}
    assert alerts(good) == [(Grade.OK, "phone, the heartbeat: the addresses are found")]
    bad = {"ALERT_URL": f"odd://{SECRET}", "HEARTBEAT_URL": f"ftp://{SECRET}"}
    (phone, heartbeat) = alerts(bad)
    assert phone[0] is heartbeat[0] is Grade.FAIL
    assert "phone: env:ALERT_URL: apprise does not know" in phone[1]
    assert "it must begin with https://" in heartbeat[1]
    assert SECRET not in f"{phone}{heartbeat}"
