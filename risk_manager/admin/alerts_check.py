"""The words of `doctor` about the alerts: can each address be found and used?"""

from collections.abc import Iterator, Mapping

from risk_manager.alerts.assembly import heartbeat_address, open_channels
from risk_manager.settings.configuration import Configuration

FIX = "see docs/alerts.md, then run: risk-manager admin alerts test"


def alert_lines(configuration: Configuration, env: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """Yield what there is to say about the alerts, and whether it is well."""
    settings = configuration.settings.alerts
    if not settings.is_wanted:
        yield True, "none are configured; nobody outside is told anything (docs/alerts.md)"
        return
    _, broken = open_channels(configuration, env)
    heartbeat_address(configuration, env, broken)
    for name, fault in broken:
        yield False, f"{name}: {fault}"
    if not broken:
        names = [channel.name for channel in settings.channels]
        names += ["the heartbeat"] if settings.heartbeat_url is not None else []
        yield True, f"{', '.join(names)}: the addresses are found"
