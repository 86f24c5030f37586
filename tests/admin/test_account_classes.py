"""An edit of accounts says before it is written whether it is tighter or looser."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from config_folder import ConfigFolder

from risk_manager.admin.account_edits import add, change, remove, switch
from risk_manager.admin.accounts import Guarded
from risk_manager.admin.effective import told_time

RESET = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
LISTED = "accounts: [{id: 101}, {id: 102}, {id: 103, enabled: false}]\n"
RUNNING = Guarded(frozenset({101, 102}), frozenset({101, 102}), RESET)
STOPPED = Guarded(None, frozenset({101, 102}), RESET)


@pytest.mark.parametrize("guarded", [RUNNING, STOPPED])
def test_what_guards_one_more_is_tighter_and_what_guards_one_less_is_looser(
    tmp_path: Path, guarded: Guarded
) -> None:
    config = ConfigFolder(tmp_path / "config")
    config.write("accounts.yaml", LISTED)
    at_reset = f"looser, at the reset ({told_time(RESET)})"
    tighter = "not guarded -> guarded, tighter, from the daemon's next start"
    looser = f"guarded -> not guarded, {at_reset}"
    here = config.path
    assert add(here, 777, None).classes(guarded) == [f"account 777: {tighter}"]
    assert switch(here, 103, enabled=True).classes(guarded) == [f"account 103: {tighter}"]
    assert switch(here, 102, enabled=False).classes(guarded) == [f"account 102: {looser}"]
    assert remove(here, 102).classes(guarded) == [f"account 102: {looser}"]
    assert change(here, 102, new_id=105).classes(guarded) == [
        f"account 102: {looser}",
        f"account 105: {tighter}",
    ]
    assert remove(here, 103).classes(guarded) == []
    assert change(here, 102, nickname="mine").classes(guarded) == []


def test_on_a_machine_where_nothing_was_guarded_yet_nothing_is_looser(tmp_path: Path) -> None:
    config = ConfigFolder(tmp_path / "config")
    config.write("accounts.yaml", LISTED)
    assert remove(config.path, 102).classes(Guarded(None, frozenset(), None)) == []
