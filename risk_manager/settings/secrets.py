"""References to secrets, which say where a key is kept and never hold the key."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, SecretStr

from risk_manager.settings.private_file import who_else_may_read, write_private_file

Kind = Literal["env", "file", "keyring"]

HOW = "write env:NAME, file:PATH or keyring:service/user"
_SIZE_LIMIT_BYTES = 8192


class SecretUnavailable(Exception):
    """Secrets that cannot be read. Each reason names the reference, never the secret."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class SecretReference:
    """The place of a secret: an environment variable, a private file or the key store."""

    kind: Kind
    place: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"

    def resolve(self, env: Mapping[str, str], folder: Path) -> SecretStr:
        """Return the secret. A relative path is resolved in `folder`.

        Raises SecretUnavailable with the way to correct it.
        """
        match self.kind:
            case "env":
                value = env.get(self.place, "")
                if not value.strip():
                    raise SecretUnavailable(f"the environment variable {self.place} is not set")
            case "file":
                value = _from_file(self._path(folder))
            case "keyring":
                value = _from_keyring(self.place)
        return SecretStr(value.strip())

    def store(self, secret: SecretStr, folder: Path) -> None:
        """Keep a secret in this place, for this user only. Raises SecretUnavailable."""
        match self.kind:
            case "env":
                raise SecretUnavailable(
                    f"the environment variable {self.place} is set where the daemon is started, "
                    "not by a command"
                )
            case "file":
                path = self._path(folder)
                try:
                    write_private_file(path, f"{secret.get_secret_value()}\n".encode())
                except OSError as error:
                    raise SecretUnavailable(
                        f"the secret file {path} cannot be written ({error.strerror})"
                    ) from None
            case "keyring":
                with _key_store() as store:
                    store.set_password(*_service_and_user(self.place), secret.get_secret_value())

    def erase(self, folder: Path) -> bool:
        """Remove the secret from this place. Returns False if there is none.

        Raises SecretUnavailable.
        """
        match self.kind:
            case "env":
                raise SecretUnavailable(
                    f"the environment variable {self.place} is removed where the daemon is "
                    "started, not by a command"
                )
            case "file":
                path = self._path(folder)
                try:
                    path.unlink()
                except FileNotFoundError:
                    return False
                except OSError as error:
                    raise SecretUnavailable(
                        f"the secret file {path} cannot be removed ({error.strerror})"
                    ) from None
            case "keyring":
                service, user = _service_and_user(self.place)
                with _key_store() as store:
                    if store.get_password(service, user) is None:
                        return False
                    store.delete_password(service, user)
        return True

    def written_at(self, folder: Path) -> datetime | None:
        """Return when a secret file was last written; None for other kinds and missing files."""
        if self.kind != "file":
            return None
        try:
            return datetime.fromtimestamp(self._path(folder).stat().st_mtime, UTC)
        except OSError:
            return None

    def told(self, folder: Path) -> str:
        """Return the place for people: the whole path of a file."""
        return str(self._path(folder).absolute()) if self.kind == "file" else str(self)

    def _path(self, folder: Path) -> Path:
        return folder / Path(self.place).expanduser()


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise SecretUnavailable(
            f"the secret file {path} cannot be read ({error.strerror or 'unreadable'})"
        ) from None
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise SecretUnavailable(f"the secret file {path} is open to others; run: chmod 600 {path}")
    if os.name == "nt":
        _refuse_readers(path)
    try:
        value = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        value = ""
    if not value.strip() or len(raw) > _SIZE_LIMIT_BYTES or "\n" in value.strip():
        raise SecretUnavailable(f"the secret file {path} must hold the secret alone, on one line")
    return value


def _refuse_readers(path: Path) -> None:
    try:
        who = who_else_may_read(path)
    except OSError as error:
        raise SecretUnavailable(f"the secret file {path}: {error.strerror}") from None
    if who is not None:
        raise SecretUnavailable(
            f"the secret file {path} may be read by {who}; run: "
            f'icacls "{path}" /inheritance:r /grant:r %USERNAME%:F'
        )


def _from_keyring(place: str) -> str:
    service, user = _service_and_user(place)
    with _key_store() as store:
        value = store.get_password(service, user)
    if not value:
        raise SecretUnavailable(
            f"the key store holds nothing for {place}; run: risk-manager admin credentials set"
        )
    return str(value)


def _service_and_user(place: str) -> tuple[str, str]:
    service, _, user = place.partition("/")
    return service, user


@contextmanager
def _key_store() -> Iterator[Any]:
    """Give the system's key store, and turn its errors into SecretUnavailable."""
    try:
        import keyring  # type: ignore[import-not-found,unused-ignore]  # an extra
        from keyring.errors import KeyringError  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise SecretUnavailable(
            'keyring is not installed; run: pip install "risk-manager[keyring]"'
        ) from None
    try:
        yield keyring
    except KeyringError as error:
        raise SecretUnavailable(f"the key store failed ({type(error).__name__})") from None


def parse_reference(value: Any) -> SecretReference:
    """Return the reference in a text. ValueError says how to write one, not the value given."""
    if isinstance(value, SecretReference):
        return value
    kind, _, place = value.partition(":") if isinstance(value, str) else ("", "", "")
    place = place.strip()
    if kind == "env" and place.isidentifier():
        return SecretReference("env", place)
    if kind == "file" and place:
        return SecretReference("file", place)
    if kind == "keyring" and all(place.partition("/")):
        return SecretReference("keyring", place)
    raise ValueError(f"must say where the secret is kept, never be the secret itself; {HOW}")


def parse_name(value: Any) -> Any:
    """Return a user name as written, or the reference to where it is kept."""
    if isinstance(value, str) and value.partition(":")[0] in ("env", "file", "keyring"):
        return parse_reference(value)
    return value


Secret = Annotated[
    SecretReference, BeforeValidator(parse_reference), PlainSerializer(str, return_type=str)
]
