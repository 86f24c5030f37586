"""docs/configuration.md has every key that the files accept, each with its meaning."""

from pathlib import Path

import pytest

from risk_manager.admin.configuration_page import FILES, keys_of, page
from risk_manager.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_the_one_made_from_the_models() -> None:
    assert PAGE.read_text("utf-8") == page(), (
        "make it anew: python -m risk_manager.admin.configuration_page > docs/configuration.md"
    )


@pytest.mark.parametrize("model", [model for _, model, _ in FILES] + list(RULES))
def test_each_key_says_what_it_accepts_and_means(model: type) -> None:
    for key in keys_of(model):
        assert key.meaning, key.path
        assert key.accepts not in ("", "a value"), key.path


def test_a_key_of_a_part_is_written_with_the_way_to_it() -> None:
    paths = {key.path for _, model, _ in FILES for key in keys_of(model)}
    assert {"alerts.channels[].url", "accounts.NAME.platform.daily_loss"} <= paths
