"""The console as one Textual app: sign-in first, then the menu and its pages."""

from collections.abc import Mapping

from risk_manager.console.accounts import AccountsPage
from risk_manager.console.authentication import AuthenticationPage
from risk_manager.console.connection import ConnectionPage
from risk_manager.console.host import Host
from risk_manager.console.lockouts import LockoutsPage
from risk_manager.console.menu import MenuPage
from risk_manager.console.page import Page
from risk_manager.console.panic import PanicPage
from risk_manager.console.rules import RulesPage
from risk_manager.console.service import ServicePage
from risk_manager.console.sign_in import SignInPage
from risk_manager.console.status import StatusPage
from risk_manager.console.whatif.form import QuestionPage

_PAGES: Mapping[str, type[Page]] = {
    page.page: page
    for page in (
        AuthenticationPage,
        AccountsPage,
        RulesPage,
        ServicePage,
        ConnectionPage,
        StatusPage,
        PanicPage,
        QuestionPage,
        LockoutsPage,
    )
}


class Console(Host):
    """The host with its pages."""

    def on_mount(self) -> None:
        self.push_screen(SignInPage())

    def signed_in(self) -> None:
        self.switch_screen(MenuPage())

    def open_page(self, name: str) -> None:
        self.push_screen(_PAGES[name]())
