"""Rules read and edited from the command line: without a daemon, and through a running one."""

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from config_folder import ConfigFolder
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway

from risk_manager.admin.config_edits import propose
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.feed.client import AdminClient
from risk_manager.settings import rule_edits
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.yaml_edits import EditRefused

Say = Callable[..., str]
RULE = "max_contracts"
PASSWORD = "calm words for later"


@pytest.fixture
def say(config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs `admin ...` on the folder of the test, and returns what it prints."""

    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--config", str(config.path), "--data", str(tmp_path / "data"))
        code = main(["admin", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


def risk_file(config: ConfigFolder) -> str:
    return (config.path / "risk_config.yaml").read_text(encoding="utf-8")


def test_a_value_is_set_and_every_comment_stays(config: ConfigFolder, say: Say) -> None:
    before = risk_file(config)
    out = say("rules", "set", "max_contracts", "limit=4", "--yes")
    assert "-    limit: 5\n+    limit: 4" in out
    assert "the daemon does not run" in out
    assert risk_file(config) == before.replace("limit: 5\n", "limit: 4\n")
    assert config.load().rules[0].model_dump()["limit"] == 4


def test_nothing_is_written_without_a_yes(
    config: ConfigFolder, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = risk_file(config)
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert "say --yes" in say("rules", "disable", "max_contracts", ends=Exit.REFUSED)
    assert "--dry-run" in say("rules", "disable", "max_contracts", "--dry-run")
    assert risk_file(config) == before


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("max_contracts", "limit=-3"), "must be above 0; write it without the minus, 3"),
        (("max_contracts", "limt=3"), 'unknown key; did you mean "limit"?'),
        (("max_contrcts", "limit=3"), 'did you mean "max_contracts"?'),
        (("max_contracts", "limit=3", "--account", "909"), "there are 101, 102"),
        (("max_contracts", "limit=[1"), "not readable as a YAML value"),
        (("max_contracts", "--unset", "shadow"), "shadow is not written in max_contracts"),
        (("max_contracts", "--unset", "limit"), "is missing; add this key"),
    ],
)
def test_a_wrong_edit_is_refused_and_writes_nothing(
    config: ConfigFolder, say: Say, words: tuple[str, ...], why: str
) -> None:
    before = risk_file(config)
    assert why in say("rules", "set", *words, "--yes", ends=Exit.REFUSED)
    assert risk_file(config) == before


def test_a_file_that_is_wrong_already_is_not_edited(config: ConfigFolder, say: Say) -> None:
    config.write("risk_config.yaml", risk_file(config).replace("limit: 5\n", "limit: five\n"))
    out = say("rules", "set", "daily_realized_loss", "limit=400", ends=Exit.CONFIGURATION)
    line = 1 + risk_file(config).splitlines().index("    limit: five")
    assert f"risk_config.yaml:{line}: rules[max_contracts].limit" in out


def test_a_file_edited_meanwhile_is_left_alone(config: ConfigFolder, say: Say) -> None:
    proposal = propose(
        config.path,
        {"risk_config.yaml": lambda data: rule_edits.set_value(data, RULE, ("limit",), 4)},
    )
    config.write("risk_config.yaml", risk_file(config) + "# by another hand\n")
    before = risk_file(config)
    with pytest.raises(EditRefused, match="was edited meanwhile"):
        proposal.write()
    assert risk_file(config) == before


def test_a_link_stays_a_link_and_the_mode_stays(
    config: ConfigFolder, say: Say, tmp_path: Path
) -> None:
    path, elsewhere = config.path / "risk_config.yaml", tmp_path / "elsewhere.yaml"
    path.rename(elsewhere)
    elsewhere.chmod(0o640)
    path.symlink_to(elsewhere)
    say("rules", "set", RULE, "limit=4", "--yes")
    assert path.is_symlink()
    assert "limit: 4\n" in elsewhere.read_text(encoding="utf-8")
    assert elsewhere.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_account_gets_a_value_of_its_own(config: ConfigFolder, say: Say) -> None:
    say("rules", "set", "max_contracts", "limit=3", "--account", "101", "--yes")
    say("rules", "disable", "symbol_blocks", "--account", "102", "--yes")
    files = config.load()
    assert {r.id: r for r in files.rules_of(101)}["max_contracts"].model_dump()["limit"] == 3
    assert "symbol_blocks" not in {rule.id for rule in files.rules_of(102)}
    assert "3 (override)" in say("rules", "show", "max_contracts", "--account", "101")
    shown = json.loads(say("rules", "show", "max_contracts", "--account", "101", "--json"))
    assert {row["key"]: row["origin"] for row in shown["rows"]}["limit"] == "override"


def test_a_rule_gets_the_values_as_shipped_again(config: ConfigFolder, say: Say) -> None:
    before = config.load().digest
    say("rules", "set", "daily_realized_loss", "limit=900", "warn_at=[0.1]", "--yes")
    say("rules", "enable", "session_block_outside", "--yes")
    say("rules", "set", "trade_management", "breakeven.trigger_ticks=3", "--yes")
    assert config.load().digest != before
    say("rules", "defaults", "--all", "--yes")
    assert config.load().digest == before
    assert say("rules", "defaults", "--all", "--yes").startswith("nothing to change")


def test_a_rule_is_explained_key_by_key(say: Say) -> None:
    out = say("rules", "explain", "daily_realized_loss")
    assert out.startswith("daily_realized_loss: Loss today (RULE-003)\n  the loss of the day. At")
    assert "warn_at: 0.5/0.8               fractions of the limit" in out


def test_the_difference_and_what_waits_are_told_after_the_daemon_has_gone(
    config: ConfigFolder, say: Say, tmp_path: Path
) -> None:
    assert "no daemon has run" in say("config", "diff")
    (tmp_path / "data").mkdir()
    began = Commitment(in_force=config.load().texts)
    (tmp_path / "data" / "limits.json").write_text(began.text(), encoding="utf-8")
    assert "no difference" in say("config", "diff")
    assert say("config", "pending") == "nothing waits for the reset\n"
    assert say("config", "cancel", "--yes") == "nothing waits for the reset\n"
    say("rules", "set", "max_contracts", "limit=50", "--yes")
    say("rules", "set", "daily_realized_loss", "limit=400", "--yes")
    found = json.loads(say("config", "diff", "--json"))
    assert {c["key"]: (c["effect"], c["when"]) for c in found["changes"]} == {
        "rules.max_contracts.limit": ("looser", "reset"),
        "rules.daily_realized_loss.limit": ("tighter", "now"),
    }
    assert found["daemon"] == "stopped"
    assert "daemon" in say("config", "apply", "--yes", ends=Exit.UNREACHABLE)
    out = say("config", "cancel", "--yes")
    assert "-    limit: 50\n+    limit: 5" in out
    left = json.loads(say("config", "diff", "--json"))["changes"]
    assert [c["key"] for c in left] == ["rules.daily_realized_loss.limit"]


@pytest.mark.wire
async def test_through_the_daemon_tighter_counts_at_once_and_looser_from_the_reset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)

        async def say(*words: str, ends: Exit = Exit.DONE) -> str:
            capsys.readouterr()
            places = ("--config", str(daemon.config), "--data", str(daemon.data))
            code = await asyncio.to_thread(main, ["admin", *words, *places])
            out, err = capsys.readouterr()
            assert code == ends, out + err
            return out + err

        async def told(*words: str) -> Any:
            return json.loads(await say(*words, "--json"))

        async with daemon.running():
            out = await say("rules", "set", "max_contracts", "limit=50", "--yes")
            assert "rules.max_contracts.limit: 5 -> 50, looser, at the reset" in out
            assert "waits for the reset" in out
            pending = await told("config", "pending")
            assert [c["key"] for c in pending["changes"]] == ["rules.max_contracts.limit"]

            buy(gateway.exchange, "MNQ", 6)
            await daemon.until_account(
                lambda a: a["contracts_held"] == 5, "cut to the limit of the morning"
            )
            out = await say("rules", "set", "max_contracts", "limit=2", "--yes")
            assert "all of it is in force now" in out
            await daemon.until_account(lambda a: a["contracts_held"] == 2, "cut at once")

            await say("rules", "disable", "symbol_blocks", "--yes")
            out = await say("config", "cancel", "--yes")
            assert "rules.symbol_blocks.enabled: no -> yes, tighter, now" in out
            assert (await told("config", "pending"))["changes"] == []
            assert "enabled: false" not in (daemon.config / "risk_config.yaml").read_text()

            # An edit by hand: shown first, then read. The daemon knows what settings it began with.
            path = daemon.config / "settings.yaml"
            path.write_text(path.read_text().replace("level: DEBUG", "level: INFO"))
            found = await told("config", "diff")
            assert [(c["key"], c["when"]) for c in found["changes"]] == [
                ("logging.level", "restart")
            ]
            assert "needs a restart: logging.level" in await say("config", "apply", "--yes")

            # A folder that the daemon does not read is not edited as if it were in force.
            other = tmp_path / "other"
            shutil.copytree(daemon.config, other)
            daemon_config, daemon.config = daemon.config, other
            refusal = await say("rules", "set", "max_contracts", "limit=1", "--yes",
                                ends=Exit.REFUSED)  # fmt: skip
            assert f"the running daemon reads {daemon_config}" in refusal
            assert "limit: 2" in (other / "risk_config.yaml").read_text()
            daemon.config = daemon_config

            # Behind a password nothing is written before it was given.
            async with AdminClient.connect(daemon.data) as admin:
                await admin.call("set_password", {"new": PASSWORD})
            before = (daemon.config / "risk_config.yaml").read_bytes()
            refusal = await say("rules", "set", "max_contracts", "limit=1", "--yes",
                                ends=Exit.REFUSED)  # fmt: skip
            assert "a terminal is needed" in refusal
            assert (daemon.config / "risk_config.yaml").read_bytes() == before
            assert (await daemon.account(ACCOUNT))["contracts_held"] == 2


def test_a_version_that_cannot_be_compared_holds_until_the_reset_and_that_is_told(
    config: ConfigFolder, say: Say, tmp_path: Path
) -> None:
    began = config.load()
    config.write("risk_config.yaml", risk_file(config).replace("limit: 500\n", "limit: 900\n", 1)
                 .replace("lockout: until_reset  ", "lockout: 30m  ", 1))  # fmt: skip
    (tmp_path / "data").mkdir()
    committed = Commitment(in_force=began.texts)
    today = committed.trading_date(datetime.now(UTC))
    committed = committed.after_reading(config.load(), today)
    (tmp_path / "data" / "limits.json").write_text(committed.text(), encoding="utf-8")
    assert [c["effect"] for c in json.loads(say("config", "pending", "--json"))["changes"]] == [
        "unknown",
        "looser",
    ]
    out = say("config", "cancel", "--yes")
    assert config.load().digest == began.digest
    assert out.endswith("hold as well where they may be stricter: daily_realized_loss\n")
