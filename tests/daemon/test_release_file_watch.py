"""A calendar file that differs from what was read is told, and told again when it does not."""

from pathlib import Path

import pytest
from config_folder import ConfigFolder

from risk_manager.clock import SystemClock
from risk_manager.daemon.release_file_watch import ReleaseFileWatch
from risk_manager.domain.events import AnyEvent, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind

YAML = 'through: 2026-12-31\nreleases: [{at: "2026-12-10 07:30", name: CPI}]\n'


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    folder = ConfigFolder(tmp_path / "config")
    folder.risk("rules:\n  - {rule: release_window, file: news.yaml}")
    folder.write("news.yaml", YAML)
    return folder


async def test_a_file_that_is_gone_or_changed_is_a_health_issue_until_it_is_right(
    config: ConfigFolder,
) -> None:
    put: list[AnyEvent] = []
    loaded = config.load()
    watch = ReleaseFileWatch(lambda: loaded, put.append, SystemClock())

    async def told() -> list[tuple[str, str]]:
        put.clear()
        await watch.look()
        issues = [e for e in put if isinstance(e, HealthIssueChanged)]
        assert {e.doubt for e in issues} <= {IssueKind.FILE_DIFFERS}
        return [(e.subject, e.reason) for e in issues]

    assert await told() == []
    (config.path / "news.yaml").unlink()
    ((name, reason),) = await told()
    assert name == "news.yaml"
    assert "no such file" in reason
    assert "the releases read before still count" in reason
    assert await told() == []  # told once
    config.write("news.yaml", YAML + "# one more word\n")
    ((_, reason),) = await told()
    assert "has changed since it was read" in reason
    loaded = config.load()  # a reload
    assert await told() == [("news.yaml", "")]
    (config.path / "news.yaml").unlink()
    assert len(await told()) == 1
    config.risk("rules: []")
    loaded = config.load()  # no rule names it any more
    assert await told() == [("news.yaml", "")]
