"""Every page and every key of the console, in one table: what acts, the footer, the menus and the
help read it."""

from collections.abc import Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType

MENU = "menu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: `press` as Textual names it (several by commas), `shown` as a person reads it.

    `pages` are where it acts; empty: on every page. An entry stands in the menu of its page, with
    what it does, and not in the footer.
    """

    press: str
    shown: str
    action: str
    label: str
    does: str
    pages: tuple[str, ...] = ()
    is_entry: bool = False
    in_footer: bool = True

    def acts_on(self, page: str) -> bool:
        return not self.pages or page in self.pages


PAGES = {
    "sign_in": "Sign in",
    MENU: "Menu",
    "authentication": "Authentication",
    "accounts": "Accounts",
    "rules": "Rules",
    "rule": "Rule",
    "service": "Service",
    "connection": "Test connection",
    "status": "Status",
    "panic": "Panic",
    "whatif": "What if",
    "whatif_result": "What if: answer",
    "whatif_day": "What if: day",
    "whatif_grid": "What if: grid",
    "lockouts": "Lockouts",
}
"""The heading of each page, by its id."""


def _page_entry(number: str, page: str, does: str) -> Key:
    return Key(
        press=number,
        shown=number,
        action=f"open('{page}')",
        label=PAGES[page],
        does=does,
        pages=(MENU,),
        is_entry=True,
    )


def _question_entry(press: str, action: str, label: str, does: str) -> Key:
    return Key(
        press=press,
        shown=press,
        action=action,
        label=label,
        does=does,
        pages=("whatif",),
        is_entry=True,
    )


def _service_entry(press: str, verb: str, does: str) -> Key:
    return Key(
        press=press,
        shown=press,
        action=f"service('{verb}')",
        label=verb.capitalize(),
        does=does,
        pages=("service",),
        is_entry=True,
    )


KEYS = (
    _page_entry("1", "authentication", "the gateway's login, and the admin password"),
    _page_entry("2", "accounts", "which accounts are guarded"),
    _page_entry("3", "rules", "each limit in words; change it; see what waits"),
    _page_entry("4", "service", "the service; the daemon's streams, login, day, files"),
    _page_entry("5", "connection", "the gateway, the daemon, and everything else"),
    _page_entry("6", "status", "how the daemon and its accounts are now"),
    _page_entry("7", "panic", "close every position and cancel every order, now"),
    _page_entry("8", "lockouts", "each lock in force; lift one that may be lifted"),
    _page_entry("9", "whatif", "past days judged again under other limits"),
    Key(
        press="0,q",
        shown="0",
        action="app.quit",
        label="Leave",
        does="leave the console; the daemon goes on",
        pages=(MENU,),
        is_entry=True,
    ),
    Key(
        press="enter",
        shown="Enter",
        action="set_first",
        label="Set one",
        does="set the first admin password, where none is set",
        pages=("sign_in",),
    ),
    Key(
        press="n",
        shown="n",
        action="go_on",
        label="Go on without",
        does="go on without a password, where none is set",
        pages=("sign_in",),
    ),
    Key(
        press="ctrl+p",
        shown="^p",
        action="panic",
        label="Panic",
        does="panic, for which no password is needed",
        pages=("sign_in",),
    ),
    Key(
        press="s",
        shown="s",
        action="set_login",
        label="Set the login",
        does="user name and API key; tried before they are kept",
        pages=("authentication",),
        is_entry=True,
    ),
    Key(
        press="t",
        shown="t",
        action="test_login",
        label="Test the login",
        does="log in with what is kept; list the login's accounts",
        pages=("authentication",),
        is_entry=True,
    ),
    Key(
        press="r",
        shown="r",
        action="remove_key",
        label="Remove the key",
        does="only while no daemon runs",
        pages=("authentication",),
        is_entry=True,
    ),
    Key(
        press="p",
        shown="p",
        action="change_password",
        label="Admin password",
        does="set it, or change it",
        pages=("authentication",),
        is_entry=True,
    ),
    Key(
        press="a",
        shown="a",
        action="add",
        label="Add",
        does="add an account",
        pages=("accounts",),
    ),
    Key(
        press="enter,e",
        shown="e",
        action="edit",
        label="Edit",
        does="change the nickname or the number of the chosen account",
        pages=("accounts",),
    ),
    Key(
        press="r,delete",
        shown="r",
        action="remove",
        label="Remove",
        does="take the chosen account out of accounts.yaml",
        pages=("accounts",),
    ),
    Key(
        press="g",
        shown="g",
        action="ask_gateway",
        label="Gateway",
        does="log in, and show the accounts of the login as well",
        pages=("accounts",),
    ),
    Key(
        press="enter",
        shown="Enter",
        action="open_rule",
        label="Open",
        does="explain the chosen rule, and change its values",
        pages=("rules",),
    ),
    Key(
        press="enter,s",
        shown="Enter",
        action="set_value",
        label="Set",
        does="change the chosen value",
        pages=("rule",),
    ),
    Key(
        press="u",
        shown="u",
        action="unset_value",
        label="Unset",
        does="take the chosen value out of the file, so that its default counts",
        pages=("rule",),
    ),
    Key(
        press="n",
        shown="n",
        action="set_key",
        label="Name",
        does="set a key by its name, as limits.MNQ",
        pages=("rule",),
        in_footer=False,
    ),
    Key(
        press="d",
        shown="d",
        action="shipped",
        label="As shipped",
        does="give the rule the values as shipped",
        pages=("rule",),
        in_footer=False,
    ),
    Key(
        press="o",
        shown="o",
        action="switch(True)",
        label="On",
        does="enable the chosen account or rule",
        pages=("accounts", "rules", "rule"),
    ),
    Key(
        press="f",
        shown="f",
        action="switch(False)",
        label="Off",
        does="disable the chosen account or rule",
        pages=("accounts", "rules", "rule"),
    ),
    Key(
        press="a",
        shown="a",
        action="next_account",
        label="Account",
        does="the rules of all accounts, or of one: changes are then for it alone",
        pages=("rules",),
    ),
    Key(
        press="w",
        shown="w",
        action="waiting",
        label="Waits",
        does="what waits for the reset",
        pages=("rules", "rule"),
    ),
    Key(
        press="c",
        shown="c",
        action="cancel_waiting",
        label="Take back",
        does="take back what waits for the reset",
        pages=("rules", "rule"),
    ),
    _service_entry("i", "install", "install the daemon as a service, or update it"),
    _service_entry("u", "uninstall", "remove the service; files and data stay"),
    _service_entry("g", "start", "start the installed service"),
    _service_entry("x", "stop", "stop the service; nothing is enforced then"),
    _service_entry("a", "restart", "stop and start the service"),
    Key(
        press="r",
        shown="r",
        action="reconnect",
        label="Reconnect",
        does="open the gateway's streams anew",
        pages=("service",),
        is_entry=True,
    ),
    Key(
        press="s",
        shown="s",
        action="drop_session",
        label="Drop session",
        does="log in anew, and make the old token worthless",
        pages=("service",),
        is_entry=True,
    ),
    Key(
        press="d",
        shown="d",
        action="reset_day",
        label="Day reset",
        does="make a reset that is due; none is made early",
        pages=("service",),
        is_entry=True,
    ),
    Key(
        press="c",
        shown="c",
        action="apply_files",
        label="Read the files",
        does="show what was edited by hand; have it read",
        pages=("service",),
        is_entry=True,
    ),
    Key(
        press="r,enter",
        shown="r",
        action="again",
        label="Again",
        does="test again",
        pages=("connection",),
    ),
    Key(
        press="d",
        shown="d",
        action="doctor",
        label="Doctor",
        does="check everything that can be set up wrong",
        pages=("connection",),
    ),
    Key(
        press="r",
        shown="r",
        action="again",
        label="Refresh",
        does="read it again now (it is read every two seconds)",
        pages=("status",),
    ),
    Key(
        press="enter,l",
        shown="l",
        action="lift",
        label="Lift",
        does="lift the chosen lock, where an administrator may, with a reason",
        pages=("lockouts",),
    ),
    Key(
        press="r",
        shown="r",
        action="again",
        label="Refresh",
        does="read the locks again",
        pages=("lockouts",),
    ),
    Key(
        press="enter,p",
        shown="Enter",
        action="panic",
        label="Panic",
        does="close every position and cancel every order, after one question",
        pages=("panic",),
    ),
    _question_entry("r", "judge", "Judge", "judge the days, and show what would have changed"),
    _question_entry("d", "choose_days", "Days", "from which trading date to which"),
    _question_entry("c", "choose_limits", "Limits", "the configuration folder that is tried"),
    _question_entry("v", "try_value", "Value on trial", "another value for one limit; no file"),
    _question_entry("g", "choose_grid", "Grid", "one limit at several values"),
    _question_entry("a", "choose_account", "Account", "one account alone"),
    _question_entry("f", "choose_file", "CSV file", "a file of executions, not the journal"),
    _question_entry("s", "choose_slippage", "Slippage", "ticks by which a close fills worse"),
    Key(
        press="enter",
        shown="Enter",
        action="open_day",
        label="Day",
        does="the round turns of the chosen day, with their marks",
        pages=("whatif_result",),
    ),
    Key(
        press="g",
        shown="g",
        action="grid",
        label="Grid",
        does="the curve of the limit that was tried at several values",
        pages=("whatif_result",),
    ),
    Key(
        press="n",
        shown="n",
        action="notes",
        label="Notes",
        does="what limits the meaning of the answer",
        pages=("whatif_result",),
    ),
    Key(
        press="x",
        shown="x",
        action="stop",
        label="Stop",
        does="stop the judging that is under way",
        pages=("whatif_result",),
    ),
    Key(
        press="r",
        shown="r",
        action="again",
        label="Again",
        does="judge the days again",
        pages=("whatif_result",),
    ),
    Key(
        press="enter",
        shown="Enter",
        action="do_chosen",
        label="Choose",
        does="do the chosen entry",
        pages=(MENU, "authentication", "service", "whatif"),
    ),
    Key(
        press="escape",
        shown="Esc",
        action="back",
        label="Leave",
        does="leave the console",
        pages=("sign_in",),
    ),
    Key(
        press="escape",
        shown="Esc",
        action="back",
        label="Back",
        does="go back one page; what is not confirmed yet is dropped",
        pages=tuple(page for page in PAGES if page not in ("sign_in", MENU)),
    ),
    Key(
        press="T",
        shown="T",
        action="app.next_theme",
        label="Theme",
        does="dark, light, or for colour-blind eyes",
        in_footer=False,
    ),
    Key(press="question_mark,f1", shown="?", action="help", label="Help", does="show this help"),
)


def bindings_of(page: str) -> list[BindingType]:
    """Return the bindings of a page, in the order of the table."""
    return [
        Binding(
            k.press, k.action, k.label, key_display=k.shown, show=k.in_footer and not k.is_entry
        )
        for k in KEYS
        if k.acts_on(page)
    ]


def entries_of(page: str) -> list[Key]:
    """Return the entries of the menu of a page."""
    return [key for key in KEYS if key.is_entry and key.acts_on(page)]


def explained(page: str) -> Iterator[tuple[str, str]]:
    """Yield each key that acts on a page as a person reads it, and what it does."""
    for key in KEYS:
        if key.acts_on(page):
            yield key.shown, f"{key.label}: {key.does}" if key.is_entry else key.does
