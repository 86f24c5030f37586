"""alerts.json in the data folder: the alert book between two runs, and for `admin alerts list`."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from risk_manager.alerts.book import Alert, alert_of_plain

ALERTS_FILE = "alerts.json"


class AlertsUnreadable(Exception):
    """The kept alerts cannot be read. The message names the file and what to do."""


def read_alerts(data_dir: Path) -> list[Alert]:
    """Return the alerts kept in a data folder; none where there is no file.

    Raises AlertsUnreadable.
    """
    path = data_dir / ALERTS_FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [alert_of_plain(data) for data in kept["alerts"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise AlertsUnreadable(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError):
        raise AlertsUnreadable(
            f"{path} does not hold alerts; move it away, open matters are found again"
        ) from None


def text_of(alerts: Iterable[Alert]) -> str:
    """Return the text of the file."""
    rows: list[dict[str, Any]] = [alert.plain() for alert in alerts]
    return json.dumps({"alerts": rows}, indent=1)


def write_alerts(data_dir: Path, text: str) -> None:
    """Replace the file in one step. Only its owner can read it. Raises OSError."""
    path = data_dir / ALERTS_FILE
    fresh = path.with_suffix(".json.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
