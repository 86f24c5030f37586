"""`init` as a process of its own: by options, at a terminal, and against the practice gateway."""

import asyncio
import contextlib
import os
import pty
import stat
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, still_gateway, until
from said_secrets import outputs

from risk_manager.admin.first_login import proposed_preset
from risk_manager.admin.first_setup import nicknames
from risk_manager.cli.exits import Exit
from risk_manager.domain.records import AccountRecord
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings import load

KEY = "planted-canary-key-0816"
COMBINE = "topstep-50k-combine"
FILES = ("settings.yaml", "accounts.yaml", "risk_config.yaml")
NO_SESSION = ("--without", "session")  # so that the hour of the test does not matter
LIMITS = ("--preset", COMBINE, *NO_SESSION, "--daily-loss", "400")
PRACTICE = ("init", "--gateway", "practice", "--account", "101", *LIMITS, "--mode", "enforce")

wire = pytest.mark.wire
terminal = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway(api_key=KEY) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, gateway: PracticeGateway) -> DaemonProcess:
    """An empty folder, and no login in the environment."""
    made = DaemonProcess(tmp_path).point_at(
        gateway, PROJECT_X_USERNAME="", PROJECT_X_API_KEY="", RISK_MANAGER_FEED__PORT="0"
    )
    for name in FILES:
        (made.config / name).unlink()
    return made


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonProcess:
    """An empty folder, for the practice gateway inside the daemon."""
    monkeypatch.setenv("RISK_MANAGER_FEED__PORT", "0")
    return DaemonProcess(tmp_path)


def at(gateway: PracticeGateway) -> tuple[str, ...]:
    return (
        *("init", "--gateway", "topstepx", "--api-url", gateway.api_url),
        *("--user-hub-url", gateway.user_hub_url, "--market-hub-url", gateway.market_hub_url),
    )


def by_options(gateway: PracticeGateway) -> tuple[str, ...]:
    login = ("--username", "practice", "--store", "file:gateway.key", "--key-stdin")
    return (*at(gateway), *login, "--account", "101", *LIMITS, "--mode", "enforce", "--yes")


# --- by options -----------------------------------------------------------------------------------


@wire
async def test_from_an_empty_folder_to_a_guarded_account(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    ended = await desk.command(*by_options(gateway), stdin=KEY + "\n")
    assert ended.code == Exit.DONE, ended
    told = ended.out.splitlines()
    assert "logged in: 2 accounts" in told
    assert any("At a loss of $1,000.00 in the trading day (open positions" in x for x in told)
    assert any("At a loss of $400.00 in the trading day (open positions" in x for x in told)
    assert "  - session: left out" in told
    assert "ok    gateway: logged in; 2 accounts" in told
    assert told[-1] == f"Next: risk-manager run --config {desk.config} --data {desk.data}"
    texts = {name: (desk.config / name).read_text(encoding="utf-8") for name in FILES}
    assert "  kind: projectx\n" in texts["settings.yaml"]
    assert "  api_key: file:gateway.key\n" in texts["settings.yaml"]
    assert all(text.startswith("# ") for text in texts.values())  # with comments
    assert stat.S_IMODE((desk.config / "gateway.key").stat().st_mode) == 0o600
    assert KEY not in ended.out + ended.err + "".join(texts.values())

    rules = {rule.id: rule for rule in load(desk.config, {}).rules_of(ACCOUNT)}
    assert rules["daily_realized_loss"].model_dump()["limit"] == 400
    assert f"{COMBINE}.daily_loss" not in rules  # 400 is tighter
    assert f"{COMBINE}.most_contracts" in rules
    async with desk.running():
        account = await desk.account()
        assert account["mode"] == "enforce"
        buy(gateway.exchange, "ES", 6)
        es = gateway.exchange.contract_of("ES").id
        await until(lambda: gateway.exchange.net(ACCOUNT, es) == 5, "cut to the five minis")
        again = await desk.command(*by_options(gateway), stdin=KEY + "\n")
        assert again.code == Exit.REFUSED
        assert "a daemon runs with the data folder" in again.err


ANSWERS = {
    "--gateway": ("topstepx",),
    "--username": ("practice",),
    "--store": ("file:gateway.key",),
    "--key-stdin": (),
    "--account": ("101",),
    "--preset": (COMBINE,),
    "--daily-loss": ("none",),
    "--mode": ("shadow",),
    "--yes": (),
}


@wire
@pytest.mark.parametrize("missing", ANSWERS)
async def test_without_a_terminal_a_missing_answer_is_named(
    desk: DaemonProcess, gateway: PracticeGateway, missing: str
) -> None:
    words = [w for k, v in ANSWERS.items() if k != missing for w in (k, *v)]
    ended = await desk.command("init", *at(gateway)[3:], *words, stdin=KEY + "\n")
    assert ended.code == Exit.USAGE, ended
    assert f"nobody can be asked here; give {missing}" in ended.err
    assert not any((desk.config / name).exists() for name in FILES)
    assert not (desk.config / "gateway.key").exists()


@wire
@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (("--account", "999"), Exit.USAGE, "is not an account of this login; it has 101, 102"),
        (("--preset", "topstep-51k"), Exit.USAGE, "'topstep-51k' is none of topstep-50k-combine"),
        (("--preset", f"102={COMBINE}"), Exit.USAGE, "'102' is not an account that is guarded"),
        (("--without", "dayly"), Exit.USAGE, "no preset here has a line dayly"),
        (("--daily-loss", "-5"), Exit.USAGE, "'-5' is not an amount"),
        (("--daily-loss", "1.005"), Exit.USAGE, "'1.005' is not an amount"),
        (("--store", KEY), Exit.USAGE, "a place, never the key itself"),
        (("--api-url", "http://example.com/api"), Exit.USAGE, "would send the key unprotected"),
    ],
)
async def test_an_answer_that_cannot_be_meant_is_refused(
    desk: DaemonProcess,
    gateway: PracticeGateway,
    change: tuple[str, str],
    code: Exit,
    told: str,
) -> None:
    ended = await desk.command(*by_options(gateway), *change, stdin=KEY + "\n")
    assert (ended.code, told in ended.err) == (code, True), ended
    assert KEY not in ended.out + ended.err
    assert not any((desk.config / name).exists() for name in FILES)


