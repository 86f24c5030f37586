"""The trader's screen: live in a terminal, or once as text. Textual is loaded only when used."""

from pathlib import Path


def run_dashboard(data_dir: Path, url: str | None = None, account: int | None = None) -> int:
    """The live screen until the user quits. Returns the exit code."""
    from risk_manager.dashboard.app import RiskDashboard
    from risk_manager.feed.client import FeedClient

    app = RiskDashboard(FeedClient(data_dir, url=url), account=account)
    app.run()
    return app.return_code or 0
