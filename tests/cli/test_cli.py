"""The command line as scripts and people meet it: exit codes, one-line errors, what it imports."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from filelock import FileLock

from risk_manager.cli import command_parser, main
from risk_manager.cli.exits import Exit
from risk_manager.settings.commitment import Commitment

HEAVY = ("project_x_py", "textual", "aiohttp", "pandas", "polars")


def shell(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RISK_MANAGER_")}
    root = str(Path(__file__).parent.parent.parent)
    return subprocess.run(
        [sys.executable, "-m", "risk_manager", *words],
        cwd=cwd,
        env={**clean, "PYTHONPATH": root, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without_heavy_libraries(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, and insist that it loaded none of them."""
    program = (
        "import sys\n"
        "from risk_manager.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit:\n    code = 0\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stderr
    return done


@pytest.mark.wire
@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["admin", "panic", "--help"],
        ["--version"],
        ["admin", "config", "validate"],
        ["admin", "rules", "list"],
        ["admin", "status"],
        ["doctor"],
    ],
)
def test_light_commands_import_no_heavy_library(config: ConfigFolder, words: list[str]) -> None:
    without_heavy_libraries(*words, cwd=config.path.parent)


@pytest.mark.wire
def test_a_second_daemon_on_a_folder_ends_before_anything_heavy_is_loaded(
    config: ConfigFolder,
) -> None:
    data = config.path.parent / "data"
    data.mkdir()
    with FileLock(data / "daemon.lock"):
        done = without_heavy_libraries("run", cwd=config.path.parent)
    assert done.returncode == Exit.ALREADY_RUNNING
    (line,) = done.stderr.splitlines()
    assert "another daemon already guards with the data folder data" in line


@pytest.mark.wire
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the state folder has a fixed place")
def test_a_second_daemon_on_a_listed_account_ends_before_anything_heavy_is_loaded(
    config: ConfigFolder,
) -> None:
    config.write("settings.yaml", "gateway: {kind: projectx}")
    config.write("accounts.yaml", "accounts: [{id: 101, nickname: Eval}]")
    locks = config.path.parent / "risk_manager" / "accounts"
    locks.mkdir(parents=True)
    with FileLock(locks / "api.topstepx.com-101.lock"):
        done = without_heavy_libraries(
            "run", cwd=config.path.parent, XDG_STATE_HOME=str(config.path.parent)
        )
    assert done.returncode == Exit.ALREADY_RUNNING
    (line,) = done.stderr.splitlines()
    assert "already guards account 101 (Eval) at api.topstepx.com" in line


@pytest.mark.wire
def test_a_run_with_a_mistyped_config_folder_makes_no_data_folder(config: ConfigFolder) -> None:
    done = shell("run", "--config", "confg", cwd=config.path.parent)
    assert done.returncode == Exit.CONFIGURATION
    assert not (config.path.parent / "data").exists()


@pytest.mark.wire
def test_a_broken_configuration_is_exit_5_and_one_line_an_error(config: ConfigFolder) -> None:
    config.risk("rules:\n  - {rule: max_contracts, limt: 5}", "defaults: {mode: x}")
    done = shell("admin", "config", "validate", cwd=config.path.parent)
    assert done.returncode == Exit.CONFIGURATION
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        'risk_config.yaml:3: rules[max_contracts].limt: unknown key; did you mean "limit"?',
        "risk_config.yaml:4: defaults.mode: must be one of enforce, shadow",
    ]
    done = shell("admin", "config", "show", cwd=config.path.parent)
    assert done.returncode == Exit.CONFIGURATION
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.wire
def test_no_daemon_is_exit_3_and_wrong_usage_exit_2(config: ConfigFolder) -> None:
    done = shell("admin", "status", cwd=config.path.parent)
    assert done.returncode == Exit.UNREACHABLE
    (line,) = done.stderr.splitlines()
    assert "no daemon has run in data" in line
    assert shell("dance", cwd=config.path.parent).returncode == Exit.USAGE


