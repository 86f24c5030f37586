"""The trader's screen: live in a terminal, or once as text. Textual is loaded only when used."""

import os
from collections.abc import Mapping
from pathlib import Path


def is_in_browser(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process draws its screen into a page: textual-serve sets the driver."""
    return environ.get("TEXTUAL_DRIVER", "").endswith(":WebDriver")


def run_dashboard(data_dir: Path, url: str | None = None, account: int | None = None) -> int:
    """The live screen until the user quits. Returns the exit code."""
    from risk_manager.dashboard.app import RiskDashboard
    from risk_manager.dashboard.choices import ChoicesFile
    from risk_manager.feed.client import FeedClient

    choices = ChoicesFile.of_the_user()
    app = RiskDashboard(FeedClient(data_dir, url=url), account=account, choices=choices)
    if is_in_browser():
        app.ascii_only = False  # whatever the terminal shows in which the page was started
    app.run()
    return app.return_code or 0
