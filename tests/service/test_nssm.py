"""The service on Windows, against an nssm that writes down what it is asked."""

import json
import sys
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from recording_tool import RecordingTools, needs_scripts

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.service.nssm import THROTTLE_MS, Nssm
from risk_manager.service.service import Service, ServiceRefused

pytestmark = needs_scripts
NAME = "RiskManagerDaemon"
NONE_THERE = "Can't open service!\nOpenService(): The specified service does not exist"


@pytest.fixture
def nssm(tools: RecordingTools) -> RecordingTools:
    tools.add("nssm", "sc.exe", "icacls", "cmd.exe")
    tools.answer("nssm", "status", code=3, err=NONE_THERE, encoding="utf-16-le")
    return tools


def ended(
    *words: str, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    folders = ("--config", str(config.path), "--data", str(config.path.parent / "the data"))
    capsys.readouterr()
    code = main(["admin", "service", *words, "--manager", "nssm", "--run", *folders])
    out, err = capsys.readouterr()
    return code, out, err


def settings(tools: RecordingTools) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for call in tools.calls:
        if call[:3] == ["nssm", "set", NAME]:
            key = " ".join(call[3:5]) if call[3] == "AppExit" else call[3]
            found[key] = call[5:] if call[3] == "AppExit" else call[4:]
    return found


def test_an_installed_service_restarts_after_crashes_and_not_after_refusals(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ended("install", config=config, capsys=capsys)
    assert (code, err) == (Exit.DONE, "")
    assert "start it with: risk-manager admin service start" in out
    assert ["nssm", "install", NAME, sys.executable] in nssm.calls
    data = config.path.parent / "the data"
    found = settings(nssm)
    assert found["AppParameters"] == [
        f'-I -X utf8 -X faulthandler -m risk_manager run --config {config.path} --data "{data}"'
    ]
    assert found["AppDirectory"] == [str(data)]
    assert found["Start"] == ["SERVICE_DELAYED_AUTO_START"]
    assert found["AppExit Default"] == ["Restart"]
    refusals = {key for key, value in found.items() if value == ["Exit"]}
    assert refusals == {f"AppExit {exit_code}" for exit_code in (0, 2, 4, 5, 7)}
    assert found["AppStopMethodConsole"] == ["20000"], "longer than the 15 s of the daemon"
    assert found["DisplayName"] == ["Risk Manager Daemon"]
    assert found["AppEnvironmentExtra"] == ["PYTHONUTF8=1"]
    account = rf"NT SERVICE\{NAME}"
    assert ["sc.exe", "config", NAME, "obj=", account] in nssm.calls
    granted = {call[1]: call[-1] for call in nssm.calls if call[0] == "icacls"}
    assert granted == {
        str(config.path): f"{account}:(OI)(CI)RX",
        str(data): f"{account}:(OI)(CI)M",
    }


def test_a_crash_loop_leaves_nobody_unguarded_for_ten_seconds(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """NSSM's own pause grows only for a program that has run for less than AppThrottle."""
    ended("install", config=config, capsys=capsys)
    found = settings(nssm)
    assert found["AppThrottle"] == [str(THROTTLE_MS)]
    assert THROTTLE_MS < 200, "no daemon that guarded has run for less"
    slowest_start_ms = 7000
    assert int(found["AppRestartDelay"][0]) + slowest_start_ms < 10_000


def test_an_installed_service_is_brought_up_to_date(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    nssm.answer("nssm", "status", out="SERVICE_STOPPED\r\n", encoding="utf-16-le")
    assert ended("install", config=config, capsys=capsys)[0] == Exit.DONE
    assert not [call for call in nssm.calls if call[1] == "install"]
    assert settings(nssm)["Application"] == [sys.executable]


def test_a_dry_run_shows_the_commands_and_does_nothing(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ended("install", "--dry-run", config=config, capsys=capsys)
    assert code == Exit.DONE
    assert f"nssm set {NAME} AppExit 4 Exit" in out
    code, out, _ = ended("install", "--dry-run", "--json", config=config, capsys=capsys)
    told = json.loads(out)
    assert told["done"] is False
    assert {"command": ["nssm", "set", NAME, "AppThrottle", "100"]} in told["steps"]
    assert {call[1] for call in nssm.calls} == {"status"}


def test_what_a_service_cannot_see_is_told(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write("settings.yaml", "gateway: {kind: projectx}")
    _, out, _ = ended("install", config=config, capsys=capsys)
    assert "mind: gateway.api_key is env:PROJECT_X_API_KEY, and a service does not see" in out
    assert "admin credentials set --store file:gateway.key" in out


def test_a_refusal_of_nssm_ends_the_install_in_one_line(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    nssm.answer("nssm", "set", NAME, "AppExit", code=6, err="Access is denied.\n")
    code, out, err = ended("install", config=config, capsys=capsys)
    assert code == Exit.REFUSED
    assert err == (
        f"risk-manager: `nssm set {NAME} AppExit Default Restart` failed with code 6: "
        "Access is denied.\n"
    )
    assert "installed." not in out
    assert "AppRestartDelay" not in settings(nssm), "nothing after the fault"


def test_configuration_errors_install_nothing(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write("risk_config.yaml", "version: 1\nrules: [{rule: max_contrats}]\n")
    code, _, err = ended("install", config=config, capsys=capsys)
    assert code == Exit.CONFIGURATION
    assert "max_contrats" in err
    assert nssm.calls == []


def test_an_uninstall_asks_for_the_word(
    nssm: RecordingTools,
    config: ConfigFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, _, err = ended("uninstall", config=config, capsys=capsys)
    assert code == Exit.REFUSED
    assert err == "risk-manager: nobody can be asked here; say --yes\n"
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for word, ends in (("uninstall", Exit.REFUSED), ("yes", Exit.REFUSED)):
        monkeypatch.setattr("builtins.input", lambda _, word=word: word)
        assert ended("uninstall", config=config, capsys=capsys)[0] == ends
    assert nssm.calls == []
    monkeypatch.setattr("builtins.input", lambda _: "UNINSTALL")
    code, out, _ = ended("uninstall", config=config, capsys=capsys)
    assert code == Exit.DONE
    assert "configuration and data are where they were" in out
    assert nssm.calls == [["nssm", "stop", NAME], ["nssm", "remove", NAME, "confirm"]]
    nssm.forget()
    assert ended("uninstall", "--yes", config=config, capsys=capsys)[0] == Exit.DONE
    assert nssm.calls[-1] == ["nssm", "remove", NAME, "confirm"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_the_other_verbs(
    nssm: RecordingTools,
    config: ConfigFolder,
    capsys: pytest.CaptureFixture[str],
    verb: str,
) -> None:
    code, out, _ = ended(verb, "--name", "Mine", config=config, capsys=capsys)
    assert code == Exit.DONE
    assert out.startswith(f"nssm {verb} Mine\n")
    assert nssm.calls == [["nssm", verb, "Mine"]]


def test_a_paused_service_is_an_alarm(
    nssm: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    nssm.answer("nssm", "status", out="SERVICE_PAUSED\r\n", encoding="utf-16-le")
    nssm.answer("nssm", "get", NAME, "Start", out="SERVICE_AUTO_START\n", encoding="utf-16-le")
    code, out, _ = ended("status", config=config, capsys=capsys)
    assert code == Exit.REFUSED
    assert f"service {NAME} (nssm): paused, starts with the machine\n" in out
    assert "ALARM: NSSM waits before it starts the daemon again" in out
    assert f"nssm continue {NAME}" in out


def test_states_as_nssm_tells_them(nssm: RecordingTools) -> None:
    manager = Nssm(anywhere=True)
    assert not manager.unit(NAME).installed
    nssm.answer("nssm", "status", out="SERVICE_RUNNING\r\n", encoding="utf-16-le")
    nssm.answer("nssm", "get", out="SERVICE_DEMAND_START\n")
    unit = manager.unit(NAME)
    assert (unit.installed, unit.is_up, unit.state) == (True, True, "running")
    assert unit.starts_by_itself is False
    assert unit.alarm is None
    nssm.answer("nssm", "status", code=5, err="Access is denied.")
    unit = manager.unit(NAME)
    assert (unit.state, unit.says) == ("unknown", "Access is denied.")


def test_without_nssm_or_rights_nothing_is_done(
    tools: RecordingTools, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ended("install", config=config, capsys=capsys)
    assert code == Exit.REFUSED
    assert err == (
        "risk-manager: nothing was done: there is no nssm on the PATH; get it from https://nssm.cc\n"
    )
    assert "nssm install" in out, "the commands are shown all the same"
    tools.add("nssm")
    assert Nssm(is_windows=True, elevated=True).hindrance() is None
    assert "administrator" in str(Nssm(is_windows=True, elevated=False).hindrance())
    assert "--run" in str(Nssm(is_windows=False).absent())
    assert Nssm(is_windows=True).absent() is None


def test_an_account_with_a_password_is_refused(service: Service, tmp_path: Path) -> None:
    manager = Nssm(is_windows=True, elevated=True)
    for account in ("trader", r".\trader", "trader@firm"):
        with pytest.raises(ServiceRefused, match="must not stand on a command line"):
            manager.install(
                Service(name="x", python=tmp_path, config=tmp_path, data=tmp_path, user=account)
            )
    for account in (r"NT AUTHORITY\LocalService", r"firm\guard$"):
        manager.install(
            Service(name="x", python=tmp_path, config=tmp_path, data=tmp_path, user=account)
        )
