"""A single test login to the gateway, without the SDK and the memory it needs."""

import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any

from pydantic import ValidationError

from risk_manager.domain.records import AccountRecord
from risk_manager.settings.configuration import Credentials

TIMEOUT_S = 10.0
_ANSWER_LIMIT_BYTES = 1024 * 1024


class GatewayProblem(Exception):
    """The gateway cannot be used. The message says why, and `fix` what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


@dataclass(frozen=True, slots=True)
class LoginReport:
    """The accounts of the login by id, and how far our clock is ahead of the gateway's.

    `records` are their records as the gateway states them.
    """

    accounts: dict[int, str]
    skew_s: float | None
    records: dict[int, AccountRecord] = field(default_factory=dict)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, so that the API key goes only to the configured address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def log_in(api_url: str, credentials: Credentials, also: Collection[int] = ()) -> LoginReport:
    """Log in and list the active accounts, and those in `also` if they exist.

    Raises GatewayProblem.
    """
    key = credentials.api_key.get_secret_value()
    answer, date = _post(
        f"{api_url}/Auth/loginKey", {"userName": credentials.username, "apiKey": key}
    )
    token = answer.get("token")
    if not answer.get("success") or not isinstance(token, str):
        raise GatewayProblem(
            f"the gateway refuses the login (error {answer.get('errorCode')})",
            "check user name and key, and whether the API subscription is active",
        )
    found = _accounts(api_url, token, only_active=True)
    if not set(also) <= found.keys():
        everything = _accounts(api_url, token, only_active=False)
        found |= {id_: record for id_, record in everything.items() if id_ in also}
    names = {id_: record.name or str(id_) for id_, record in found.items()}
    return LoginReport(names, _skew(date), found)


def log_out(api_url: str, token: str) -> None:
    """Make a token worthless at the gateway. Raises GatewayProblem."""
    answer, _ = _post(f"{api_url}/Auth/logout", {}, token)
    if not answer.get("success"):
        raise GatewayProblem(
            f"the gateway refuses the logout (error {answer.get('errorCode')})",
            "the token ends by itself within a day",
        )


def _accounts(api_url: str, token: str, *, only_active: bool) -> dict[int, AccountRecord]:
    listed, _ = _post(f"{api_url}/Account/search", {"onlyActiveAccounts": only_active}, token)
    accounts = listed.get("accounts")
    if not listed.get("success") or not isinstance(accounts, list):
        raise GatewayProblem("the gateway does not list the accounts", "try again later")
    found: dict[int, AccountRecord] = {}
    for account in accounts:
        try:
            record = AccountRecord.model_validate(account)
        except ValidationError:
            continue  # the daemon tells of records that it cannot read
        found[record.id] = record
    return found


def _post(
    url: str, body: dict[str, Any], token: str | None = None
) -> tuple[dict[str, Any], str | None]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    # Only http and https get here: the settings allow no other scheme.
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    host = request.host
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            answer = json.loads(response.read(_ANSWER_LIMIT_BYTES))
            date = response.headers.get("Date")
    except urllib.error.HTTPError as error:
        error.close()
        raise _by_status(host, error.code) from None
    except urllib.error.URLError as error:
        raise _by_reason(host, error.reason) from None
    except TimeoutError:
        raise _by_reason(host, TimeoutError()) from None
    except (OSError, HTTPException) as error:
        raise _by_reason(host, error) from None
    except ValueError:
        raise GatewayProblem(
            f"{host} does not answer like a gateway", "check gateway.api_url in settings.yaml"
        ) from None
    if not isinstance(answer, dict):
        raise GatewayProblem(
            f"{host} does not answer like a gateway", "check gateway.api_url in settings.yaml"
        )
    return answer, date


def _by_status(host: str, status: int) -> GatewayProblem:
    match status:
        case 401 | 403:
            return GatewayProblem(f"{host} refuses the login ({status})", "check user name and key")
        case 404:
            return GatewayProblem(
                f"{host} has no such address", "check gateway.api_url in settings.yaml"
            )
        case 429:
            return GatewayProblem(f"{host} says: too many requests", "wait a minute")
    return GatewayProblem(f"{host} answers with error {status}", "try again later")


def _by_reason(host: str, reason: object) -> GatewayProblem:
    check_url = "check gateway.api_url in settings.yaml and the connection"
    match reason:
        case socket.gaierror():
            return GatewayProblem(f"there is no address for {host}", check_url)
        case ConnectionRefusedError():
            return GatewayProblem(f"nothing listens at {host}", check_url)
        case TimeoutError():
            return GatewayProblem(f"{host} does not answer in time", "check the connection")
        case ssl.SSLCertVerificationError():
            return GatewayProblem(
                f"the certificate of {host} is not trusted",
                "check the clock, and whether a proxy stands in between",
            )
        case OSError(strerror=str(words)):
            return GatewayProblem(f"{host} cannot be reached ({words})", check_url)
    return GatewayProblem(f"{host} cannot be reached ({type(reason).__name__})", check_url)


def _skew(date: str | None) -> float | None:
    """Return our clock minus the gateway's, in seconds; None without a Date header."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    if theirs.tzinfo is None:
        return None
    return (datetime.now(UTC) - theirs).total_seconds()
