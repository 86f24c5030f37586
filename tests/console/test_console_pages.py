"""Each page of the console without a daemon: edits of the files, and each thing that fails."""

import os
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from console_screen import UTF_8, Seen, console, menu

from risk_manager.console.keys import KEYS, MENU, PAGES, bindings_of, entries_of, explained
from risk_manager.console.page import Page

KEY = "practice-key-0123456789"
UNREACHABLE = """\
gateway:
  kind: projectx
  api_url: http://127.0.0.1:9/api
  user_hub_url: http://127.0.0.1:9/hubs/user
  market_hub_url: http://127.0.0.1:9/hubs/market
  username: somebody
  api_key: file:gateway.key
feed: {port: 0}
"""
TWO = "# Mine\naccounts:\n  - id: 101\n    nickname: combine  # the funded one\n  - id: 102\n"


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    return ConfigFolder(tmp_path / "config")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def key_file(config: ConfigFolder, mode: int = 0o600) -> Path:
    path = config.path / "gateway.key"
    path.write_text(KEY, encoding="utf-8")
    path.chmod(mode)
    return path


# --- the table of keys ----------------------------------------------------------------------------


def test_each_page_has_one_meaning_for_a_key() -> None:
    for page in PAGES:
        pressed = [p for key in KEYS if key.acts_on(page) for p in key.press.split(",")]
        assert len(pressed) == len(set(pressed)), page


async def test_each_key_of_the_table_has_its_action_and_stands_in_the_help(
    config: ConfigFolder, data: Path
) -> None:
    async with menu(config.path, data) as seen:
        for entry in entries_of(MENU)[:-1]:
            await seen.press(entry.press)
            await seen.shows(entry.label)
            page = seen.app.screen
            assert isinstance(page, Page)
            for key in (k for k in KEYS if k.acts_on(page.page)):
                owner, _, name = key.action.partition("(")[0].rpartition(".")
                assert hasattr(seen.app if owner == "app" else page, f"action_{name}"), key
            assert len(bindings_of(page.page)) == len(list(explained(page.page)))
            await seen.press("question_mark")
            await seen.shows(f"{page.heading}: keys", "go back one page")
            await seen.press("escape", "escape")
            await seen.shows("Leave")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_menu_is_whole_and_its_entries_are_chosen_by_arrow_or_number(
    config: ConfigFolder, data: Path, size: tuple[int, int]
) -> None:
    async with menu(config.path, data, size) as seen:
        words = await seen.shows("no daemon has run")
        for entry in entries_of(MENU):
            assert f"{entry.label} {entry.does}" in words
        await seen.press("down", "enter")
        await seen.shows("Accounts", "combine-50k")
        await seen.press("escape")
        await seen.shows("Leave")
        await seen.press("0")
        assert await seen.ends() == (0, "")


async def test_a_terminal_that_shows_only_ascii_gets_only_ascii(
    config: ConfigFolder, data: Path
) -> None:
    async with console(config.path, data, environ={"LANG": "C", "TERM": "vt100"}) as seen:
        await seen.shows("No admin password is set")
        await seen.press("n")
        for entry in entries_of(MENU)[:-1]:
            await seen.shows("Menu")
            await seen.press(entry.press)
            await seen.shows(entry.label)
            assert seen.text.isascii()
            await seen.press("escape")


