"""Every key and every tab of the screen, in one table: what acts, the footer and the help read it.

A tab keeps its number whether or not the others exist, so that a hand may learn it.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One pane of the screen. `id` is the id of its widget."""

    number: int
    id: str
    name: str
    short: str  # for narrow terminals
    answers: str  # the question, for the help
    letter: str = ""  # its key, where that is no number

    @property
    def key(self) -> str:
        return self.letter or str(self.number)


TABS = (
    Tab(
        number=1,
        id="overview",
        name="Overview",
        short="Over",
        answers="may I trade, and how far is each limit?",
    ),
    Tab(
        number=2,
        id="pnl",
        name="P&L",
        short="P&L",
        answers="how did the day go, trade by trade, and the days before?",
    ),
    Tab(
        number=3,
        id="positions",
        name="Positions",
        short="Pos",
        answers="what is held, what protects it, and are the prices fresh?",
    ),
    Tab(
        number=4,
        id="rules",
        name="Rules",
        short="Rules",
        answers="what is each rule's limit, and what is left of it?",
    ),
    Tab(
        number=5,
        id="connections",
        name="Connections",
        short="Conn",
        answers="can the guard see and act, and since when not?",
    ),
    Tab(
        number=6,
        id="calendar",
        name="Calendar",
        short="Cal",
        answers="when is my market open, and what differs in the next ten days?",
    ),
    Tab(
        number=7,
        id="lockouts",
        name="Lockouts",
        short="Lock",
        answers="what is locked, why, until when, and who can lift it?",
    ),
    Tab(
        number=8,
        id="enforcement",
        name="Enforcement",
        short="Enforce",
        answers="what was decided, and what came of it?",
    ),
    Tab(
        number=9,
        letter="l",
        id="log",
        name="Log",
        short="Log",
        answers="what has happened, of all accounts, one line each?",
    ),
)

_LISTS = ("lockouts", "enforcement", "log")
_CHOOSING = ("rules", "log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: `press` as Textual names it (several by commas), `shown` as a person reads it."""

    press: str
    shown: str
    action: str
    label: str  # in the footer
    back: str = ""  # the label where every account is shown and a press ends that
    does: str  # in the help
    tabs: tuple[str, ...] = ()  # where it acts; empty: everywhere
    in_footer: bool = True

    @property
    def method(self) -> str:
        """The action without its arguments."""
        return self.action.partition("(")[0]

    def acts_on(self, tab: str) -> bool:
        return not self.tabs or tab in self.tabs


KEYS = (
    *(
        Key(
            press=tab.key,
            shown=tab.key,
            action=f"show_tab('{tab.id}')",
            label=tab.name,
            does=f"{tab.name}: {tab.answers}",
            in_footer=False,  # the tab bar shows it
        )
        for tab in TABS
    ),
    Key(
        press="up,k",
        shown="↑ k",
        action="choose(-1)",
        label="Up",
        does="Rules, Log: choose the one above",
        tabs=_CHOOSING,
        in_footer=False,
    ),
    Key(
        press="down,j",
        shown="↓ j",
        action="choose(1)",
        label="Down",
        does="Rules, Log: choose the one below",
        tabs=_CHOOSING,
        in_footer=False,
    ),
    Key(
        press="pageup",
        shown="PgUp",
        action="choose(-10)",
        label="Ten up",
        does="Rules, Log: ten up",
        tabs=_CHOOSING,
        in_footer=False,
    ),
    Key(
        press="pagedown",
        shown="PgDn",
        action="choose(10)",
        label="Ten down",
        does="Rules, Log: ten down",
        tabs=_CHOOSING,
        in_footer=False,
    ),
    Key(
        press="enter",
        shown="Enter",
        action="explain",
        label="Explain",
        does="Rules: explain the chosen rule; Log: how the chosen incident went, or fold it",
        tabs=_CHOOSING,
    ),
    Key(
        press="f",
        shown="f",
        action="next_rule",
        label="Rule",
        does="Lockouts, Enforcement, Log: only one rule, the next one, or all again",
        tabs=_LISTS,
    ),
    Key(
        press="e",
        shown="e",
        action="every_account",
        label="Every account",
        back="This account",
        does="Lockouts, Enforcement, Log: every account, or only this one again",
        tabs=_LISTS,
    ),
    Key(
        press="b",
        shown="b",
        action="earlier",
        label="Earlier",
        does="P&L, Lockouts, Enforcement, Log: the page or day before; at last the newest again",
        tabs=("pnl", *_LISTS),
    ),
    Key(
        press="a",
        shown="a",
        action="next_account",
        label="Next account",
        does="show the next account",
    ),
    Key(
        press="A",
        shown="A",
        action="all_accounts",
        label="All",
        does="all accounts with their state; choose one",
    ),
    Key(
        press="c",
        shown="c",
        action="copy",
        label="Copy",
        does="copy this tab as text to the clipboard",
    ),
    Key(
        press="p",
        shown="p",
        action="pause",
        label="Pause",
        does="hold the figures still, or go on (the daemon always goes on)",
    ),
    Key(
        press="i",
        shown="i",
        action="clock('clock_in')",
        label="Clock in",
        does="clock in: the daemon notes that you begin (it guards either way)",
        in_footer=False,
    ),
    Key(
        press="o",
        shown="o",
        action="clock('clock_out')",
        label="Clock out",
        does="clock out: the daemon notes that you end",
        in_footer=False,
    ),
    Key(
        press="m",
        shown="m",
        action="mute",
        label="Mute",
        does="no bell and no desktop notification, or both again (notices stay)",
        in_footer=False,
    ),
    Key(
        press="t",
        shown="t",
        action="next_theme",
        label="Theme",
        does="dark, light, or for colour-blind eyes",
        in_footer=False,
    ),
    Key(
        press="x",
        shown="x",
        action="dismiss_alarm",
        label="Seen",
        does="put the alarm at the top away",
        in_footer=False,  # the alarm names it
    ),
    Key(press="question_mark", shown="?", action="help", label="Help", does="show this help"),
    Key(press="q", shown="q", action="quit", label="Quit", does="leave the screen"),
)

SPARED_FIRST = ("copy", "all_accounts", "next_account", "pause")
"""Keys that a footer without room leaves to the help, in this order."""

CLOSE = Key(
    press="escape,enter,question_mark,q",
    shown="Esc",
    action="dismiss",
    label="Close",
    does="close a window such as this one",
)


def explained() -> Iterator[tuple[str, str]]:
    """Each key as a person reads it, and what it does."""
    for key in (*KEYS, CLOSE):
        yield key.shown, key.does


def keys_of(method: str) -> list[Key]:
    return [key for key in KEYS if key.method == method]
