"""The login and the calls that change something at the gateway: what their error codes mean."""

from collections.abc import Mapping
from typing import Any

CLOSE = "/Position/closeContract"
PARTIAL_CLOSE = "/Position/partialCloseContract"
CANCEL = "/Order/cancel"
MODIFY = "/Order/modify"
PLACE = "/Order/place"

# The gateway often sends a code without a message. From 5 on, the two close calls use different
# numbers.
_CODES: Mapping[str, tuple[str, ...]] = {
    CLOSE: (
        "",
        "account not found",
        "position not found",
        "contract not found",
        "contract is not active",
        "order rejected",
        "a close is already pending",
        "unknown error",
        "account rejected",
    ),
    PARTIAL_CLOSE: (
        "",
        "account not found",
        "position not found",
        "contract not found",
        "contract is not active",
        "invalid close size",
        "order rejected",
        "a close is already pending",
        "unknown error",
        "account rejected",
    ),
    CANCEL: (
        "",
        "account not found",
        "order not found",
        "rejected",
        "already pending",
        "unknown error",
        "account rejected",
    ),
    MODIFY: (
        "",
        "account not found",
        "order not found",
        "rejected",
        "already pending",
        "unknown error",
        "account rejected",
        "contract not found",
    ),
    PLACE: (
        "",
        "account not found",
        "order rejected",
        "insufficient funds",
        "account violation",
        "outside trading hours",
        "order pending",
        "unknown error",
        "contract not found",
        "contract is not active",
        "account rejected",
    ),
}
GONE = frozenset({(CLOSE, 2), (PARTIAL_CLOSE, 2), (CANCEL, 2), (MODIFY, 2)})
"""(path, code): nothing is left to act on."""
PENDING = frozenset({(CLOSE, 6), (PARTIAL_CLOSE, 7), (CANCEL, 4)})
"""(path, code): an earlier call of the same kind is still being carried out."""

LOGIN_UNKNOWN_ERROR = 8
"""The only refusal of a login after which trying again may help."""
_LOGIN_ERRORS: Mapping[int, str] = {
    1: "the user name is not known",
    2: "the password check failed",
    3: "the user name or the API key is wrong",
    4: "the application is not known",
    5: "the application check failed",
    6: "the device is not accepted",
    7: "agreements are not signed: sign in on the platform's web page once",
    9: "this login has no API subscription",
    10: "API keys are disabled for this login",
}


def words_of_login(code: int) -> str:
    """Return why a login was refused."""
    return _LOGIN_ERRORS.get(code, "the reason is not documented")


def error_code(value: object) -> int | None:
    """Return the errorCode of an answer; None for anything but a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value


def words_of_refusal(path: str, body: Mapping[str, Any]) -> str:
    """Return why a call was refused, in the gateway's own words or by its code."""
    said = body.get("errorMessage")
    if isinstance(said, str) and said.strip():
        return " ".join(said.split())[:300]
    code = error_code(body.get("errorCode"))
    names = _CODES.get(path, ())
    if code is not None and 0 < code < len(names):
        return names[code]
    return "refused without a reason" if code is None else f"refused with code {code}"
