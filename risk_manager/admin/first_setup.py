"""The three configuration files of a first set-up, made from the answers and the shipped files."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from risk_manager.admin.key_age import note_key
from risk_manager.domain.rulebook import Mode
from risk_manager.settings import rule_edits
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.edits import CONTEXT_LINES, EditFailed
from risk_manager.settings.loading import ACCOUNTS, RISK_CONFIG, SETTINGS, load
from risk_manager.settings.preset_files import shipped_preset
from risk_manager.settings.private_file import replace_file
from risk_manager.settings.secrets import SecretReference
from risk_manager.settings.yaml_edits import edited, section

OWN_LOSS = "daily_realized_loss"
_KEPT_ON = ("auth_loss_guard",)  # it obeys the platform, and is no limit of the trader
_RULE = re.compile(r"  - rule: (\w+)")
_OFF = "    enabled: false"
_ABOVE_PRESETS = (
    "  # The firm's limits as dated figures: docs/presets.md. Of one of them and a rule of yours",
    "  # the tighter counts. Each rule below that is switched off can be one of yours.",
)
_LONGEST_NICKNAME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenAccount:
    """An account to be guarded, and the preset for it; None for no preset."""

    id: int
    nickname: str
    preset: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSetup:
    """All answers. `login` and `reference` are None with the practice gateway.

    `urls` are the addresses of a gateway other than TopstepX's, by key. `login` is the user name,
    or the reference to it. `daily_loss` is the trader's own limit, in account currency.
    """

    kind: Literal["practice", "projectx"]
    accounts: tuple[ChosenAccount, ...]
    mode: Mode
    urls: Mapping[str, str] = field(default_factory=dict)
    login: str | None = None
    reference: SecretReference | None = None
    without: tuple[str, ...] = ()
    daily_loss: Decimal | None = None


@dataclass(slots=True)
class SetupFiles:
    """The files as they are and as they shall be. Nothing is written before `write`."""

    folder: Path
    before: Mapping[str, bytes | None]
    texts: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path, setup: FirstSetup) -> "SetupFiles":
        """Raises EditFailed if a file cannot be read, EditRefused if it cannot be kept."""
        before = {name: _bytes_of(folder / name) for name in (SETTINGS, ACCOUNTS, RISK_CONFIG)}
        known = before[SETTINGS]
        texts = {
            SETTINGS: settings_text(None if known is None else _decoded(SETTINGS, known), setup),
            ACCOUNTS: accounts_text(setup),
            RISK_CONFIG: risk_text(setup),
        }
        return cls(folder, before, texts)

    def check(self) -> Configuration:
        """Load all files as they would be. Raises ConfigurationErrors."""
        return load(self.folder, instead=self.texts)

    def difference(self, name: str) -> list[str] | None:
        """Return how a file would change, as a unified difference; None for a new file."""
        before = self.before[name]
        if before is None:
            return None
        old = _decoded(name, before).splitlines()
        new = self.texts[name].splitlines()
        named = (name, f"{name} (new)")
        return list(difflib.unified_diff(old, new, *named, lineterm="", n=CONTEXT_LINES))

    def write(self) -> None:
        """Write the files, if they still are as they were read. Raises EditFailed."""
        for name, before in self.before.items():
            if _bytes_of(self.folder / name) != before:
                raise EditFailed(f"{name} was changed by another program just now; try again")
        for name, text in self.texts.items():
            path = self.folder / name
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                replace_file(path, text.encode())
            except OSError as error:
                raise EditFailed(f"{path} cannot be written: {error.strerror}") from None


def store_key(reference: SecretReference, key: SecretStr, config: Path, data: Path) -> None:
    """Keep the key in its place, unless that is the environment, and note its age.

    Raises SecretUnavailable or OSError.
    """
    if reference.kind != "env":
        config.mkdir(parents=True, exist_ok=True, mode=0o700)
        reference.store(key, config)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    note_key(data, reference, key, config, datetime.now(UTC), is_new=reference.kind != "env")


# --- the texts ------------------------------------------------------------------------------------


def settings_text(before: str | None, setup: FirstSetup) -> str:
    """Return settings.yaml with the gateway of the answers; all else stays as it is.

    Raises EditRefused.
    """
    gateway = {"kind": setup.kind, **setup.urls}
    if setup.login is not None:
        gateway["username"] = setup.login
    if setup.reference is not None:
        gateway["api_key"] = str(setup.reference)
    text = _shipped(SETTINGS) if before is None else before
    return edited(SETTINGS, text, lambda data: section(data, "gateway").update(gateway))


def accounts_text(setup: FirstSetup) -> str:
    lines = []
    for account in setup.accounts:
        lines += [f"  - id: {account.id}"]
        lines += [f"    nickname: {_quoted(account.nickname)}"] if account.nickname else []
        lines += ["    enabled: true              # false: neither judged nor touched"]
    return _ACCOUNTS.format("\n".join(lines))


_ACCOUNTS = """\
# Which accounts of your login are guarded, by the numbers the gateway gives them.
accounts:
{}

