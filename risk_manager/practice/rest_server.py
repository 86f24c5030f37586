"""The REST side of the practice gateway: faults, limits and tokens in front of the endpoints."""

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import orjson
from aiohttp import web

from risk_manager.practice import rest
from risk_manager.practice.faults import Faults, RestFault
from risk_manager.practice.rate_limit import RateLimit
from risk_manager.practice.request_log import RequestLog
from risk_manager.practice.tokens import Tokens
from risk_manager.practice.words import Telling, Words

INVALID_CREDENTIALS = 3
OPEN_PATHS = frozenset({"/Auth/loginKey", "/Status/ping"})


class RestServer:
    """Serves every path below `/api`.

    `before_login` is called before a login gets its token. `deliver` takes the reports that a call
    sends to the hubs besides its answer. With `hide_locked_accounts` a search for active accounts
    leaves out those that may not trade.
    """

    def __init__(
        self,
        words: Words,
        faults: Faults,
        tokens: Tokens,
        requests: RequestLog,
        *,
        username: str,
        api_key: str,
        rate_limit: RateLimit,
        bars_limit: RateLimit,
        clock: Callable[[], datetime],
        deliver: Callable[[Sequence[Telling]], None],
        before_login: Callable[[], None] | None,
        hide_locked_accounts: bool,
    ) -> None:
        self._words = words
        self._faults = faults
        self._tokens = tokens
        self._requests = requests
        self._username = username
        self._api_key = api_key
        self._rate_limit = rate_limit
        self._bars_limit = bars_limit
        self._clock = clock
        self._deliver = deliver
        self._before_login = before_login
        self._hide_locked_accounts = hide_locked_accounts

    async def serve(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic_ns()
        path = "/" + request.match_info["path"]
        raw = await request.read()
        body = _parse(raw)
        self._requests.add(at, path, body or {})
        fault = self._faults.take(path)
        if fault is not None:
            early = await self._fail_early(fault)
            if early is not None:
                return early
        answer = self._answer(request, path, body)
        if fault is not None:
            if fault.lose_reply is not None:
                return await self._lose(request, fault.lose_reply)
            if fault.garbage:
                return web.Response(body=b'{"success": tru', content_type="application/json")
        return answer

    async def _fail_early(self, fault: RestFault) -> web.Response | None:
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hang:
            await self._faults.wait_released()
        if fault.status is not None:
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return web.Response(status=fault.status, headers=headers)
        if fault.refuse is not None:
            return _json(rest.refused(*fault.refuse))
        return None

    async def _lose(self, request: web.Request, how: Literal["close", "hang"]) -> web.Response:
        if how == "hang":
            await self._faults.wait_released()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _answer(
        self, request: web.Request, path: str, body: Mapping[str, Any] | None
    ) -> web.Response:
        if path == "/Status/ping":
            return _json("pong")
        limit = self._bars_limit if path == "/History/retrieveBars" else self._rate_limit
        if not limit.take(time.monotonic()):
            return web.Response(status=429, headers={"Retry-After": str(int(limit.window))})
        if request.method != "POST":
            return web.Response(status=405)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if path not in OPEN_PATHS and not self._tokens.is_valid(token):
            return web.Response(status=401)
        if path.startswith("/Auth/"):
            return self._answer_auth(path, token, body or {})
        if path not in rest.ENDPOINTS:
            return web.Response(status=404)
        if body is None:
            return _bad_request("the body is not a JSON object")
        try:
            answered = self._words.answer(path, body, self._clock())
        except rest.BadRequestError as error:
            return _bad_request(str(error))
        self._deliver(answered.tellings)
        reply = answered.reply
        if path == "/Account/search" and body.get("onlyActiveAccounts"):
            reply["accounts"] = [
                account
                for account in reply["accounts"]
                if account["canTrade"] or not self._hide_locked_accounts
            ]
        return _json(reply)

    def _answer_auth(self, path: str, token: str, body: Mapping[str, Any]) -> web.Response:
        match path:
            case "/Auth/loginKey":
                user, key = str(body.get("userName")), str(body.get("apiKey"))
                is_right = user.casefold() == self._username.casefold() and hmac.compare_digest(
                    key.encode(), self._api_key.encode()
                )
                if not is_right:
                    return _json(
                        rest.refused(INVALID_CREDENTIALS, "invalid credentials", token=None)
                    )
                if self._before_login is not None:
                    self._before_login()
                return _json(rest.succeeded(token=self._tokens.issue()))
            case "/Auth/validate":
                return _json(rest.succeeded(newToken=self._tokens.issue()))
            case "/Auth/logout":
                self._tokens.revoke(token)
                return _json(rest.succeeded())
            case _:
                return web.Response(status=404)


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def _bad_request(why: str) -> web.Response:
    problem = {"title": "One or more validation errors occurred.", "status": 400, "detail": why}
    return web.Response(
        status=400, body=orjson.dumps(problem), content_type="application/problem+json"
    )


def _parse(raw: bytes) -> Mapping[str, Any] | None:
    """The body as an object; empty counts as one without fields, None for anything else."""
    if not raw or raw == b"null":
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