@wire
async def test_a_wrong_key_writes_nothing(desk: DaemonProcess, gateway: PracticeGateway) -> None:
    ended = await desk.command(*by_options(gateway), stdin="planted-wrong-key\n")
    assert ended.code == Exit.CREDENTIALS
    assert "the user name or the API key is wrong; nothing was written" in ended.err
    assert list(desk.config.iterdir()) == []


@wire
async def test_a_gateway_that_does_not_answer_writes_nothing(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    gateway.faults.add("/Auth/loginKey", status=503)
    ended = await desk.command(*by_options(gateway), stdin=KEY + "\n")
    assert ended.code == Exit.REFUSED
    assert "the login cannot be tried" in ended.err
    assert list(desk.config.iterdir()) == []


@wire
async def test_with_the_key_in_the_environment_nothing_of_it_is_kept(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    words = (*at(gateway), "--store", "env:PROJECT_X_API_KEY", "--account", "all", *LIMITS)
    words = (*words, "--mode", "shadow", "--yes")
    unset = await desk.command(*words, PROJECT_X_USERNAME="practice")
    assert unset.code == Exit.CREDENTIALS
    assert "the environment variable PROJECT_X_API_KEY is not set" in unset.err
    ended = await desk.command(*words, PROJECT_X_USERNAME="practice", PROJECT_X_API_KEY=KEY)
    assert ended.code == Exit.DONE, ended
    assert "(where PROJECT_X_API_KEY and PROJECT_X_USERNAME are set)" in ended.out
    found = load(desk.config, {})
    assert str(found.settings.gateway.username) == "env:PROJECT_X_USERNAME"
    assert [account.id for account in found.accounts.enabled] == [101, 102]
    assert found.mode_of(ACCOUNT) == "shadow"
    assert not (desk.config / "gateway.key").exists()
    assert not any(KEY in path.read_text() for path in desk.config.iterdir())


@wire
async def test_each_account_has_the_plan_that_was_chosen_for_it(alone: DaemonProcess) -> None:
    words = ("init", "--gateway", "practice", "--account", "101", "--account", "102")
    plans = ("--preset", COMBINE, "--preset", "102=none", "--daily-loss", "none")
    ended = await alone.command(*words, *plans, "--mode", "enforce", "--yes")
    assert ended.code == Exit.DONE, ended
    assert "Mode: enforce" in ended.out
    found = load(alone.config, {})
    assert {rule.id for rule in found.rules_of(102)} == {"auth_loss_guard"}
    assert f"{COMBINE}.session" in {rule.id for rule in found.rules_of(101)}


# --- files that are there already -----------------------------------------------------------------


@wire
async def test_files_that_are_there_are_shown_as_a_difference(alone: DaemonProcess) -> None:
    assert (await alone.command(*PRACTICE, "--yes")).code == Exit.DONE
    settings = alone.config / "settings.yaml"
    own = settings.read_text(encoding="utf-8") + "metrics: {port: 9464}  # mine\n"
    settings.write_text(own, encoding="utf-8")
    before = {name: (alone.config / name).read_bytes() for name in FILES}

    other = [*PRACTICE[:-3], "600", *PRACTICE[-2:]]
    refused = await alone.command(*other)
    assert refused.code == Exit.USAGE  # nobody says yes
    assert "risk_config.yaml: is REPLACED, with this difference:" in refused.out
    assert "-    limit: 400\n+    limit: 600\n" in refused.out
    assert "accounts.yaml: stays as it is" in refused.out
    assert {name: (alone.config / name).read_bytes() for name in FILES} == before

    ended = await alone.command(*other, "--yes")
    assert ended.code == Exit.DONE, ended
    assert "+    limit: 600" in ended.out
    assert settings.read_text(encoding="utf-8") == own  # what is yours in it stays
    assert "    limit: 600\n" in (alone.config / "risk_config.yaml").read_text(encoding="utf-8")


@wire
async def test_a_file_that_cannot_be_used_is_not_replaced(alone: DaemonProcess) -> None:
    broken = alone.config / "settings.yaml"
    broken.write_bytes(b"\xff\xfe\x00")
    ended = await alone.command(*PRACTICE, "--yes")
    assert ended.code == Exit.CONFIGURATION
    assert "settings.yaml is not UTF-8 text" in ended.err
    assert [path.name for path in alone.config.iterdir()] == ["settings.yaml"]


# --- at a terminal --------------------------------------------------------------------------------


class Person:
    """Somebody at a terminal: reads what is asked, and types an answer."""

    def __init__(self) -> None:
        self.screen, self.theirs = pty.openpty()
        os.set_blocking(self.screen, False)
        self.shown = b""
        self._read_up_to = 0

    async def answers(self, question: str, answer: str) -> None:
        await until(lambda: self._is_asked(question), question)
        os.write(self.screen, answer.encode() + b"\n")

    def _is_asked(self, question: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            self.shown += os.read(self.screen, 65536)
        outputs.search("a terminal", self.shown)
        place = self.shown.find(question.encode(), self._read_up_to)
        if place < 0:
            return False
        self._read_up_to = place + len(question)
        return True

    async def leaves(self, asking: "asyncio.Task[object]") -> None:
        """Read to the end, so that the process does not wait for a reader."""
        await until(lambda: self._is_asked("\x00") or asking.done(), "the end")
        self._is_asked("\x00")
        os.close(self.theirs)
        os.close(self.screen)


@wire
@terminal
async def test_a_person_is_led_from_nothing_to_the_next_command(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    person = Person()
    asking = asyncio.create_task(
        desk.command("init", *at(gateway)[3:], terminal=person.theirs), name="init"
    )
    await person.answers("Where are your accounts?", "3")  # there is no third one
    await person.answers("'3' is none of topstepx, practice", "1")
    await person.answers("Where shall the API key be kept?", "")
    await person.answers("User name", "practice")
    await person.answers("API key (not shown)", "planted-wrong-key")
    await person.answers("try again\r\nAPI key (not shown)", KEY)
    await person.answers("101 (PRACTICE-50K-1): balance 50,000.00", "101")
    await person.answers(f"Number or word [{COMBINE}]", "")
    await person.answers("daily_loss is optional", "yes")
    await person.answers("At which loss is the day over (USD, or none) [500]", "350")
    await person.answers("Shall the limits be enforced?", "enforce")
    await person.answers("Write this?", "yes")
    ended = await asking
    await person.leaves(asking)
    assert ended.code == Exit.DONE, person.shown.decode()
    assert b"Next: risk-manager run" in person.shown
    assert b"At a loss of $350.00" in person.shown
    assert KEY.encode() not in person.shown
    assert load(desk.config, {}).mode_of(ACCOUNT) == "enforce"


@wire
@terminal
async def test_a_person_who_says_no_has_changed_nothing(alone: DaemonProcess) -> None:
    person = Person()
    asking = asyncio.create_task(alone.command(*PRACTICE, terminal=person.theirs), name="init")
    await person.answers("Write this?", "")
    ended = await asking
    await person.leaves(asking)
    assert ended.code == Exit.REFUSED
    assert b"nothing was written" in person.shown
    assert list(alone.config.iterdir()) == []


# --- what is proposed -----------------------------------------------------------------------------


def account(name: str, balance: str | None, *, simulated: bool | None = True) -> AccountRecord:
    money = None if balance is None else Decimal(balance)
    return AccountRecord(id=1, name=name, balance=money, simulated=simulated)


@pytest.mark.parametrize(
    ("record", "preset"),
    [
        (account("50KTC-V2-1234-5678", "50210.40"), "topstep-50k-combine"),
        (account("100KTC-V2-1234", "97000"), "topstep-100k-combine"),
        (account("150KTC-V2-1234", "153000"), "topstep-150k-combine"),
        (account("EXPRESS-100K-17", "1200"), "topstep-100k-express"),
        (account("50K-17", "-350"), "topstep-50k-express"),
        (account("150K-LIVE", "12000", simulated=False), "topstep-150k-live"),
        (account("S1NOV271234", "49000"), "topstep-50k-combine"),
        (account("S1NOV271234", "1200"), None),
        (account("250KTC-1", "250000"), None),
        (account("1050K", None), None),
        (account("no name", None), None),
    ],
)
def test_a_preset_is_proposed_by_name_state_and_balance(
    record: AccountRecord, preset: str | None
) -> None:
    assert proposed_preset(record) == preset


def test_names_of_the_gateway_become_nicknames_that_a_file_can_hold() -> None:
    given = ["50K: #1", "it's\nnew", "50K: #1", "x" * 99]
    assert nicknames(given) == ["50K: #1", "it'snew", "", "x" * 64]
