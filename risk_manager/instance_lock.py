"""Exclusive locks of a daemon on this machine: on its data folder and on each account.

This module imports very little: `run` takes both locks before it loads the SDK, so that a second
daemon ends at once and not after seconds of imports on a busy machine.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from platformdirs import user_state_path

EXIT_DATABASE = 6
EXIT_ALREADY_RUNNING = 7


PROBED_FOR_S = 0.3
"""Commands take the lock of the folder for a moment, to see whether a daemon holds it."""


class CannotStart(Exception):
    """The daemon cannot start. Holds one line per problem, and the exit code."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code


def accounts_folder() -> Path:
    """Return the folder for this user's files per account, which is independent of data folders."""
    return user_state_path("risk_manager", appauthor=False) / "accounts"


def gateway_name(api_url: str) -> str:
    """Return the host of a gateway, and its port, in a form for file names."""
    return _without_a_login(urlsplit(api_url).netloc).replace(":", "-")


def _without_a_login(netloc: str) -> str:
    return netloc.rpartition("@")[2]


class InstanceLock:
    """Owns these locks: a context manager that releases all of them at its end.

    A lock already held may be taken again. A daemon also releases the locks it was started with;
    releasing twice is harmless.
    """

    def __init__(self) -> None:
        self._held: set[Path] = set()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.clear()
        self._open.close()

    def hold_the_folder(self, data_dir: Path) -> None:
        """Lock the data folder for one daemon, and create it if needed. Raises CannotStart."""
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            if os.name == "posix":
                _make_private(data_dir)
            self._hold(data_dir / "daemon.lock", patience_s=PROBED_FOR_S)
        except Timeout:
            raise CannotStart(
                EXIT_ALREADY_RUNNING,
                f"another daemon already guards with the data folder {data_dir}; "
                "stop it first, or give --data another folder",
            ) from None
        except OSError as error:
            raise CannotStart(
                EXIT_DATABASE,
                f"the data folder {data_dir} cannot be used: {error.strerror}; "
                "give --data a folder this user may write",
            ) from None

    def hold_the_accounts(
        self, api_url: str, account_ids: Iterable[int], label_of: Callable[[int], str]
    ) -> dict[str, str]:
        """Lock accounts for one daemon on this machine, in any data folder. Raises CannotStart.

        Returns the lock files that could not be used, and why. The daemon starts all the same: an
        account guarded twice is better than one not guarded for lack of a lock file.
        """
        place, gateway = urlsplit(api_url), gateway_name(api_url)
        is_local = place.hostname in ("127.0.0.1", "localhost", "::1")
        folder = accounts_folder()
        unusable = {}
        for account_id in sorted(account_ids):
            path = folder / f"{gateway}-{account_id}.lock"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                is_new = self._hold(path)
            except Timeout:
                raise CannotStart(
                    EXIT_ALREADY_RUNNING,
                    f"another daemon on this machine already guards account {account_id} "
                    f"({label_of(account_id)}) at {_without_a_login(place.netloc)}; "
                    "stop that one first",
                ) from None
            except OSError as error:
                unusable[path.name] = str(error)
                continue
            if is_new and is_local and os.name == "posix":
                # A practice gateway never comes back under the same name.
                self._open.callback(path.unlink, missing_ok=True)
        return unusable

    def _hold(self, path: Path, *, patience_s: float = 0.0) -> bool:
        """Take the lock of a file. Returns False if it is held already by this object."""
        if path in self._held:
            return False
        self._open.enter_context(FileLock(path, timeout=patience_s))
        self._held.add(path)
        return True


def _make_private(folder: Path) -> None:
    """Close a folder to others. Raises CannotStart if it cannot be made private."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise CannotStart(
            EXIT_DATABASE,
            f"the data folder {folder} belongs to {_user(owner)}, who could change it under a "
            f"daemon of {_user(os.geteuid())}; run it as its owner, or give --data a folder of "
            "this user",
        )
    folder.chmod(0o700)
    if stat.S_IMODE(folder.stat().st_mode) & stat.S_IWOTH:
        raise CannotStart(
            EXIT_DATABASE,
            f"everybody may write to the data folder {folder}, and its drive keeps no "
            "permissions; give --data a folder on another drive",
        )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
