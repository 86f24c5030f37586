"""The sign-in with the admin password: three tries, then the console ends."""

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input

from risk_manager.admin.password_change import is_password_set, try_password
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.password_setting import set_password
from risk_manager.console.text import Text
from risk_manager.console.windows import HiddenInput
from risk_manager.feed.client import AdminRefused

TRIES = 3
NONE_SET = (
    "No admin password is set: whoever uses this computer may loosen limits (from the next reset) "
    "and lift locks.\n\nEnter sets one, n goes on without."
)


class SignInPage(Page):
    """`left` are the tries that are left."""

    page = "sign_in"
    BINDINGS = bindings_of("sign_in")

    def __init__(self) -> None:
        super().__init__()
        self.left = TRIES
        self._is_set: bool | None = None

    def body(self) -> ComposeResult:
        yield Text(classes="facts")
        yield HiddenInput()

    def on_mount(self) -> None:
        super().on_mount()
        self._show_field(is_shown=False)
        self.read("looking for a password", self._look)

    async def _look(self) -> None:
        with self.doing("looking for the daemon"):
            self._is_set = await is_password_set(self.console.data, self.console.daemon)
        if self._is_set:
            self._say("The admin password is needed.")
            self._show_field(is_shown=True)
        else:
            self._say(NONE_SET)
            self.set_focus(None)
            self.refresh_bindings()

    def _show_field(self, *, is_shown: bool) -> None:
        field = self.query_one(HiddenInput)
        field.display = is_shown
        field.disabled = not is_shown  # so that it cannot take the keys unseen
        if is_shown:
            field.focus()

    def _say(self, text: str) -> None:
        self.query_one(".facts", Text).put(Content(text))

    # --- with a password ---

    @on(Input.Submitted)
    def _submit(self) -> None:
        if self.is_busy:
            return  # what was typed stays until the try before it is judged
        typed = self.query_one(HiddenInput).take()
        if typed:
            self.begin("sign-in", lambda: self._try(typed))

    async def _try(self, password: str) -> None:
        with self.doing("checking"):
            is_right = await self._is_right(password)
        if is_right:
            self.console.has_password = True
            self.console.signed_in()
            return
        self.left -= 1
        if self.left == 0:
            self.console.refuse(f"{TRIES} wrong passwords; nothing was done")
        else:
            tries = "1 try" if self.left == 1 else f"{self.left} tries"
            self.report.fail(f"that is not the admin password; {tries} left")

    async def _is_right(self, password: str) -> bool:
        try:
            await try_password(self.console.data, self.console.daemon, password)
        except AdminRefused as refused:
            if refused.code != "wrong_password":
                raise
            return False
        return True

    # --- without one ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._is_set is False or action not in ("set_first", "go_on")

    def action_set_first(self) -> None:
        self.begin("setting a password", self._set)

    async def _set(self) -> None:
        told = await set_password(self, is_first=True)
        self.console.has_password = True
        self.console.signed_in()
        self.console.notify(told, markup=False)

    def action_go_on(self) -> None:
        self.console.signed_in()

    async def action_back(self) -> None:
        await self.console.action_quit()

    def action_panic(self) -> None:
        self.console.open_page("panic")
