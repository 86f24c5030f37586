"""All accounts with their state at a glance, in a window that stays live and chooses one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import Tone, verdict
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, colour_of, signed
from risk_manager.feed.messages import AccountSnapshot

_COLOURS = {
    Tone.GOOD: "$text-success",
    Tone.CARE: "$text-warning",
    Tone.STOP: "$text-error",
}


class AccountsScreen(ModalScreen[int | None]):
    """Two lines an account. Ends with the id of the account chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "move(-1)", "Up"),
        ("down,j,a,tab", "move(1)", "Down"),
        ("enter", "choose", "Show"),
        ("escape,q,A,question_mark", "dismiss(None)", "Close"),
    ]

    def __init__(self, glance: Glance) -> None:
        super().__init__()
        self._glance = glance
        self._chosen = max(glance.number - 1, 0)

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = "All accounts"
            box.border_subtitle = "Up, Down, Enter: show it    Esc: close"
            yield Text()

    def on_mount(self) -> None:
        self.show(self._glance)

    def show(self, glance: Glance) -> None:
        self._glance = glance
        self._chosen = min(self._chosen, max(len(glance.picture.accounts) - 1, 0))
        self.query_one(Text).put(Content("\n").join(self._lines(glance)))

    def _lines(self, glance: Glance) -> Iterator[Content]:
        accounts = glance.picture.accounts
        if not accounts:
            yield Content.styled("no account is known yet", DIM)
            return
        for number, account in enumerate(accounts):
            yield from _account(glance, account, is_chosen=number == self._chosen)
        totals = [account.total for account in accounts]
        known = [total for total in totals if total is not None]
        together = sum(known) if len(known) == len(totals) else None
        held = sum(account.contracts_held for account in accounts)
        yield Content("")
        yield Content.assemble(
            (f"  all {len(accounts)}: ", DIM),
            (signed(together), f"bold {colour_of(together)}"),
            (f" today, {held} contracts held", DIM),
        )

    def action_move(self, by: int) -> None:
        count = len(self._glance.picture.accounts)
        self._chosen = (self._chosen + by) % count if count else 0
        self.show(self._glance)
        box = self.query_one(VerticalScroll)
        box.scroll_to(y=max(2 * self._chosen - box.size.height // 2, 0), animate=False)

    def action_choose(self) -> None:
        accounts = self._glance.picture.accounts
        self.dismiss(accounts[self._chosen].account_id if accounts else None)


def _account(glance: Glance, account: AccountSnapshot, *, is_chosen: bool) -> Iterator[Content]:
    told = verdict(replace(glance, account=account))
    name = Content(account.name or "account").truncate(20, ellipsis=True)
    held = f"{account.contracts_held} held" if account.contracts_held else "flat"
    yield Content.assemble(
        ("▶ " if is_chosen else "  ", "bold $text-accent"),
        name.stylize("bold").pad_right(21 - name.cell_length),
        (f"{account.account_id}  ", DIM),
        (f"{signed(account.total):>11} today", f"bold {colour_of(account.total)}"),
        (f"  {held}, {len(account.orders)} orders", DIM),
    )
    yield Content.assemble(
        "    ", (f"{told.word}  ", f"bold {_COLOURS[told.tone]}"), (told.why, "")
    )
