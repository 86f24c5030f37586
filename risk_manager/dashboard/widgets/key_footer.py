"""The keys of the open tab. Where not all fit, those needed least are left to the help."""

from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.keys import KEYS, SPARED_FIRST

_BACK = {key.action: key.back for key in KEYS if key.back}
_PADDING = 3  # one before the key, one between key and label, one behind


class KeyFooter(Footer):
    """Textual's footer, which would cut the last keys off."""

    _every_account = False

    def show(self, glance: Glance) -> None:
        """Note what the keys would do now; the footer is made anew when the bindings change."""
        self._every_account = glance.every_account

    def compose(self) -> ComposeResult:
        keys = list(super().compose())
        for key in keys:
            if isinstance(key, FooterKey) and self._every_account:
                key.description = _BACK.get(key.action, key.description)
        for action in SPARED_FIRST:
            if sum(map(_width, keys)) <= self.app.size.width:
                break
            keys = [k for k in keys if not (isinstance(k, FooterKey) and k.action == action)]
        yield from keys

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.recompose)


def _width(key: Widget) -> int:
    if not isinstance(key, FooterKey):
        return 0
    return len(key.key_display) + len(key.description) + _PADDING
