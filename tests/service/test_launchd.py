"""The service on macOS: the property list, the commands, and what launchd tells."""

import plistlib
from dataclasses import replace
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from recording_tool import RecordingTools, needs_scripts

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.service.launchd import ZERO_WHEN_HOPELESS, Launchd, property_list
from risk_manager.service.service import Service, ServiceRefused
from risk_manager.service.steps import Command, File

pytestmark = needs_scripts

PRINTED = """\
gui/501/risk-manager = {
	active count = 1
	state = %s
	program = /opt/risk-manager/.venv/bin/python
	runs = 3
	%s
	last exit code = %s
}
"""


def test_the_property_list_is_one_and_says_what_is_meant(service: Service) -> None:
    told = plistlib.loads(property_list(service).encode())
    assert told["Label"] == "risk-manager"
    assert told["ProgramArguments"][0] == str(service.python)
    assert told["ProgramArguments"][-1] == ZERO_WHEN_HOPELESS
    assert told["KeepAlive"] == {"SuccessfulExit": False}
    assert told["ThrottleInterval"] < 10
    assert told["ExitTimeOut"] > 15
    assert told["Umask"] == 0o077
    assert "UserName" not in told
    strange = replace(service, data=Path("/Users/a & b/<data>"), user="guard")
    told = plistlib.loads(property_list(strange).encode())
    assert "/Users/a & b/<data>" in told["ProgramArguments"]
    assert told["UserName"] == "guard"


def test_an_agent_needs_no_root_and_a_daemon_does(service: Service, tmp_path: Path) -> None:
    agent, daemon = Launchd(uid=501, agents=tmp_path), Launchd(uid=0, system=tmp_path)
    commands = [s.words for s in agent.install(service) if isinstance(s, Command)]
    assert commands[-1] == (
        "launchctl", "bootstrap", "gui/501", str(tmp_path / "risk-manager.plist"),
    )  # fmt: skip
    (file,) = (s for s in daemon.install(replace(service, user="guard")) if isinstance(s, File))
    assert file.path == tmp_path / "risk-manager.plist"
    with pytest.raises(ServiceRefused, match="name another user with --user"):
        daemon.install(service)
    with pytest.raises(ServiceRefused, match="needs root"):
        agent.install(replace(service, user="guard"))


@pytest.mark.parametrize(
    ("state", "pid", "code", "is_up", "alarm"),
    [
        ("running", "pid = 77", "(never exited)", True, None),
        ("not running", "", "0", False, None),
        ("spawn scheduled", "", "70", False, "ended with code 70; launchd starts it again"),
    ],
)
def test_states_as_launchd_tells_them(
    tools: RecordingTools, state: str, pid: str, code: str, is_up: bool, alarm: str | None
) -> None:
    tools.add("launchctl")
    tools.answer("launchctl", "print", "gui/501/risk-manager", out=PRINTED % (state, pid, code))
    unit = Launchd(uid=501).unit("risk-manager")
    assert (unit.installed, unit.is_up, unit.state) == (True, is_up, state)
    assert unit.restarts == 2
    assert unit.pid == (77 if pid else None)
    assert (unit.alarm is None) if alarm is None else (alarm in str(unit.alarm))


def test_a_service_that_is_not_loaded(tools: RecordingTools, tmp_path: Path) -> None:
    tools.add("launchctl")
    tools.answer("launchctl", "print", code=113, err="Could not find service")
    manager = Launchd(uid=501, agents=tmp_path)
    assert not manager.unit("risk-manager").installed
    (tmp_path / "risk-manager.plist").touch()
    unit = manager.unit("risk-manager")
    assert (unit.installed, unit.state) == (True, "not loaded")


def test_a_daemon_of_launchd_is_not_started_again_where_that_does_not_help(
    config: ConfigFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """launchd starts again after every code but 0."""
    config.write("settings.yaml", "gatway: {}\n")
    words = ["run", "--config", str(config.path), "--data", str(tmp_path / "data")]
    assert main(words) == Exit.CONFIGURATION
    told = capsys.readouterr().err
    assert main([*words, ZERO_WHEN_HOPELESS]) == Exit.DONE
    assert capsys.readouterr().err == told, "the reason is printed all the same"
    config.path.chmod(0o777)
    config.write("settings.yaml", "")
    assert main([*words, ZERO_WHEN_HOPELESS]) == Exit.DONE
    assert "everybody may write to it" in capsys.readouterr().err
    data = tmp_path / "data"
    data.write_text("a file")
    config.path.chmod(0o755)
    assert main([*words, ZERO_WHEN_HOPELESS]) == Exit.DATABASE
