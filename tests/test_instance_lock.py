"""InstanceLock: what one daemon holds for itself, and gives back at its end."""

import os
import threading
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from risk_manager import instance_lock
from risk_manager.instance_lock import EXIT_DATABASE, CannotStart, InstanceLock

API = "https://api.topstepx.com/api"


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        "risk_manager.instance_lock.user_state_path", lambda *_, **__: tmp_path / "state"
    )
    return tmp_path / "state"


def test_what_is_held_may_be_claimed_again_by_the_same_daemon_only(tmp_path: Path) -> None:
    with InstanceLock() as first, InstanceLock() as second:
        for _ in range(2):
            first.hold_the_folder(tmp_path / "data")
            assert first.hold_the_accounts(API, [101], str) == {}
        with pytest.raises(CannotStart, match="data folder") as refused:
            second.hold_the_folder(tmp_path / "data")
        assert refused.value.code == 7
        with pytest.raises(CannotStart, match="account 101") as refused:
            second.hold_the_accounts(API, [101], str)
        assert refused.value.code == 7


def test_an_account_that_shows_only_at_login_is_held_beside_the_listed_ones(
    tmp_path: Path,
) -> None:
    with InstanceLock() as first, InstanceLock() as second:
        first.hold_the_accounts(API, [101], str)
        first.hold_the_accounts(API, [101, 102], str)
        with pytest.raises(CannotStart, match="account 102"):
            second.hold_the_accounts(API, [102], str)


def test_at_the_end_everything_is_given_back_and_can_be_held_anew(tmp_path: Path) -> None:
    claims = InstanceLock()
    for _ in range(2):
        with claims:
            claims.hold_the_folder(tmp_path / "data")
            claims.hold_the_accounts(API, [101], str)
            with pytest.raises(Timeout):
                FileLock(tmp_path / "data" / "daemon.lock", timeout=0).acquire()
        with FileLock(tmp_path / "data" / "daemon.lock", timeout=0):
            pass


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be removed elsewhere")
def test_the_lock_file_of_a_gateway_on_this_machine_does_not_stay(state_folder: Path) -> None:
    with InstanceLock() as claims:
        claims.hold_the_accounts("http://127.0.0.1:4321/api", [101], str)
        assert [p.name for p in (state_folder / "accounts").iterdir()] == [
            "127.0.0.1-4321-101.lock"
        ]
    assert list((state_folder / "accounts").iterdir()) == []


def test_no_place_for_lock_files_is_told_and_keeps_nobody_from_guarding(
    state_folder: Path,
) -> None:
    state_folder.write_text("not a folder")
    with InstanceLock() as claims:
        assert list(claims.hold_the_accounts(API, [101], str)) == ["api.topstepx.com-101.lock"]


def test_a_command_that_looks_at_the_lock_keeps_no_daemon_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that ends with 7 is not started again: a glance must not cause that."""
    monkeypatch.setattr(instance_lock, "PROBED_FOR_S", 30.0)
    glance = FileLock(tmp_path / "daemon.lock", thread_local=False)
    glance.acquire()
    threading.Timer(0.05, glance.release).start()
    with InstanceLock() as lock:
        lock.hold_the_folder(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give folders")
def test_a_data_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    with InstanceLock() as lock, pytest.raises(CannotStart) as refused:
        lock.hold_the_folder(data)
    assert refused.value.code == EXIT_DATABASE
    (line,) = str(refused.value).splitlines()
    assert f"the data folder {data} belongs to nobody, who could change it under a" in line
    assert not (data / "daemon.lock").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_a_folder_that_cannot_be_made_private_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a drive of another system, where every mode is 0777 and chmod does nothing."""
    tmp_path.chmod(0o777)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with InstanceLock() as lock, pytest.raises(CannotStart, match="keeps no permissions"):
        lock.hold_the_folder(tmp_path)
