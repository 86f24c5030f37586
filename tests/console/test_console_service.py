"""The service page of the console, against an nssm that writes down what it is asked."""

from pathlib import Path

import pytest
from config_folder import ConfigFolder
from console_screen import Seen, menu
from recording_tool import RecordingTools, needs_scripts

from risk_manager.service.nssm import Nssm

NAME = "RiskManagerDaemon"


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    return ConfigFolder(tmp_path / "config")


@pytest.fixture
def nssm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingTools:
    tools = RecordingTools(tmp_path / "tools", monkeypatch)
    tools.add("nssm", "sc.exe", "icacls", "cmd.exe")
    monkeypatch.setattr(
        "risk_manager.console.service.service_manager", lambda: Nssm(anywhere=True, elevated=True)
    )
    return tools


def verbs(tools: RecordingTools) -> list[str]:
    """What nssm was asked to change."""
    return [call[1] for call in tools.calls if call[0] == "nssm" and call[1] != "status"]


async def open_service(seen: Seen) -> None:
    await seen.press("4")
    await seen.shows("Uninstall", "no daemon has run in")


@needs_scripts
async def test_the_service_is_installed_once_its_commands_are_confirmed(
    nssm: RecordingTools, config: ConfigFolder, tmp_path: Path
) -> None:
    nssm.answer("nssm", "status", code=3, err="The specified service does not exist")
    async with menu(config.path, tmp_path / "data") as seen:
        await open_service(seen)
        await seen.press("i")
        await seen.shows("Install the service?", f"nssm install {NAME}")
        assert "install" not in verbs(nssm)
        await seen.press("y")
        await seen.shows("installed. Check it with: risk-manager doctor")
    assert verbs(nssm)[0] == "install"


@needs_scripts
async def test_the_service_is_removed_only_once_uninstall_is_typed(
    nssm: RecordingTools, config: ConfigFolder, tmp_path: Path
) -> None:
    nssm.answer("nssm", "status", out="SERVICE_RUNNING")
    async with menu(config.path, tmp_path / "data") as seen:
        await open_service(seen)
        await seen.press("u")
        await seen.shows("type UNINSTALL", f"Without {NAME} nothing is enforced")
        await seen.type("DELETE")
        await seen.shows("that is not UNINSTALL")
        assert "remove" not in verbs(nssm)
        await seen.type("UNINSTALL")
        await seen.shows("removed; configuration and data are where they were")
    assert "remove" in verbs(nssm)


@needs_scripts
async def test_a_command_that_fails_is_one_line(
    nssm: RecordingTools, config: ConfigFolder, tmp_path: Path
) -> None:
    nssm.answer("nssm", "status", out="SERVICE_STOPPED")
    nssm.answer("nssm", "start", NAME, code=1, err="START: Access is denied.")
    async with menu(config.path, tmp_path / "data") as seen:
        await open_service(seen)
        await seen.press("g")
        await seen.shows("Start the service?")
        await seen.press("y")
        await seen.shows("FAILED `nssm start RiskManagerDaemon` failed", "Access is denied")


async def test_where_no_service_manager_runs_that_is_said(
    config: ConfigFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("risk_manager.console.service.service_manager", lambda: Nssm())
    monkeypatch.setenv("PATH", str(tmp_path))
    async with menu(config.path, tmp_path / "data") as seen:
        await open_service(seen)
        await seen.press("a")
        await seen.shows("FAILED nothing was done:")
