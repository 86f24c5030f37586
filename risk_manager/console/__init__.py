"""The administrator's console: a keyboard menu over what the `admin` verbs do."""

from pathlib import Path


def run_console(config: Path, data: Path, url: str | None = None) -> tuple[int, str]:
    """The menu until the user leaves. Returns the exit code, and a line to be told if not empty."""
    from risk_manager.console.app import Console

    app = Console(config, data, url)
    ended = app.run()
    return ended or (app.return_code or 0, "")
