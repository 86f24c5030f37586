from pathlib import Path

import pytest
from config_folder import ConfigFolder
from recording_tool import RecordingTools

from risk_manager.service.service import Service


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingTools:
    return RecordingTools(tmp_path / "tools", monkeypatch)


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    return ConfigFolder(tmp_path / "config")


@pytest.fixture
def service() -> Service:
    """Folders as on a real machine; nothing of them is touched."""
    return Service(
        name="risk-manager",
        python=Path("/opt/risk-manager/.venv/bin/python"),
        config=Path("/etc/risk-manager"),
        data=Path("/var/lib/risk-manager"),
    )
