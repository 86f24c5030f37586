from pathlib import Path

import pytest
from config_folder import ConfigFolder


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    return ConfigFolder(tmp_path / "config")


@pytest.fixture(autouse=True)
def work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command finds the data folder that `make run` has left in the checkout."""
    monkeypatch.chdir(tmp_path)
