"""Before a service is started: what its user may not read, and keys that it cannot see."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from config_folder import ConfigFolder

from risk_manager.service.readiness import remarks
from risk_manager.service.service import Service

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
NOBODY = "nobody"


@pytest.fixture
def config() -> Iterator[ConfigFolder]:
    """In a place that everybody may read."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield ConfigFolder(Path(made) / "config")


@pytest.fixture
def here(config: ConfigFolder) -> Service:
    data = config.path.parent / "data"
    return Service(name="x", python=Path("/bin/sh"), config=config.path, data=data)


def test_nothing_is_said_where_all_is_well(here: Service, config: ConfigFolder) -> None:
    assert remarks(here, NOBODY, config.load()) == []
    assert remarks(here, "a_user_still_to_be_made", config.load()) == []


def test_a_closed_folder_is_named(here: Service, config: ConfigFolder) -> None:
    config.path.chmod(0o700)
    found = remarks(here, NOBODY, config.load())
    assert found[0] == (
        f"{NOBODY} may not read {config.path / 'accounts.yaml'}; "
        f"{config.path} does not let it through"
    )
    assert remarks(here, "root", config.load()) == []


def test_a_key_of_somebody_else_is_named(here: Service, config: ConfigFolder) -> None:
    key = config.path / "gateway.key"
    key.write_text("not a key")
    key.chmod(0o600)
    config.write(
        "settings.yaml", "gateway: {kind: projectx, username: someone, api_key: 'file:gateway.key'}"
    )
    assert remarks(here, NOBODY, config.load()) == [
        f"{NOBODY} may not read {key}; run: chown {NOBODY} {key}"
    ]


def test_variables_and_key_stores_are_not_a_services(here: Service, config: ConfigFolder) -> None:
    config.write("settings.yaml", "gateway: {kind: projectx, api_key: 'keyring:risk/guard'}")
    variable, store = remarks(replace(here, user=None), None, config.load())
    assert variable.startswith("gateway.username is env:PROJECT_X_USERNAME, and a service does not")
    assert store.startswith("gateway.api_key is keyring:risk/guard, and a key store belongs to one")