# What to do about accounts of the login that are not listed above:
#   alarm     say so, loudly, and leave them alone
#   ignore    leave them alone
#   enforce   apply the same rules to them
unlisted: alarm
"""


def nicknames(names: Iterable[str]) -> list[str]:
    """Return a nickname for each name: printable, not too long, and each once; else empty."""
    found: list[str] = []
    for name in names:
        plain = "".join(c for c in name if c.isprintable()).strip()[:_LONGEST_NICKNAME]
        found.append("" if plain in found else plain)
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def risk_text(setup: FirstSetup) -> str:
    """Return risk_config.yaml: the presets, the own limit, and every other rule switched off."""
    lines = list(_with_rules_off(_shipped(RISK_CONFIG), setup))
    text = "\n".join(lines) + "\n"
    if setup.mode is Mode.SHADOW:
        text = text.replace("  mode: enforce  ", "  mode: shadow   ", 1)
    if setup.daily_loss is None:
        return text
    limit = setup.daily_loss

    def own_loss(data: Any) -> None:
        rule_edits.set_value(data, OWN_LOSS, ("limit",), limit)
        rule_edits.set_value(data, OWN_LOSS, ("include_unrealized",), True)

    return edited(RISK_CONFIG, text, own_loss)


def _with_rules_off(shipped: str, setup: FirstSetup) -> Iterator[str]:
    on = {*_KEPT_ON, *((OWN_LOSS,) if setup.daily_loss is not None else ())}
    rule = ""
    for line in shipped.splitlines():
        if rule and line != _OFF and rule not in on:
            yield _OFF
        rule = ""
        yield line
        if line == "rules:":
            yield from _presets(setup)
        elif found := _RULE.fullmatch(line):
            rule = found[1]


def _presets(setup: FirstSetup) -> Iterator[str]:
    """Yield an entry for each preset, with its accounts and what is left out."""
    by_preset: dict[str, list[int]] = {}
    for account in setup.accounts:
        if account.preset is not None:
            by_preset.setdefault(account.preset, []).append(account.id)
    if by_preset:
        yield from _ABOVE_PRESETS
    for name, account_ids in by_preset.items():
        yield f"  - preset: {name}"
        yield f"    accounts: [{', '.join(map(str, account_ids))}]"
        gone = [x for x in setup.without if shipped_preset(name).line(x) is not None]
        if gone:
            yield f"    without: [{', '.join(gone)}]"
        yield ""


def _shipped(name: str) -> str:
    return (files("risk_manager.settings") / "shipped" / name).read_text("utf-8")


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EditFailed(f"{path} cannot be read: {error.strerror}") from None


def _decoded(name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EditFailed(f"{name} is not UTF-8 text; save the file as UTF-8") from None
