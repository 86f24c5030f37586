"""Fixtures every room's tests may use."""

from collections.abc import Iterator

import pytest
from desk import DeskMaker, make_desk
from said_secrets import every_output_is_searched, pytest_runtest_makereport
from written_secrets import secrets_in

__all__ = ["every_output_is_searched", "pytest_runtest_makereport"]


@pytest.fixture(autouse=True, scope="session")
def user_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever runs in a test keeps its hands off the state folder of the user who tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("user_state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_secret_is_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No file that a test leaves behind has a key or a session token of the gateway in it."""
    yield
    assert list(secrets_in(tmp_path_factory.getbasetemp())) == []


@pytest.fixture
def desk() -> DeskMaker:
    """Makes a desk under the rules given by their configuration names."""
    return make_desk
