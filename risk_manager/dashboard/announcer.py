"""Tells alerts: a notice on the screen, and for loud ones a flash, the bell and the desktop."""

from collections.abc import Callable, Iterable, Mapping

from textual.app import App
from textual.notifications import SeverityLevel

from risk_manager.dashboard.alerts import Alert
from risk_manager.dashboard.desktop import notification
from risk_manager.dashboard.removed_widgets import forget_removed_widgets

BELL = "\a"
FLASH_S = 4.0
AT_ONCE = 3
"""More notices than this at one time are only counted; the log has them."""
_SEVERITIES: dict[str, SeverityLevel] = {"good": "information", "care": "warning", "bad": "error"}


class Announcer:
    """`send` writes an escape sequence to the terminal."""

    def __init__(
        self, app: App[None], send: Callable[[str], None], environ: Mapping[str, str]
    ) -> None:
        self._app = app
        self._send = send
        self._environ = environ
        self._flash_until = 0.0
        self.is_muted = False

    def tell(self, alerts: Iterable[Alert], shown: int | None, mono: float) -> None:
        """Tell all of these. `shown` is the account on the screen."""
        told = list(alerts)
        forget_removed_widgets()  # of the notices before
        loud = [alert for alert in told if alert.is_loud]
        if loud:
            self._flash_until = mono + FLASH_S
            if not self.is_muted:
                self._send(BELL)
                sequence = notification("risk manager", loud[0].text, self._environ)
                if sequence:
                    self._send(sequence)
        notices = [
            alert
            for alert in told
            if not (alert.is_in_verdict and alert.account_id in (None, shown))
        ]
        for alert in notices[:AT_ONCE]:
            self._app.notify(alert.text, severity=_SEVERITIES[alert.tone], timeout=8, markup=False)
        if len(notices) > AT_ONCE:
            more = len(notices) - AT_ONCE
            self._app.notify(f"and {more} more; l shows all", timeout=8, markup=False)

    def is_lit(self, mono: float) -> bool:
        """Whether the flash is on at this instant: half a second on, half a second off."""
        return mono < self._flash_until and int(mono * 2) % 2 == 0
