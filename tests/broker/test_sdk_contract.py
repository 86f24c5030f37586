"""What the broker room takes for granted about project-x-py, down to its private names.

A new version of the SDK must pass this before anything else is looked at. Add a row when a new
name is used.
"""

import inspect
from importlib.metadata import version
from typing import Any

import pytest
from project_x_py import ProjectX, ProjectXConfig, exceptions
from project_x_py.client.http import MUTATING_ENDPOINTS
from project_x_py.realtime import ProjectXRealtimeClient
from project_x_py.realtime.async_hub import AsyncHubConnection
from pysignalr.client import SignalRClient
from pysignalr.exceptions import AuthorizationError, ServerError
from pysignalr.exceptions import ConnectionError as HubRefusedError
from pysignalr.messages import CloseMessage, CompletionMessage, PingMessage
from pysignalr.transport.websocket import WebsocketTransport

from risk_manager.broker.session import hand_over

# Callables and the parameters they are called with, by name.
CALLED: list[tuple[type, str, tuple[str, ...]]] = [
    (ProjectX, "__init__", ("username", "api_key", "config")),
    (ProjectX, "__aenter__", ()),
    (ProjectX, "__aexit__", ()),
    (ProjectX, "_execute_http_request", ("method", "endpoint", "data", "retry_count")),
    (ProjectX, "_make_request", ("method", "endpoint", "data")),
    (ProjectX, "_ensure_client", ()),
    (
        ProjectXRealtimeClient,
        "__init__",
        ("jwt_token", "account_id", "user_hub_url", "market_hub_url"),
    ),
    (ProjectXRealtimeClient, "setup_connections", ()),
    (AsyncHubConnection, "on", ("event", "handler")),
    (AsyncHubConnection, "on_open", ("handler",)),
    (AsyncHubConnection, "on_close", ("handler",)),
    (AsyncHubConnection, "start", ()),
    (AsyncHubConnection, "stop", ()),
    (SignalRClient, "send", ("method", "arguments", "on_invocation")),
    (WebsocketTransport, "_keepalive", ("conn",)),
]
COROUTINES = [
    (ProjectX, "_execute_http_request"),
    (ProjectX, "_ensure_client"),
    (ProjectXRealtimeClient, "setup_connections"),
    (AsyncHubConnection, "start"),
    (AsyncHubConnection, "stop"),
    (SignalRClient, "send"),
    (WebsocketTransport, "_keepalive"),
]
EXCEPTIONS = ["ProjectXError", "ProjectXAuthenticationError"]


def client() -> Any:
    return ProjectX("nobody", "no-key", config=ProjectXConfig(requests_per_minute=1_000_000))


async def a_realtime_client() -> Any:
    realtime = ProjectXRealtimeClient(
        "a-token", "0", user_hub_url="http://127.0.0.1:9/u", market_hub_url="http://127.0.0.1:9/m"
    )
    await realtime.setup_connections()
    return realtime


def test_the_sdk_is_the_version_all_this_was_measured_with() -> None:
    assert version("project-x-py") == "4.4.1"


@pytest.mark.parametrize(("owner", "name", "parameters"), CALLED)
def test_what_we_call_takes_what_we_give(
    owner: type, name: str, parameters: tuple[str, ...]
) -> None:
    taken = inspect.signature(getattr(owner, name)).parameters
    assert set(parameters) <= set(taken)


@pytest.mark.parametrize(("owner", "name"), COROUTINES)
def test_what_we_await_can_be_awaited(owner: type, name: str) -> None:
    assert inspect.iscoroutinefunction(inspect.unwrap(getattr(owner, name)))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_the_exceptions_we_sort_by_exist(name: str) -> None:
    assert issubclass(getattr(exceptions, name), exceptions.ProjectXError)


def test_a_client_keeps_its_login_where_we_put_it() -> None:
    sdk = client()
    assert sdk.session_token == ""
    assert sdk.token_expiry is None
    assert sdk._authenticated is False
    assert sdk.account_info is None
    assert sdk.headers == {"Content-Type": "application/json"}
    assert sdk._client is None
    assert sdk.rate_limiter.max_requests == 1_000_000


def test_a_client_given_a_login_without_end_never_renews_it_by_itself() -> None:
    sdk = client()
    hand_over(sdk, "a-token")
    assert sdk._authenticated
    assert not sdk._should_refresh_token()
    assert sdk.headers["Authorization"] == "Bearer a-token"


async def test_a_clients_answers_can_be_watched_on_the_wire() -> None:
    sdk = client()
    async with sdk:
        assert sdk._client is await sdk._ensure_client()
        assert isinstance(sdk._client.event_hooks["response"], list)


def test_the_calls_that_are_never_repeated_are_the_ones_we_know() -> None:
    assert {
        "/Order/place",
        "/Order/cancel",
        "/Order/modify",
        "/Position/closeContract",
        "/Position/partialCloseContract",
    } == MUTATING_ENDPOINTS


async def test_a_realtime_client_holds_two_hubs_that_are_not_started() -> None:
    realtime = await a_realtime_client()
    for hub in (realtime.user_connection, realtime.market_connection):
        assert isinstance(hub, AsyncHubConnection)
        assert hub._run_task is None
        assert hub._client is None
        assert "access_token=a-token" in hub.url
    assert "GatewayUserPosition" in realtime.user_connection._event_handlers
    assert "GatewayQuote" in realtime.market_connection._event_handlers
    assert isinstance(realtime.stale_feed_seconds, float)
    assert realtime._stale_feed_task is None


async def test_a_hub_once_started_can_be_looked_into() -> None:
    realtime = await a_realtime_client()
    hub = realtime.user_connection
    await hub.start()
    try:
        assert not hub._run_task.done()
        transport = hub._client._transport
        assert isinstance(transport, WebsocketTransport)
        assert transport._ws is None
        assert callable(transport._callback)
    finally:
        await hub.stop()
    assert hub._run_task is None


def test_hub_errors_say_what_we_tell_them_apart_by() -> None:
    assert isinstance(AuthorizationError(), Exception)
    assert HubRefusedError(503).status == 503
    assert ServerError("closing").message == "closing"
    assert CloseMessage("bye").error == "bye"
    assert CompletionMessage("1").error is None
    assert isinstance(PingMessage(), PingMessage)