async def test_without_colour_the_chosen_line_and_a_failure_have_a_sign(
    config: ConfigFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(config.path, data, environ=UTF_8) as seen:
        await seen.shows("No admin password is set")
        await seen.press("n")
        await seen.shows("> 1 Authentication")
        await seen.press("4", "r", "y")
        await seen.shows("FAILED no daemon has run")


# --- authentication -------------------------------------------------------------------------------


async def test_a_gateway_that_is_not_reached_is_said_and_nothing_is_kept(
    config: ConfigFolder, data: Path
) -> None:
    config.write("settings.yaml", UNREACHABLE)
    key_file(config)
    async with menu(config.path, data) as seen:
        await seen.press("1")
        await seen.shows("user name somebody", "password NOT set")
        await seen.press("t")
        await seen.shows("FAILED the gateway cannot be asked: 127.0.0.1")
        await seen.press("s")
        await seen.shows("User name of the gateway")
        await seen.type("somebody.else")
        await seen.shows("Where the key is kept")
        await seen.type("file:other.key")
        await seen.shows("API key (not shown)")
        await seen.type("secret-of-somebody")
        await seen.shows("FAILED the gateway cannot be asked")
        assert "secret-of-somebody" not in seen.text
    assert not (config.path / "other.key").exists()
    assert (config.path / "settings.yaml").read_text() == UNREACHABLE


async def test_a_key_pasted_as_its_place_is_refused_and_not_repeated(
    config: ConfigFolder, data: Path
) -> None:
    async with menu(config.path, data) as seen:
        await seen.press("1", "s")
        await seen.shows("User name of the gateway")
        await seen.type("somebody")
        await seen.shows("Where the key is kept")
        await seen.type("file:")
        await seen.shows("this is a place, never the key")


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
async def test_a_key_file_that_others_may_read_is_refused_with_the_fix(
    config: ConfigFolder, data: Path
) -> None:
    config.write("settings.yaml", UNREACHABLE)
    key_file(config, 0o644)
    async with menu(config.path, data) as seen:
        await seen.press("1", "t")
        words = await seen.shows("FAILED", "chmod 600")
        assert KEY not in words


async def test_the_key_is_removed_only_once_delete_is_typed(
    config: ConfigFolder, data: Path
) -> None:
    config.write("settings.yaml", UNREACHABLE)
    path = key_file(config)
    async with menu(config.path, data) as seen:
        await seen.press("1", "r")
        await seen.shows("Without it no daemon can start", "type DELETE")
        await seen.type("yes")
        await seen.shows("that is not DELETE")
        assert path.exists()
        await seen.press("escape")
        await seen.shows("nothing was done")
        await seen.press("r")
        await seen.shows("type DELETE")
        await seen.type("DELETE")
        await seen.shows("removed: file:gateway.key")
    assert not path.exists()


# --- accounts -------------------------------------------------------------------------------------


async def test_accounts_are_added_renamed_switched_and_removed_and_comments_stay(
    config: ConfigFolder, data: Path
) -> None:
    config.write("accounts.yaml", TWO)
    async with menu(config.path, data) as seen:
        await seen.press("2")
        await seen.shows("101 combine", "102")
        await seen.press("a")
        await seen.shows("Number of the account")
        await seen.type("x7")
        await seen.shows("an account's number has only digits")
        await seen.type("777")
        await seen.shows("Nickname")
        await seen.type("test")
        await seen.shows("Write this?", "+ - id: 777", "tighter, from the daemon's next start")
        await seen.press("y")
        await seen.shows("account 777 is guarded from the daemon's next start", "> 101")
        await seen.press("down", "f")
        await seen.shows("Write this?", "From the next reset on account 102 is not guarded")
        await seen.press("y")
        await seen.shows("account 102: disabled, not guarded")
        await seen.press("o")
        await seen.shows("Write this?")
        await seen.press("n")
        await seen.shows("nothing was done")
        await seen.press("e")
        await seen.shows("Nickname of 102")
        await seen.type("mine")
        await seen.shows("Number of 102")
        await seen.press("enter")
        await seen.shows("Write this?", "+ nickname: mine")
        await seen.press("y")
        await seen.shows("102 mine")
        await seen.press("r")
        await seen.shows("type DELETE")
        await seen.type("DELETE")
        await seen.shows("account 102 is not guarded")
        assert "mine" not in seen.text
    text = (config.path / "accounts.yaml").read_text(encoding="utf-8")
    assert "# Mine" in text
    assert "# the funded one" in text
    assert [a.id for a in config.load().accounts.accounts] == [101, 777]


async def test_an_edit_that_makes_no_sense_is_one_line(config: ConfigFolder, data: Path) -> None:
    config.write("accounts.yaml", "accounts: [{id: 101}]\n")
    async with menu(config.path, data) as seen:
        await seen.press("2")
        await seen.shows("> 101")
        await seen.press("r")
        await seen.shows("FAILED 101 is the only account in accounts.yaml")
        await seen.press("o")
        await seen.shows("nothing to change: it is so already")


async def test_a_broken_file_is_one_line_with_its_place_on_each_page(
    config: ConfigFolder, data: Path
) -> None:
    config.write("risk_config.yaml", "version: 1\nrules: [{rule: max_contracts, limit: [")
    async with menu(config.path, data) as seen:
        for number in "23":
            await seen.press(number)
            await seen.shows("FAILED risk_config.yaml:2:")
            await seen.press("escape")
            await seen.shows("Leave")


# --- the other pages, where no daemon runs --------------------------------------------------------


@pytest.mark.parametrize("key", ["r", "s"])
async def test_orders_to_a_daemon_that_does_not_run_say_how_to_start_it(
    config: ConfigFolder, data: Path, key: str
) -> None:
    async with menu(config.path, data) as seen:
        await seen.press("4")
        await seen.shows("no daemon has run in", "Reconnect")
        await seen.press(key, "y")
        await seen.shows("FAILED no daemon has run in", "python -m risk_manager run")


async def test_the_tests_name_what_failed_and_the_doctor_gives_the_fix(
    config: ConfigFolder, data: Path
) -> None:
    config.write("settings.yaml", UNREACHABLE)
    key_file(config)
    async with menu(config.path, data) as seen:
        await seen.press("5")
        await seen.shows("FAILED gateway login, daemon, feed, daemon, admin channel")
        await seen.press("d")
        await seen.shows("FAILED 1 of", "nothing listens at 127.0.0.1:9")


async def test_status_without_a_daemon(config: ConfigFolder, data: Path) -> None:
    async with menu(config.path, data) as seen:
        await seen.press("6")
        await seen.shows("no daemon has run in", "nothing waits for the reset")


async def test_a_panic_that_reaches_nothing_says_so_also_before_the_sign_in(
    config: ConfigFolder, data: Path
) -> None:
    async with console(config.path, data) as seen:
        await seen.shows("No admin password is set")
        await seen.press("ctrl+p")
        await seen.shows("Closes every position")
        await seen.press("enter")
        await seen.shows("Close everything in all accounts?")
        await seen.press("n")
        await seen.shows("nothing was done")
        await seen.press("enter")
        await seen.shows("Close everything in all accounts?")
        await seen.press("y")
        await seen.shows("FAILED the practice gateway runs inside the daemon")
        await seen.press("escape")
        await seen.shows("Sign in", "No admin password is set")


# --- rules ----------------------------------------------------------------------------------------


async def a_rule(seen: Seen, place: int) -> None:
    await seen.press("3")
    await seen.shows("RULE-001")
    await seen.press(*["down"] * place, "enter")


async def test_a_rule_is_explained_in_sentences_and_set_for_all_or_for_one_account(
    config: ConfigFolder, data: Path
) -> None:
    async with menu(config.path, data) as seen:
        await seen.press("3")
        await seen.shows("changes are for every account", "At most 5 contracts")
        await seen.press("a")
        await seen.shows("as account 101 has them; changes are for it alone")
        await seen.press("enter")
        await seen.shows("max_contracts, account 101 alone", "At most 5 contracts", "> limit 5")
        await seen.press("enter")
        await seen.shows("limit of max_contracts", "now: 5")
        await seen.type("3")
        await seen.shows("Write this?", "no daemon has run with this data folder")
        await seen.press("y")
        await seen.shows("At most 3 contracts", "the daemon does not run", "> limit 3")
        await seen.press("u")
        await seen.shows("Write this?")
        await seen.press("y")
        await seen.shows("At most 5 contracts")
        await seen.press("n")
        await seen.shows("Key")
        await seen.type("lockout")
        await seen.shows("lockout of max_contracts")
        await seen.type("30m")
        await seen.shows("Write this?")
        await seen.press("y")
        await seen.shows("The account is locked for 30m")
    assert config.load().overridden[101]["max_contracts"].model_dump()["lockout"] is not None


async def test_a_value_that_is_not_valid_is_refused_before_anything_is_written(
    config: ConfigFolder, data: Path
) -> None:
    before = (config.path / "risk_config.yaml").read_bytes()
    async with menu(config.path, data) as seen:
        await a_rule(seen, 0)
        await seen.shows("> limit 5")
        await seen.press("enter")
        await seen.shows("limit of max_contracts")
        await seen.type("[1")
        await seen.shows("is not readable as a YAML value")
        await seen.type("-5")
        await seen.shows("FAILED nothing was written, this would not be valid")
    assert (config.path / "risk_config.yaml").read_bytes() == before


async def test_a_rule_is_switched_off_and_gets_its_shipped_values_back(
    config: ConfigFolder, data: Path
) -> None:
    async with menu(config.path, data) as seen:
        await seen.press("3")
        await seen.shows("RULE-001")
        await seen.press("f")
        await seen.shows("Write this?", "+ enabled: false")
        await seen.press("y")
        await seen.shows("max_contracts [disabled]")
        await seen.press("enter")
        await seen.shows("Contracts held (RULE-001) [disabled]")
        await seen.press("d")
        await seen.shows("Write this?", "- enabled: false")
        await seen.press("y")
        await seen.shows("enabled yes (default)")
        await seen.press("c")
        await seen.shows("nothing waits for the reset")
        await seen.press("w")
        await seen.shows("Waits for the reset", "nothing waits for the reset")
