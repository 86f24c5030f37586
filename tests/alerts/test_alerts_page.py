"""The pages name every key, and the defaults that the program has."""

import re
from pathlib import Path

from pydantic import BaseModel

from risk_manager.settings.outside_settings import (
    AlertSettings,
    ChannelSettings,
    MetricsSettings,
)

DOCS = Path(__file__).parent.parent.parent / "docs"


def rows(page: str) -> dict[str, str]:
    """The first two cells of each row of the page's tables."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([^`]+)` \|\s*`?([^|`]*?)`?\s*\|", text, re.MULTILINE))


def keys(model: type[BaseModel], prefix: str) -> set[str]:
    return {f"{prefix}.{name}" for name in model.model_fields}


def test_the_page_names_every_key_of_the_alerts() -> None:
    named = rows("alerts.md")
    assert keys(AlertSettings, "alerts") | keys(ChannelSettings, "channels[]") == named.keys()
    plain = AlertSettings().model_dump(mode="json")
    for key in ("repeat", "limit_at", "daily_summary", "heartbeat_every"):
        assert named[f"alerts.{key}"] == str(plain[key]).lower()


def test_the_page_names_every_key_of_the_metrics() -> None:
    assert keys(MetricsSettings, "metrics") <= rows("metrics.md").keys()
