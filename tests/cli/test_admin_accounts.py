"""`admin accounts` as a process of its own: edits that keep comments and loosen nothing early."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, Ended, buy, still_gateway, until

from risk_manager.cli.exits import Exit
from risk_manager.practice.gateway import PracticeGateway

pytestmark = pytest.mark.wire

TWO = """\
# Mine
accounts:
  - id: 101
    nickname: combine          # the funded one
    enabled: true
  - id: 102
    enabled: true              # for trying things

# About the others"""


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with still_gateway() as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, gateway: PracticeGateway) -> DaemonProcess:
    return DaemonProcess(tmp_path, accounts=TWO).point_at(gateway)


async def accounts(desk: DaemonProcess, *words: str, stdin: str = "") -> Ended:
    return await desk.command("admin", "accounts", *words, stdin=stdin)


def written(desk: DaemonProcess) -> str:
    return (desk.config / "accounts.yaml").read_text(encoding="utf-8")


async def test_each_account_is_listed_with_how_it_stands(desk: DaemonProcess) -> None:
    listed = await accounts(desk, "list")
    assert listed.out.splitlines() == [
        "account 101 (combine): enforce, not guarded now: no daemon runs",
        "account 102: enforce, not guarded now: no daemon runs",
    ]
    async with desk.running():
        listed = await accounts(desk, "list", "--gateway", "--account", "101")
        assert listed.out == "account 101 (combine): enforce, in the login, guarded\n"
    assert (await accounts(desk, "list", "--account", "7")).code == Exit.REFUSED


