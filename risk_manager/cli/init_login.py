"""The questions of `init` about the gateway and the login, and the login itself."""

import argparse
import asyncio
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.hidden_input import read_hidden
from risk_manager.cli.questions import Choice, Questions, Unusable

if TYPE_CHECKING:
    from pydantic import SecretStr

    from risk_manager.domain.records import AccountRecord
    from risk_manager.settings.secrets import SecretReference
    from risk_manager.settings.settings_file import GatewaySettings

TOPSTEPX, PRACTICE = "topstepx", "practice"
TRIES = 3
_ADDRESSES = ("api_url", "user_hub_url", "market_hub_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAnswers:
    """The gateway, and the accounts of the login. Without a login there is no key.

    `username` is the name itself, or the reference to it.
    """

    kind: Literal["practice", "projectx"]
    accounts: "tuple[AccountRecord, ...]"
    urls: Mapping[str, str] = field(default_factory=dict)
    username: str | None = None
    reference: "SecretReference | None" = None
    key: "SecretStr | None" = None


def ask_login(questions: Questions, arguments: argparse.Namespace) -> LoginAnswers:
    """Ask for the gateway and the login, and log in. Raises CommandFailed."""
    urls = _urls(arguments)
    gateway = questions.choose(
        "--gateway",
        arguments.gateway,
        "Where are your accounts?",
        [
            Choice(TOPSTEPX, "the real gateway", TOPSTEPX),
            Choice(
                PRACTICE, "a simulated exchange inside the daemon: no login, no money", PRACTICE
            ),
        ],
        TOPSTEPX,
    )
    if gateway == PRACTICE:
        if urls:
            arguments.usage("the practice gateway inside the daemon has no address")
        return LoginAnswers(kind="practice", accounts=_practice_accounts())
    settings = _settings(arguments, urls)
    reference = _ask_store(questions, arguments)
    username, told = _ask_username(questions, arguments, reference)
    key, accounts = _logged_in(questions, arguments, settings, reference, username)
    return LoginAnswers(
        kind="projectx", accounts=accounts, urls=urls, username=told, reference=reference, key=key
    )


def _urls(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the addresses given; all three, or none for TopstepX's."""
    given = {name: url for name in _ADDRESSES if (url := getattr(arguments, name)) is not None}
    if given and len(given) < len(_ADDRESSES):
        missing = ", ".join(f"--{n.replace('_', '-')}" for n in _ADDRESSES if n not in given)
        arguments.usage(f"the addresses are of one gateway; give {missing} too")
    return given


def _settings(arguments: argparse.Namespace, urls: Mapping[str, str]) -> "GatewaySettings":
    from pydantic import ValidationError

    from risk_manager.settings.explain import explain
    from risk_manager.settings.settings_file import GatewaySettings

    data = {"kind": "projectx", **urls}
    try:
        return GatewaySettings.model_validate(data)
    except ValidationError as error:
        path, sentence = explain(error, data, GatewaySettings)[0]
        arguments.usage(f"--{str(path[-1]).replace('_', '-')}: {sentence}")
        raise


def _practice_accounts() -> "tuple[AccountRecord, ...]":
    from risk_manager.domain.records import AccountRecord
    from risk_manager.practice.exchange import default_accounts

    return tuple(
        AccountRecord(
            id=account.id,
            name=account.name,
            balance=account.balance,
            can_trade=account.can_trade,
            simulated=account.simulated,
        )
        for account in default_accounts()
    )


# --- the login ------------------------------------------------------------------------------------


def _ask_store(questions: Questions, arguments: argparse.Namespace) -> "SecretReference":
    from risk_manager.admin.credentials import DEFAULT_FILE
    from risk_manager.settings.secrets import HOW, SecretReference, parse_reference

    def read(text: str) -> SecretReference:
        try:
            found = parse_reference(text)
        except ValueError:
            # What was given may be the key itself, and is not repeated.
            raise Unusable(f"a place, never the key itself: {HOW}") from None
        if found.kind == "keyring" and not _has_keyring():
            raise Unusable('keyring is not installed; run: pip install "risk-manager[keyring]"')
        return found

    if arguments.store is not None or not questions.can_ask:
        return questions.ask("--store", arguments.store, "", read)
    places = [
        Choice("file", f"{DEFAULT_FILE.told(arguments.config)}, for you only", str(DEFAULT_FILE)),
        Choice("env", "the environment variable PROJECT_X_API_KEY", "env:PROJECT_X_API_KEY"),
    ]
    if _has_keyring():
        keyring = "keyring:risk-manager/gateway"
        places.insert(1, Choice("keyring", "the key store of this system", keyring))
    question = "Where shall the API key be kept?"
    return read(questions.choose("--store", None, question, places, "file"))


def _has_keyring() -> bool:
    return importlib.util.find_spec("keyring") is not None


def _ask_username(
    questions: Questions, arguments: argparse.Namespace, reference: "SecretReference"
) -> tuple[str, str]:
    """Return the user name, and what settings.yaml says: the name, or a reference to it."""
    in_environment = os.environ.get("PROJECT_X_USERNAME", "").strip()
    if arguments.username is None and in_environment and reference.kind == "env":
        return in_environment, "env:PROJECT_X_USERNAME"
    name = questions.ask("--username", arguments.username, "User name", _name, in_environment)
    return name, name


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise Unusable("a user name is a word or an address of mail")
    return text.strip()


def _logged_in(
    questions: Questions,
    arguments: argparse.Namespace,
    gateway: "GatewaySettings",
    reference: "SecretReference",
    username: str,
) -> "tuple[SecretStr, tuple[AccountRecord, ...]]":
    """Log in. A person who mistypes the key is asked again. Raises CommandFailed."""
    from risk_manager.admin.credentials import GatewaySilent
    from risk_manager.admin.first_login import accounts_of_login
    from risk_manager.admin.rest_gateway import LoginRefused
    from risk_manager.settings.configuration import Credentials

    asks = questions.can_ask and reference.kind != "env" and not arguments.key_stdin
    tries = TRIES if asks else 1
    while True:
        tries -= 1
        try:
            key = _key(questions, arguments, reference)
            accounts = asyncio.run(accounts_of_login(gateway.api_url, Credentials(username, key)))
        except (LoginRefused, Unusable) as error:
            if not tries:
                code = Exit.CREDENTIALS if isinstance(error, LoginRefused) else Exit.REFUSED
                raise CommandFailed(code, f"{error}; nothing was written") from None
            print(f"  {error}; try again")
        except GatewaySilent as error:
            raise CommandFailed(
                Exit.REFUSED, f"the login cannot be tried: {error}; nothing was written"
            ) from None
        else:
            print(f"logged in: {len(accounts)} accounts")
            return key, accounts


def _key(
    questions: Questions, arguments: argparse.Namespace, reference: "SecretReference"
) -> "SecretStr":
    from pydantic import SecretStr

    from risk_manager.admin.credentials import problem_with_key
    from risk_manager.redaction import conceal

    if reference.kind == "env":
        # SecretUnavailable says how to set it.
        found = reference.resolve(os.environ, arguments.config)
        conceal(found.get_secret_value())
        return found
    if not arguments.key_stdin:
        questions.require_terminal("--key-stdin")
    text = read_hidden(
        "API key",
        "API key (not shown): ",
        from_stdin=arguments.key_stdin,
        instead="--key-stdin",
    ).strip()
    conceal(text)
    if (problem := problem_with_key(text)) is not None:
        raise Unusable(problem)
    return SecretStr(text)
