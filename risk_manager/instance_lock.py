"""What a daemon must have for itself alone on this machine: its data folder, and each account.

Imports next to nothing: `run` claims both before it loads the SDK, so that a second daemon ends
at once and not after seconds of imports on a busy machine.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from platformdirs import user_state_path

EXIT_DATABASE = 6
EXIT_ALREADY_RUNNING = 7


class CannotStart(Exception):
    """Why the daemon does not start, in one line per problem, with its exit code."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code = code


def accounts_folder() -> Path:
    """Where this user keeps what concerns an account on this machine, whatever the data folder."""
    return user_state_path("risk_manager", appauthor=False) / "accounts"


def gateway_name(api_url: str) -> str:
    """The host of a gateway, and its port, as part of a file's name."""
    return _without_a_login(urlsplit(api_url).netloc).replace(":", "-")


def _without_a_login(netloc: str) -> str:
    return netloc.rpartition("@")[2]


class InstanceLock:
    """The one owner of these locks: a context manager that gives all of them back at its end.

    What is held already may be claimed again. A daemon gives back what it was started with; to
    do that twice is harmless.
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
        """One daemon per data folder; makes the folder if there is none. Raises CannotStart."""
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            if os.name == "posix":
                data_dir.chmod(0o700)
            self._hold(data_dir / "daemon.lock")
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
        """One daemon per account on this machine, whatever its data folder. Raises CannotStart.

        Returns the lock files that could not be used, and why: two guards are better than none
        for want of a place to keep a lock file.
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
                # A practice gateway never comes back by this name.
                self._open.callback(path.unlink, missing_ok=True)
        return unusable

    def _hold(self, path: Path) -> bool:
        """Whether it was not held before."""
        if path in self._held:
            return False
        self._open.enter_context(FileLock(path, timeout=0))
        self._held.add(path)
        return True
