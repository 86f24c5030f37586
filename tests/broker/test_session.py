"""The login: shared, renewed in time, and a wrong key told apart from trouble on the line."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from fake_sdk import FakeApi, MovableClock, fake_token
from project_x_py.exceptions import (
    ProjectXAuthenticationError,
    ProjectXConnectionError,
    ProjectXRateLimitError,
    ProjectXServerError,
)
from pydantic import SecretStr

from risk_manager.broker.sdk_logging import quieten_sdk_logging
from risk_manager.broker.session import (
    CredentialsRefused,
    GatewayAddress,
    GatewaySession,
    GatewayUnavailable,
    SessionTimings,
    Token,
    ask_once,
)
from risk_manager.clock import SystemClock
from risk_manager.practice.gateway import PracticeGateway

WAIT = 5.0
LOGIN = "/Auth/loginKey"
QUICK = SessionTimings(
    check=0.005, renew_retries=(0.005, 0.01), keep_warm=0.01, login=2.0, between_logins=0.0
)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def address(api_key: str = "secret-api-key") -> GatewayAddress:
    return GatewayAddress(
        kind="practice",
        api_url="http://127.0.0.1:9/api",
        user_hub_url="http://127.0.0.1:9/hubs/user",
        market_hub_url="http://127.0.0.1:9/hubs/market",
        username="trader",
        api_key=SecretStr(api_key),
    )


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def api(clock: MovableClock) -> FakeApi:
    fake = FakeApi()
    fake.now = clock.now
    return fake


@pytest.fixture
async def session(api: FakeApi, clock: MovableClock) -> AsyncIterator[GatewaySession]:
    async with GatewaySession(
        address(), clock=clock, timings=QUICK, build=api.build, connect=api.connect
    ) as entered:
        yield entered


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - the condition is plain state of a fake
            await asyncio.sleep(0.002)


async def test_one_login_serves_reads_and_enforcement(
    api: FakeApi, session: GatewaySession
) -> None:
    assert not session.logged_in
    await session.log_in()
    assert session.logged_in
    assert api.count(LOGIN) == 1
    assert session.client.session_token == session.token == api.tokens[0]
    assert session.client.headers["Authorization"] == f"Bearer {session.token}"
    assert api.requests[0] == (LOGIN, {"userName": "trader", "apiKey": "secret-api-key"})


async def test_half_an_emoji_in_an_answer_can_be_kept(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    api.always["/Order/searchOpen"] = {
        "success": True,
        "orders": [{"id": 7, "customTag": "to the \ud83d", "\udc00": None}, {"customTag": "Käse"}],
    }
    reply = await ask_once(session.client, "/Order/searchOpen", {"accountId": 101})
    assert reply["success"] is True
    assert reply["orders"] == [{"id": 7, "customTag": "to the ?", "?": None}, {"customTag": "Käse"}]


async def test_client_and_connections_are_built_on_entering_and_closed_on_leaving(
    api: FakeApi, clock: MovableClock
) -> None:
    async with GatewaySession(address(), clock=clock, build=api.build, connect=api.connect):
        assert [c.opened for c in api.clients] == [True]
        assert [c.opened for c in api.connections] == [True, True]
        assert [client.config.timeout_seconds for client in api.clients] == [10]
        assert all(client.config.requests_per_minute > 100_000 for client in api.clients)
        assert {client.config.api_url for client in api.clients} == {"http://127.0.0.1:9/api"}
    assert [c.closed for c in api.clients] == [True]
    assert [c.closed for c in api.connections] == [True, True]


@pytest.mark.parametrize("code", [1, 2, 3, 4, 7, 9, 10])
async def test_a_refused_key_is_not_trouble_on_the_line(
    api: FakeApi, session: GatewaySession, code: int
) -> None:
    api.script[LOGIN].append(
        {"success": False, "errorCode": code, "errorMessage": "no", "token": None}
    )
    with pytest.raises(CredentialsRefused, match=r"gateway\.api_key") as refused:
        await session.log_in()
    assert refused.value.error_code == code
    assert not session.logged_in


@pytest.mark.parametrize(
    "answer",
    [
        ProjectXConnectionError("All connection attempts failed"),
        ProjectXServerError("503"),
        ProjectXRateLimitError("429"),
        RuntimeError("anything an HTTP library may raise"),
        {"success": False, "errorCode": 8, "errorMessage": "unknown", "token": None},
        {"success": True, "errorCode": 0, "token": None},
        {},
        {"success": True, "errorCode": 0, "token": 7},
    ],
)
async def test_trouble_is_not_a_refused_key(
    api: FakeApi, session: GatewaySession, answer: dict[str, object] | Exception
) -> None:
    api.script[LOGIN].append(answer)
    with pytest.raises(GatewayUnavailable):
        await session.log_in()
    assert session.trouble is not None
    await session.log_in()
    assert session.logged_in
    assert session.trouble is None


async def test_trouble_can_be_told_though_half_a_character_came_with_it(
    api: FakeApi, session: GatewaySession
) -> None:
    api.script[LOGIN].append(RuntimeError("sorry \ud83d"))
    with pytest.raises(GatewayUnavailable):
        await session.log_in()
    assert session.trouble is not None
    assert session.trouble.encode().endswith(b"sorry ?")


async def test_a_login_answered_401_is_a_refused_key(api: FakeApi, session: GatewaySession) -> None:
    api.script[LOGIN].append(ProjectXAuthenticationError("Authentication failed"))
    with pytest.raises(CredentialsRefused):
        await session.log_in()


async def test_a_login_that_hangs_is_given_up(api: FakeApi, clock: MovableClock) -> None:
    api.gate.clear()
    timings = SessionTimings(login=0.02)
    async with GatewaySession(
        address(), clock=clock, timings=timings, build=api.build, connect=api.connect
    ) as session:
        with pytest.raises(GatewayUnavailable, match="no answer"):
            await session.log_in()


async def test_many_who_meet_a_401_share_one_login(api: FakeApi, session: GatewaySession) -> None:
    await session.log_in()
    stale = session.token
    renewed = await asyncio.gather(*(session.renew(stale) for _ in range(20)))
    assert api.count(LOGIN) == 2
    assert set(renewed) == {session.token}
    assert session.token != stale


async def test_who_comes_late_with_an_old_token_gets_the_new_one_without_a_login(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    stale = session.token
    await session.renew(stale)
    assert await session.renew(stale) == session.token
    assert api.count(LOGIN) == 2


async def test_a_failed_login_fails_for_all_who_waited_and_is_asked_once(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    api.script[LOGIN].append(ProjectXServerError("503"))
    results = await asyncio.gather(
        *(session.renew(session.token) for _ in range(5)), return_exceptions=True
    )
    assert [type(one) for one in results] == [GatewayUnavailable] * 5
    assert api.count(LOGIN) == 2
    assert session.token == api.tokens[0]


async def test_a_caller_that_is_cancelled_does_not_take_the_login_with_it(
    api: FakeApi, session: GatewaySession
) -> None:
    api.gate.clear()
    first = asyncio.create_task(session.renew())
    second = asyncio.create_task(session.renew())
    await until(lambda: api.count(LOGIN) == 1)
    first.cancel()
    api.gate.set()
    assert await second == session.token
    assert first.cancelled() or first.cancelling()


async def test_two_logins_in_a_row_keep_a_distance(api: FakeApi, clock: MovableClock) -> None:
    timings = SessionTimings(between_logins=3600)
    async with GatewaySession(
        address(), clock=clock, timings=timings, build=api.build, connect=api.connect
    ) as session:
        await session.log_in()
        again = asyncio.create_task(session.renew(session.token))
        done, _ = await asyncio.wait([again], timeout=0.05)
        assert not done
        assert api.count(LOGIN) == 1
        again.cancel()
        clock.move(timedelta(hours=1))


async def test_the_token_is_renewed_two_hours_before_it_ends(
    api: FakeApi, session: GatewaySession, clock: MovableClock
) -> None:
    await session.log_in()
    task = asyncio.create_task(session.run())
    clock.move(timedelta(hours=21, minutes=59))
    pings = api.pings
    await until(lambda: api.pings > pings + 2)
    assert api.count(LOGIN) == 1
    clock.move(timedelta(minutes=1))
    await until(lambda: api.count(LOGIN) == 2)
    assert session.client.session_token == api.tokens[1]
    task.cancel()


async def test_a_renewal_that_fails_is_tried_until_it_works(
    api: FakeApi, session: GatewaySession, clock: MovableClock
) -> None:
    await session.log_in()
    first = session.token
    api.script[LOGIN].extend([ProjectXConnectionError("down")] * 4)
    clock.move(timedelta(hours=23))
    task = asyncio.create_task(session.run())
    await until(lambda: session.token != first)
    assert api.count(LOGIN) == 6
    assert not task.done()
    task.cancel()


def test_a_short_lived_token_is_renewed_in_the_second_half_of_its_life() -> None:
    before = timedelta(hours=2)
    day = Token.read(fake_token(1, NOON + timedelta(hours=24)), NOON)
    assert day.renew_at(before) == NOON + timedelta(hours=22)
    hour = Token.read(fake_token(1, NOON + timedelta(hours=1)), NOON)
    assert hour.renew_at(before) == NOON + timedelta(minutes=30)


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "a.bnVsbA.c", "", "a.eyJleHAiOjF9.c"])
def test_a_token_without_a_believable_end_counts_as_a_day_long(text: str) -> None:
    assert Token.read(text, NOON).expires_at == NOON + timedelta(hours=24)


async def test_accounts_are_the_active_ones_and_the_configured_ones(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    locked = {"id": 102, "name": "ACC-B", "canTrade": False}
    active = {"success": True, "accounts": [{"id": 101, "name": "ACC-A", "canTrade": True}]}
    everything = {"success": True, "accounts": [*active["accounts"], locked, {"id": 99}]}  # type: ignore[misc]
    api.script["/Account/search"].extend([active, everything])
    found = await session.accounts(also=[101, 102])
    assert [one.id for one in found] == [101, 102]
    assert found[1].can_trade is False
    assert [body for path, body in api.requests if path == "/Account/search"] == [
        {"onlyActiveAccounts": True},
        {"onlyActiveAccounts": False},
    ]


async def test_one_account_that_cannot_be_read_does_not_hide_the_others(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    api.script["/Account/search"].append(
        {"success": True, "accounts": [{"id": "?"}, {"id": 101}, None, {}]}
    )
    assert [one.id for one in await session.accounts()] == [101]


@pytest.mark.parametrize(
    "answer",
    [{"success": False, "errorMessage": "no"}, {"success": True}, ProjectXServerError("x")],
)
async def test_an_account_list_refused_is_not_an_empty_account_list(
    api: FakeApi, session: GatewaySession, answer: dict[str, object] | Exception
) -> None:
    await session.log_in()
    api.script["/Account/search"].append(answer)
    with pytest.raises(GatewayUnavailable):
        await session.accounts()


async def test_a_revoked_token_is_replaced_when_listing_accounts(
    api: FakeApi, session: GatewaySession
) -> None:
    await session.log_in()
    api.valid.clear()
    assert [one.id for one in await session.accounts()] == [101]
    assert api.count(LOGIN) == 2


async def test_no_secret_in_what_is_logged_or_shown(
    api: FakeApi,
    session: GatewaySession,
    clock: MovableClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    api.script[LOGIN].append(RuntimeError("body was {'apiKey': 'secret-api-key'}"))
    with pytest.raises(GatewayUnavailable) as failed:
        await session.log_in()
    await session.log_in()
    token = Token.read(session.token, clock.now())
    told = caplog.text + repr(session.address) + repr(token) + str(failed.value)
    assert "secret-api-key" not in told
    assert session.token not in told
    assert session.trouble is None


def test_the_sdks_loggers_are_tamed() -> None:
    loud = logging.getLogger("project_x_py.some.module")
    loud.addHandler(logging.NullHandler())
    loud.propagate = False
    loud.setLevel(logging.DEBUG)
    logging.getLogger("pysignalr.transport").setLevel(logging.DEBUG)
    quieten_sdk_logging()
    for name in logging.root.manager.loggerDict:
        if name.startswith("project_x_py"):
            known = logging.getLogger(name)
            assert not known.handlers
            assert known.propagate
            assert known.getEffectiveLevel() == logging.WARNING
    for name in ("pysignalr.transport", "websockets.client", "httpx", "httpcore.http2", "hpack"):
        assert logging.getLogger(name).getEffectiveLevel() >= logging.WARNING
    quieten_sdk_logging(level=logging.DEBUG)
    assert loud.isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("pysignalr.transport").isEnabledFor(logging.INFO)
    quieten_sdk_logging()


# ---- with the real SDK ---------------------------------------------------------------------------


def address_of(gateway: PracticeGateway, api_key: str | None = None) -> GatewayAddress:
    return GatewayAddress(
        kind="practice",
        api_url=gateway.api_url,
        user_hub_url=gateway.user_hub_url,
        market_hub_url=gateway.market_hub_url,
        username=gateway.username,
        api_key=SecretStr(api_key or gateway.api_key),
    )


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with PracticeGateway() as running:
        yield running


@pytest.mark.wire
async def test_the_real_sdk_logs_in_while_enforcement_and_reads_have_connections_of_their_own(
    gateway: PracticeGateway,
) -> None:
    async with GatewaySession(address_of(gateway), clock=SystemClock()) as session:
        await session.log_in()
        assert [one.id for one in await session.accounts()] == [101, 102]
        path, body = "/Position/searchOpen", {"accountId": 101}
        assert (await ask_once(session.client, path, body))["success"] is True
        for connections in (session.connections, session.read_connections):
            answered = await connections.post(path, body, session.token)
            assert (answered.status, answered.body["success"]) == (200, True)
    assert [one.path for one in gateway.requests].count(LOGIN) == 1


@pytest.mark.wire
async def test_the_real_sdk_with_a_wrong_key_is_refused_for_that_reason(
    gateway: PracticeGateway,
) -> None:
    async with GatewaySession(address_of(gateway, "wrong"), clock=SystemClock()) as session:
        with pytest.raises(CredentialsRefused) as refused:
            await session.log_in()
    assert refused.value.error_code == 3
    assert "wrong" not in str(refused.value).split("errorCode 3")[0]


@pytest.mark.wire
async def test_the_real_sdk_and_nobody_there_is_trouble_at_once(gateway: PracticeGateway) -> None:
    where = address_of(gateway)
    await gateway.close()
    async with GatewaySession(where, clock=SystemClock()) as session:
        with pytest.raises(GatewayUnavailable, match="connection"):
            await session.log_in()


@pytest.mark.wire
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_real_sdk_tells_a_sick_gateway_from_a_wrong_key(
    gateway: PracticeGateway, status: int
) -> None:
    gateway.faults.add(LOGIN, status=status, retry_after=1, times=1)
    async with GatewaySession(address_of(gateway), clock=SystemClock()) as session:
        async with asyncio.timeout(WAIT):  # the SDK's own way with a 429 is to sleep a minute
            with pytest.raises(GatewayUnavailable):
                await session.log_in()
        await session.log_in()
        assert session.logged_in


@pytest.mark.wire
async def test_the_real_sdk_never_logs_in_behind_our_back(gateway: PracticeGateway) -> None:
    async with GatewaySession(address_of(gateway), clock=SystemClock(), timings=QUICK) as session:
        await session.log_in()
        await gateway.revoke_tokens()
        with pytest.raises(ProjectXAuthenticationError):
            await ask_once(session.client, "/Position/searchOpen", {"accountId": 101})
        assert [one.path for one in gateway.requests].count(LOGIN) == 1
        await session.renew(session.token)
        assert await ask_once(session.client, "/Position/searchOpen", {"accountId": 101})
