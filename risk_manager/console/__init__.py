"""The administrator's console: a keyboard menu over what the `admin` verbs do."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from risk_manager.admin.whatif_question import Question


def run_console(config: Path, data: Path, url: str | None = None) -> tuple[int, str]:
    """The menu until the user leaves. Returns the exit code, and a line to be told if not empty."""
    from risk_manager.console.app import Console

    app = Console(config, data, url)
    ended = app.run()
    return ended or (app.return_code or 0, "")


def run_whatif(question: "Question") -> tuple[int, str]:
    """The page of a what-if until the user leaves. Returns as `run_console`."""
    from risk_manager.console.whatif.app import WhatIf

    app = WhatIf(question)
    ended = app.run()
    return ended or (app.return_code or 0, "")
