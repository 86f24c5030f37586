"""Fixtures every room's tests may use."""

import pytest
from desk import DeskMaker, make_desk


@pytest.fixture
def desk() -> DeskMaker:
    """Makes a desk under the rules given by their configuration names."""
    return make_desk
