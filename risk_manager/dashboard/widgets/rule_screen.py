"""One rule explained with its figures, in a window that stays live."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.keys import CLOSE
from risk_manager.dashboard.rule_facts import facts
from risk_manager.dashboard.widgets.text import Text


class RuleScreen(ModalScreen[None]):
    BINDINGS = [(CLOSE.press, CLOSE.action, CLOSE.label)]  # noqa: RUF012 - Textual's own form

    def __init__(self, rule_id: str, glance: Glance) -> None:
        super().__init__()
        self._rule_id = rule_id
        self._first = glance

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_subtitle = f"{CLOSE.shown}: {CLOSE.label.lower()}"
            yield Text(wraps=True)

    def on_mount(self) -> None:
        self.show(self._first)

    def show(self, glance: Glance) -> None:
        account = glance.account
        meters = () if account is None else account.meters
        meter = next((m for m in meters if m.rule_id == self._rule_id), None)
        if meter is None:
            self.query_one(Text).put(Content("this rule is no longer in force for the account"))
            return
        age = [] if glance.live else [Content("OLD: the daemon is not heard now"), Content("")]
        self.query_one(Text).put(Content("\n").join([*age, *facts(glance, meter)]))