@pytest.mark.wire
def test_without_a_terminal_admin_prints_its_help_and_the_console_names_the_verbs(
    config: ConfigFolder,
) -> None:
    done = shell("admin", cwd=config.path.parent)
    assert done.returncode == Exit.USAGE
    assert "a keyboard menu over these verbs" in done.stderr
    done = shell("admin", "console", cwd=config.path.parent)
    assert done.returncode == Exit.USAGE
    assert "use the verbs: risk-manager admin --help" in done.stderr


@pytest.mark.wire
def test_folders_come_from_the_environment(config: ConfigFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {"RISK_MANAGER_CONFIG": str(config.path), "RISK_MANAGER_DATA": "nothing-here"}
    done = shell("admin", "config", "validate", "--json", cwd=elsewhere, **variables)
    assert done.returncode == Exit.DONE
    report = json.loads(done.stdout)
    assert report["valid"]
    assert report["errors"] == []
    done = shell("admin", "lockouts", "list", cwd=elsewhere, **variables)
    assert "nothing-here" in done.stderr


@pytest.mark.wire
def test_a_gateway_without_its_key_is_exit_4(config: ConfigFolder) -> None:
    done = shell(
        "run",
        "--data",
        str(config.path.parent / "data"),
        cwd=config.path.parent,
        RISK_MANAGER_GATEWAY__KIND="projectx",
        RISK_MANAGER_GATEWAY__USERNAME="someone",
        RISK_MANAGER_GATEWAY__API_KEY="env:NOT_SET_ANYWHERE",
    )
    assert done.returncode == Exit.CREDENTIALS
    (line,) = done.stderr.splitlines()
    assert "gateway.api_key: the environment variable NOT_SET_ANYWHERE is not set" in line


def test_version_names_the_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == Exit.DONE
    out = capsys.readouterr().out
    assert "database schema" in out
    assert "feed protocol" in out


def test_rules_are_listed_for_each_account(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config.risk(
        "rules:\n  - {rule: max_contracts, limit: 5}",
        "accounts: {102: {overrides: [{target: max_contracts, set: {limit: 2}}]}}",
    )
    assert main(["admin", "rules", "list", "--config", str(config.path)]) == Exit.DONE
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "account 101 (combine-50k), enforce"
    assert out[1].split() == ["RULE-001", "max_contracts", "limit", "5"]
    assert out[3].split() == ["RULE-001", "max_contracts", "limit", "2", "[overridden]"]
    config.risk("rules: []", 'trading_day: {timezone: America/Chicago, flat_by: "15:10"}')
    assert main(["admin", "rules", "list", "--config", str(config.path)]) == Exit.DONE
    assert capsys.readouterr().out.splitlines()[1] == (
        f"  RULE-009  {'flat_by':<30} timezone America/Chicago, "
        "sessions days:sun/mon/tue/wed/thu start:17:00 end:15:10"
    )
    assert main(["admin", "rules", "list", "--config", str(config.path), "--account", "7"]) == 1
    assert capsys.readouterr().err == (
        "risk-manager: account 7 is not in accounts.yaml; there are 101, 102\n"
    )


def loosened(config: ConfigFolder) -> Path:
    """A data folder whose daemon began the day with a limit of 5 and has read 9 since."""
    config.write("accounts.yaml", "accounts: [{id: 101}]")
    config.risk("rules: [{rule: max_contracts, limit: 5}]")
    began = Commitment(in_force=config.load().texts)
    config.risk(
        "rules: [{rule: max_contracts, limit: 9}]", "trading_day: {timezone: America/Chicago}"
    )
    kept = began.after_reading(config.load(), began.trading_date(datetime.now(UTC)))
    data = config.path.with_name("data")
    data.mkdir()
    (data / "limits.json").write_text(kept.text())
    return data


def test_the_list_of_rules_tells_what_is_in_force_and_what_waits(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.16: After a loosening both versions are listed, each with its time."""
    places = ["--data", str(loosened(config)), "--config", str(config.path)]
    assert main(["admin", "rules", "list", *places]) == Exit.DONE
    new, old = capsys.readouterr().out.splitlines()[1:]
    assert new.split()[:4] == ["RULE-001", "max_contracts", "limit", "9"]
    assert "[counts from " in new
    assert "max_contracts (until the reset)" in old
    assert "limit 5 [in force until " in old
    assert main(["admin", "rules", "list", "--json", *places]) == Exit.DONE
    rows = {row["values"]["limit"]: row for row in json.loads(capsys.readouterr().out)}
    reset = rows[9]["counts_from"]
    assert datetime.fromisoformat(reset) > datetime.now(UTC)
    assert rows[9]["holds_until"] is None
    assert (rows[5]["counts_from"], rows[5]["holds_until"]) == (None, reset)


def test_what_is_shown_as_in_force_is_in_force(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.16: `config show` tells the limits of today, what waits, and until when."""
    places = ["--data", str(loosened(config)), "--config", str(config.path)]
    assert main(["admin", "config", "show", "--json", *places]) == Exit.DONE
    shown = json.loads(capsys.readouterr().out)
    in_force = shown["in_force"]["101"]["rules"]
    assert {name: rule["limit"] for name, rule in in_force.items()} == {
        "max_contracts (until the reset)": 5
    }
    waits = shown["waits"]
    assert waits["accounts"]["101"]["max_contracts"]["limit"] == 9
    assert waits["shared"] == [
        {
            "key": "trading_day.timezone",
            "in_force": "America/New_York",
            "waits": "America/Chicago",
        }
    ]
    assert datetime.fromisoformat(waits["until"]) > datetime.now(UTC)
    assert shown["edited_since"] is False


def test_files_edited_and_not_read_yet_are_told(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.16: An edit that no daemon has read is not shown as in force."""
    places = ["--data", str(loosened(config)), "--config", str(config.path)]
    config.risk("rules: [{rule: max_contracts, limit: 40}]")
    assert main(["admin", "rules", "list", *places]) == Exit.DONE
    told = capsys.readouterr()
    assert "40" not in told.out
    assert "the files were edited since the daemon read them" in told.err


def test_what_waited_is_in_force_after_its_day(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.16: What has waited long enough is shown as in force, though no daemon runs."""
    data = loosened(config)
    kept = json.loads((data / "limits.json").read_text())
    (data / "limits.json").write_text(json.dumps({**kept, "since": "2026-01-05"}))
    places = ["--data", str(data), "--config", str(config.path)]
    assert main(["admin", "rules", "list", *places]) == Exit.DONE
    [line] = capsys.readouterr().out.splitlines()[1:]
    assert line.split() == ["RULE-001", "max_contracts", "limit", "9"]


RELOADED: dict[str, object] = {
    "digest": "a" * 64,
    "waits_for_reset": ["max_contracts"],
    "next_reset": "2026-11-20T22:00:00+00:00",
    "changes": [
        {"key": "rules.max_contracts.limit", "old": 5, "new": 9, "when": "reset"},
        {"key": "rules.x.limit", "old": None, "new": "500", "when": "now"},
        {"key": "feed.port", "old": 8765, "new": 9000, "when": "restart"},
    ],
}


def test_a_reload_says_of_each_field_when_it_counts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.17: A feed port that needs a restart is not said to be in force."""

    async def call(*_: object) -> dict[str, object]:
        return RELOADED

    monkeypatch.setattr("risk_manager.cli.admin_daemon.call", call)
    assert main(["admin", "config", "reload"]) == Exit.DONE
    lines = capsys.readouterr().out.splitlines()
    at = datetime(2026, 11, 20, 22, 0, tzinfo=UTC).astimezone().strftime("%a %H:%M")
    assert lines == [
        "read (digest aaaaaaaaaaaa)",
        f"  rules.max_contracts.limit: 5 -> 9, at the reset ({at})",
        "  rules.x.limit: none -> 500, now",
        "  feed.port: 8765 -> 9000, needs a restart",
        f"until the reset ({at}) the older version holds too: max_contracts",
        "needs a restart: feed.port",
    ]


def test_what_is_shown_holds_references_and_no_secret(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write("settings.yaml", "gateway: {api_key: env:CANARY_KEY}")
    assert main(["admin", "config", "show", "--json", "--config", str(config.path)]) == Exit.DONE
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["gateway"]["api_key"] == "env:CANARY_KEY"
    assert shown["in_force"]["101"]["rules"]["max_contracts"]["limit"] == 5
    assert main(["admin", "config", "show", "--config", str(config.path)]) == Exit.DONE
    assert "max_contracts" in capsys.readouterr().out


def test_panic_asks_first(config: ConfigFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["admin", "panic", "--data", str(config.path)]) == Exit.REFUSED
    assert "say --yes" in capsys.readouterr().err
    assert main(["admin", "panic", "--yes", "--data", str(config.path)]) == Exit.UNREACHABLE


def test_an_error_of_ours_is_one_line_and_exit_70(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file where a folder is meant is an operator's error; a null byte is what nobody expects.
    assert main(["admin", "config", "validate", "--config", "a\0b"]) == Exit.INTERNAL
    err = capsys.readouterr().err
    assert err.startswith("risk-manager: internal error: ValueError")
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1
    assert main(["admin", "config", "validate", "--config", "a\0b", "--debug"]) == Exit.INTERNAL
    assert "Traceback" in capsys.readouterr().err


# --- usage ----------------------------------------------------------------------------------------


def verbs(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command by its words."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield words
    for group in groups:
        for name, each in group.choices.items():
            yield from verbs(each, *words, name)


VERBS = [words for words in verbs(command_parser()) if words not in (("demo",), ("practice",))]
NEEDED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("admin", "lockouts", "set"): ("--account", "101", "--reason", "x"),
    ("admin", "lockouts", "clear"): ("--account", "101", "--reason", "x"),
    ("admin", "journal", "replay"): ("2026-11-20",),
    ("admin", "log", "level"): ("INFO",),
    ("admin", "rules", "show"): ("max_contracts",),
    ("admin", "rules", "explain"): ("max_contracts",),
    ("admin", "rules", "set"): ("max_contracts", "limit=1"),
    ("admin", "rules", "enable"): ("max_contracts",),
    ("admin", "rules", "disable"): ("max_contracts",),
    ("admin", "rules", "defaults"): ("max_contracts",),
    ("admin", "accounts", "add"): ("101",),
    ("admin", "accounts", "edit"): ("101",),
    ("admin", "accounts", "remove"): ("101",),
    ("admin", "accounts", "enable"): ("101",),
    ("admin", "accounts", "disable"): ("101",),
    ("admin", "alerts", "ack"): ("1",),
    ("admin", "report", "day"): ("2026-11-23",),
    ("admin", "report", "week"): ("2026-11-23",),
}


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_understands_both_folders(words: tuple[str, ...]) -> None:
    """F7.5: `--config` and `--data` are understood by every verb, also by those that use one."""
    folders = ("--config", "here", "--data", "there")
    arguments = command_parser().parse_args([*words, *NEEDED.get(words, ()), *folders])
    assert (arguments.config, arguments.data) == (Path("here"), Path("there"))


@pytest.mark.parametrize("words", [*VERBS, ("demo",), ("practice",)], ids=" ".join)
def test_a_wrong_option_is_answered_with_the_usage_of_that_verb(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """F7.5: A wrong option anywhere is exit 2, with the usage of the verb it was given to."""
    with pytest.raises(SystemExit) as ended:
        main([*words, *NEEDED.get(words, ()), "--colour", "red"])
    assert ended.value.code == Exit.USAGE
    name = f"risk-manager {' '.join(words)}"
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"usage: {name} [-h]")
    assert said[-1] == f"{name}: error: unrecognized arguments: --colour red"


@pytest.mark.parametrize(
    ("length", "hint"),
    [
        ("30", "write 30m"),
        ("half an hour", "write 30m or 1h30m"),
        ("0m", "is no time at all"),
        ("99999999999999d", "is too long"),
    ],
)
def test_a_length_of_time_without_its_unit_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], length: str, hint: str
) -> None:
    """F7.15: `--for 30` is wrong usage, exit 2, and the line says how to write it."""
    lock = ("admin", "lockouts", "set", "--account", "101", "--reason", "x")
    with pytest.raises(SystemExit) as ended:
        main([*lock, "--for", length])
    assert ended.value.code == Exit.USAGE
    assert hint in capsys.readouterr().err.splitlines()[-1]