async def test_a_disabled_account_stays_guarded_until_the_reset_and_over_a_restart(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    async with desk.running():
        ended = await accounts(desk, "disable", "102", "--yes")
        assert ended.code == Exit.DONE, ended
        assert "-    enabled: true              # for trying things" in ended.out
        assert "+    enabled: false             # for trying things" in ended.out
        assert "account 102 stays guarded until the reset (" in ended.out
        assert written(desk).startswith(
            TWO.replace("true              # for trying", "false             # for trying")
        )
        buy(gateway.exchange, "RTY", 1, account=102)  # blocked by the rules
        await until(lambda: gateway.exchange.is_flat(102), "closed")
        assert "guarded until the reset" in (await accounts(desk, "list")).out
    async with desk.running():  # after a kill -9
        buy(gateway.exchange, "RTY", 1, account=102)
        await until(lambda: gateway.exchange.is_flat(102), "closed after the restart")


async def test_an_account_removed_while_no_daemon_runs_stays_guarded_as_well(
    desk: DaemonProcess, gateway: PracticeGateway
) -> None:
    async with desk.running():
        await desk.stop()
    ended = await accounts(desk, "remove", "102", "--yes")
    assert ended.code == Exit.DONE, ended
    assert "account 102 stays guarded until the reset (" in ended.out
    assert "102" not in written(desk)
    assert "# About the others" in written(desk)
    async with desk.running():
        buy(gateway.exchange, "RTY", 1, account=102)
        await until(lambda: gateway.exchange.is_flat(102), "closed")
        listed = json.loads((await accounts(desk, "list", "--json")).out)
        (row,) = [r for r in listed if r["id"] == 102]
        assert (row["listed"], row["guarded"]) == (False, True)
        assert row["guarded_until"] is not None


async def test_a_new_account_is_looked_for_in_the_login_and_guarded_from_the_next_start(
    tmp_path: Path, gateway: PracticeGateway
) -> None:
    desk = DaemonProcess(tmp_path, accounts="accounts: [{id: 101}] # mine").point_at(gateway)
    unknown = await accounts(desk, "add", "999")
    assert unknown.code == Exit.REFUSED
    assert "account 999 is not in this login, which has 101 (" in unknown.err
    async with desk.running():
        ended = await accounts(desk, "add", "102", "--nickname", "swing")
        assert ended.code == Exit.DONE, ended
        assert ended.out.endswith("account 102 is NOT guarded before the daemon is started again\n")
        assert written(desk).startswith(
            "accounts: [{id: 101}, {id: 102, nickname: swing, enabled: true}] # mine\n"
        )
        listed = (await accounts(desk, "list")).out
        assert "account 102 (swing): enforce, NOT guarded before" in listed
        await desk.stop()
    async with desk.running():
        assert "account 102 (swing): enforce, guarded" in (await accounts(desk, "list")).out
    twice = await accounts(desk, "add", "102")
    assert (twice.code, "account 102 is in accounts.yaml already" in twice.err) == (1, True)


async def test_an_edit_without_the_password_is_taken_back(desk: DaemonProcess) -> None:
    """It must not wait in the file for the next start."""
    async with desk.running():
        await desk.command("admin", "password", "set", stdin="correct horse battery\n")
        before = written(desk)
        for words, stdin in (((), ""), (("--password-stdin",), "wrong horse battery\n")):
            ended = await accounts(desk, "disable", "102", "--yes", *words, stdin=stdin)
            assert ended.code == Exit.REFUSED, ended
            assert written(desk) == before
        right = ("disable", "102", "--yes", "--password-stdin")
        ended = await accounts(desk, *right, stdin="correct horse battery\n")
        assert ended.code == Exit.DONE, ended
        assert written(desk) != before


async def test_a_file_that_would_not_be_valid_is_never_written(desk: DaemonProcess) -> None:
    before = written(desk)
    ended = await accounts(desk, "edit", "101", "--nickname", "x" * 65)
    assert ended.code == Exit.CONFIGURATION
    assert "accounts.yaml:4: accounts[" in ended.err
    desk.write_rules("version: 1\nrules: [{rule: max_contracts, limt: 5}]")
    ended = await accounts(desk, "disable", "101", "--yes")
    assert ended.code == Exit.CONFIGURATION
    assert 'did you mean "limit"?' in ended.err
    assert written(desk) == before


async def test_what_cannot_be_is_refused_with_a_reason(desk: DaemonProcess) -> None:
    before = written(desk)
    nobody = await accounts(desk, "disable", "101")
    assert "nobody can be asked here; say --yes" in nobody.err
    unknown = await accounts(desk, "enable", "7")
    assert "account 7 is not in accounts.yaml; there are 101, 102" in unknown.err
    nothing = await accounts(desk, "edit", "101")
    assert (nothing.code, "give --nickname" in nothing.err) == (Exit.USAGE, True)
    taken = await accounts(desk, "edit", "101", "--id", "102", "--yes")
    assert "account 102 is in accounts.yaml already" in taken.err
    same = await accounts(desk, "enable", "101")
    assert (same.code, same.out) == (0, "nothing to change: it is so already\n")
    tried = await accounts(desk, "remove", "102", "--dry-run")
    assert (tried.code, "-  - id: 102" in tried.out) == (0, True)
    assert tried.out.endswith("nothing was written (--dry-run)\n")
    assert written(desk) == before
    await accounts(desk, "remove", "102", "--yes")
    last = await accounts(desk, "remove", "101", "--yes")
    assert "101 is the only account in accounts.yaml" in last.err


async def test_a_number_is_replaced_and_what_still_names_the_old_one_is_told(
    desk: DaemonProcess,
) -> None:
    desk.write_rules(
        "version: 1\nrules: [{rule: max_contracts, limit: 5, accounts: [102]}]\n"
        "accounts: {102: {mode: shadow}}\n"
    )
    ended = await accounts(desk, "edit", "102", "--id", "202", "--nickname", "new one", "--yes")
    assert ended.code == Exit.DONE, ended
    assert "risk_config.yaml still names 102: accounts.102, rules[max_contracts].accounts" in (
        ended.out
    )
    assert "account 102 is not guarded" in ended.out
    assert "account 202 is guarded from the daemon's next start" in ended.out
    assert "  - id: 202\n    enabled: true              # for" in written(desk)
    assert "    nickname: new one\n" in written(desk)
    again = await accounts(desk, "edit", "202", "--no-nickname")
    assert again.code == Exit.DONE
    assert "nickname: new one" not in written(desk)


async def test_a_change_by_another_program_meanwhile_is_not_overwritten(
    desk: DaemonProcess,
) -> None:
    from risk_manager.admin.accounts import enable
    from risk_manager.settings.edits import EditFailed, FileEdit

    edit = FileEdit.begin(desk.config, "accounts.yaml")
    edit.change(lambda data: enable(data, 101, enabled=False))
    (desk.config / "accounts.yaml").write_text("accounts: [{id: 101}]")
    with pytest.raises(EditFailed, match="changed by another program"):
        edit.write()
    assert written(desk) == "accounts: [{id: 101}]"
