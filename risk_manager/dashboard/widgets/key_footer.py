"""The keys of the open tab. Where not all fit, those needed least are left to the help."""

from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from risk_manager.dashboard.keys import SPARED_FIRST

_PADDING = 3  # one before the key, one between key and label, one behind


class KeyFooter(Footer):
    """Textual's footer, which would cut the last keys off."""

    def compose(self) -> ComposeResult:
        keys = list(super().compose())
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
