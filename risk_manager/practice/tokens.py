"""The session tokens of the practice gateway: issued at a login, valid for a time, revoked."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

import orjson


class Tokens:
    """The tokens of one user. Each has the form of a JWT and is valid for `life`."""

    def __init__(self, username: str, life: timedelta, clock: Callable[[], datetime]) -> None:
        self._username = username
        self._life = life
        self._clock = clock
        self._signing_key = secrets.token_bytes(32)
        self._expiries: dict[str, datetime] = {}

    def issue(self) -> str:
        """Return a new token, as a login gets it."""
        now = self._clock()
        expires = now + self._life
        header = _base64(orjson.dumps({"alg": "HS256", "typ": "JWT"}))
        payload = _base64(
            orjson.dumps(
                {
                    "sub": self._username,
                    "jti": secrets.token_hex(8),
                    "exp": int(expires.timestamp()),
                }
            )
        )
        signed = f"{header}.{payload}"
        signature = hmac.digest(self._signing_key, signed.encode(), hashlib.sha256)
        token = f"{signed}.{_base64(signature)}"
        self._expiries = {old: until for old, until in self._expiries.items() if until > now}
        self._expiries[token] = expires
        return token

    def is_valid(self, token: str | None) -> bool:
        if token is None:
            return False
        expires = self._expiries.get(token)
        return expires is not None and self._clock() < expires

    def revoke(self, token: str) -> None:
        """Make one token worthless; an unknown token is ignored."""
        self._expiries.pop(token, None)

    def revoke_all(self) -> None:
        self._expiries.clear()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
