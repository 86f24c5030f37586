"""The unit of systemd, judged by systemd itself where its tools are."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from recording_tool import RecordingTools, needs_scripts

from risk_manager.cli.exits import Exit
from risk_manager.daemon.service_notices import BEAT_S, START_LIMIT_S
from risk_manager.service.service import STAYS_STOPPED, Service, ServiceRefused
from risk_manager.service.steps import Command, File, FileRemoved
from risk_manager.service.systemd import START_WITHIN_S, Systemd, unit_text

pytestmark = needs_scripts
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here")
MOST_EXPOSED = 2.0


def values(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def unit_file(service: Service, tmp_path: Path) -> Path:
    """With a program that exists, as the check looks for it."""
    path = tmp_path / "risk-manager.service"
    path.write_text(unit_text(replace(service, python=Path("/bin/sh"))))
    return path


@needs_systemd
def test_systemd_finds_no_fault_in_the_unit(unit_file: Path) -> None:
    done = analyzed("verify", str(unit_file))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_would_find_a_fault(unit_file: Path) -> None:
    unit_file.write_text(unit_file.read_text().replace("WatchdogSec=10", "WatchdogSec=soon"))
    assert "soon" in analyzed("verify", str(unit_file)).stderr


@needs_systemd
def test_systemd_calls_the_service_well_confined(unit_file: Path) -> None:
    told = analyzed("security", "--offline=true", "--no-pager", str(unit_file)).stdout
    found = re.search(r"exposure level for .*: ([\d.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= MOST_EXPOSED


def test_refusals_do_not_loop_and_crashes_do(service: Service) -> None:
    told = values(unit_text(service))
    refused = {int(code) for code in told["RestartPreventExitStatus"].split()}
    assert refused == set(STAYS_STOPPED)
    assert refused == {Exit.USAGE, Exit.CREDENTIALS, Exit.CONFIGURATION, Exit.ALREADY_RUNNING}
    assert told["Restart"] == "on-failure"
    assert told["StartLimitIntervalSec"] == "0", "a guard is never given up"


def test_the_times_fit_those_of_the_daemon(service: Service) -> None:
    told = values(unit_text(service))
    assert told["Type"] == "notify"
    assert int(told["WatchdogSec"]) >= 2 * BEAT_S
    assert int(told["TimeoutStopSec"]) > 15
    assert int(told["RestartSec"]) < 10
    assert int(told["TimeoutStartSec"]) == START_WITHIN_S == START_LIMIT_S


def test_homes_are_closed_unless_something_of_ours_is_there(service: Service) -> None:
    assert values(unit_text(service))["ProtectHome"] == "yes"
    at_home = replace(service, config=Path("/home/bob/config"))
    assert values(unit_text(at_home))["ProtectHome"] == "read-only"


def test_a_path_with_spaces_is_one_word_and_stranger_ones_are_refused(service: Service) -> None:
    spaced = replace(service, data=Path("/srv/the data"))
    told = values(unit_text(spaced))
    assert told["ExecStart"].endswith('--data "/srv/the data"')
    assert told["ReadWritePaths"] == '"/srv/the data"'
    for path in ("/srv/100%", "/srv/$HOME", '/srv/"x', "/srv/a\nUser=root", "/tmp/data"):
        with pytest.raises(ServiceRefused):
            Systemd().install(replace(service, data=Path(path)))


def test_an_install_makes_the_user_the_folder_and_the_unit(
    service: Service, tmp_path: Path
) -> None:
    steps = Systemd(units=tmp_path).install(replace(service, user="no_such_user_here"))
    commands = [step.words for step in steps if isinstance(step, Command)]
    assert [words[0] for words in commands] == [
        "useradd", "install", "chown", "systemctl", "systemctl",
    ]  # fmt: skip
    assert "/usr/sbin/nologin" in commands[0]
    (file,) = (step for step in steps if isinstance(step, File))
    assert file.path == tmp_path / "risk-manager.service"
    assert values(file.text)["User"] == "no_such_user_here"
    known = Systemd(units=tmp_path).install(replace(service, user="root"))
    assert not any(isinstance(step, Command) and step.words[0] == "useradd" for step in known)


def test_files_are_written_and_removed(service: Service, tmp_path: Path) -> None:
    manager = Systemd(units=tmp_path)
    (file,) = (s for s in manager.install(service) if isinstance(s, File))
    file.carry_out()
    assert file.path.read_text() == unit_text(service)
    (gone,) = (s for s in manager.uninstall("risk-manager") if isinstance(s, FileRemoved))
    gone.carry_out()
    gone.carry_out()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a file").touch()
    with pytest.raises(ServiceRefused, match="cannot be written"):
        File(tmp_path / "a file" / "below.service", "").carry_out()


SHOWN = """\
LoadState={load}
ActiveState={active}
SubState={sub}
UnitFileState=enabled
MainPID={pid}
NRestarts=3
StatusText=RUNNING; 1 account guarded, 0 locked
Result={result}
ExecMainStatus={code}
"""


@pytest.mark.parametrize(
    ("active", "sub", "pid", "code", "is_up", "alarm"),
    [
        ("active", "running", 77, 0, True, None),
        ("activating", "start", 77, 0, True, None),
        ("activating", "auto-restart", 0, 70, True, "ended with code 70; systemd starts it again"),
        ("failed", "failed", 0, 4, False, "given the service up (result exit-code, exit code 4)"),
        ("inactive", "dead", 0, 0, False, None),
    ],
)
def test_states_as_systemd_tells_them(
    tools: RecordingTools,
    active: str,
    sub: str,
    pid: int,
    code: int,
    is_up: bool,
    alarm: str | None,
) -> None:
    tools.add("systemctl")
    shown = SHOWN.format(
        load="loaded", active=active, sub=sub, pid=pid, result="exit-code", code=code
    )
    tools.answer("systemctl", "show", "risk-manager.service", out=shown)
    unit = Systemd().unit("risk-manager")
    assert (unit.installed, unit.is_up, unit.pid) == (True, is_up, pid or None)
    assert unit.state == f"{active} ({sub})"
    assert (unit.restarts, unit.starts_by_itself) == (3, True)
    assert (unit.alarm is None) if alarm is None else (alarm in str(unit.alarm))
    tools.answer("systemctl", "show", out="LoadState=not-found\nActiveState=inactive\n")
    assert not Systemd().unit("other").installed


def test_where_systemd_does_not_run(tools: RecordingTools, tmp_path: Path) -> None:
    assert "no systemctl" in str(Systemd(runs=tmp_path).absent())
    tools.add("systemctl")
    assert Systemd(runs=tmp_path).absent() is None
    assert "a container?" in str(Systemd(runs=tmp_path / "none").absent())
