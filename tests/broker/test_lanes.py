"""The two lanes, and what every way a call can end is taken to mean."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import aiohttp
import pytest
from paper_broker import (
    CANCEL,
    CLOSE,
    CONTRACT,
    MNQ,
    MODIFY,
    ORDERS,
    PARTIAL_CLOSE,
    PLACE,
    POSITIONS,
    PaperBroker,
    hang,
    no_line,
    slow,
    status,
)
from virtual_time import LoopClock, in_virtual_time

from risk_manager.broker.lanes import Call, Lanes
from risk_manager.broker.replies import (
    Answer,
    StatusError,
    reply_of,
    reply_of_error,
    retry_after_seconds,
)
from risk_manager.broker.request_budget import Limits
from risk_manager.broker.single_requests import Lane
from risk_manager.broker.warm_connections import UnreadableAnswer
from risk_manager.right_of_way import RightOfWay

ABOUT = {"accountId": 101, "contractId": MNQ}


def caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# --- what an answer means -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (CLOSE, {"success": True, "errorCode": 0}, Answer.OK),
        (CLOSE, {"success": False, "errorCode": 2}, Answer.GONE),
        (PARTIAL_CLOSE, {"success": False, "errorCode": 2}, Answer.GONE),
        (CANCEL, {"success": False, "errorCode": 2}, Answer.GONE),
        (MODIFY, {"success": False, "errorCode": 2}, Answer.GONE),
        (PLACE, {"success": False, "errorCode": 2}, Answer.REFUSED),
        (POSITIONS, {"success": False, "errorCode": 2}, Answer.REFUSED),
        (CLOSE, {"success": False, "errorCode": 6}, Answer.PENDING),
        (PARTIAL_CLOSE, {"success": False, "errorCode": 7}, Answer.PENDING),
        (PARTIAL_CLOSE, {"success": False, "errorCode": 6}, Answer.REFUSED),
        (CLOSE, {"success": False, "errorCode": 4}, Answer.REFUSED),
        (CLOSE, {"success": False, "errorCode": 99}, Answer.REFUSED),
        (CLOSE, {"success": False, "errorCode": None}, Answer.REFUSED),
        (CLOSE, {"success": False, "errorCode": True}, Answer.REFUSED),
        (CLOSE, {"success": False}, Answer.REFUSED),
        (CLOSE, {"success": "true"}, Answer.UNKNOWN),
        (CLOSE, {"success": 1}, Answer.UNKNOWN),
        (CLOSE, {"success": None}, Answer.UNKNOWN),
        (CLOSE, {}, Answer.UNKNOWN),
        (CLOSE, [], Answer.UNKNOWN),
        (CLOSE, "pong", Answer.UNKNOWN),
        (CLOSE, None, Answer.UNKNOWN),
    ],
)
def test_each_body_has_one_meaning_and_only_a_plain_success_is_success(
    path: str, body: object, expected: Answer
) -> None:
    reply = reply_of(path, body)
    assert reply.answer is expected
    assert reply.ok or reply.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StatusError(400), Answer.INVALID),
        (StatusError(403), Answer.INVALID),
        (StatusError(404), Answer.INVALID),
        (StatusError(422), Answer.INVALID),
        (StatusError(401), Answer.UNAUTHORISED),
        (StatusError(429), Answer.LIMITED),
        (StatusError(408), Answer.UNKNOWN),
        (StatusError(302), Answer.UNKNOWN),
        (StatusError(500), Answer.UNKNOWN),
        (StatusError(502), Answer.UNKNOWN),
        (StatusError(503), Answer.UNKNOWN),
        (StatusError(504), Answer.UNKNOWN),
        (aiohttp.ConnectionTimeoutError("x"), Answer.UNSENT),
        (aiohttp.InvalidURL("x"), Answer.UNSENT),
        (aiohttp.ServerDisconnectedError("x"), Answer.UNKNOWN),
        (aiohttp.SocketTimeoutError("x"), Answer.UNKNOWN),
        (aiohttp.ClientOSError("x"), Answer.UNKNOWN),
        (aiohttp.ClientPayloadError("x"), Answer.UNKNOWN),
        (UnreadableAnswer("x"), Answer.UNKNOWN),
        (caused_by(ValueError("x"), aiohttp.ConnectionTimeoutError("x")), Answer.UNSENT),
        (TimeoutError(), Answer.UNKNOWN),
        (OSError("x"), Answer.UNKNOWN),
        (ValueError("x"), Answer.UNKNOWN),
    ],
)
def test_each_error_has_one_meaning_and_what_nobody_foresaw_is_unknown(
    error: Exception, expected: Answer
) -> None:
    reply = reply_of_error(CLOSE, error)
    assert reply.answer is expected
    assert reply.message


def test_a_refusal_without_words_gets_the_words_of_its_code() -> None:
    assert reply_of(CLOSE, {"success": False, "errorCode": 8}).message == "account rejected"
    assert reply_of(PLACE, {"success": False, "errorCode": 5}).message == "outside trading hours"
    assert reply_of(CLOSE, {"success": False, "errorCode": 77}).message == "refused with code 77"
    said = {"success": False, "errorCode": 8, "errorMessage": " no\nway "}
    assert reply_of(CLOSE, said).message == "no way"


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    assert retry_after_seconds("7", now) == 7
    assert retry_after_seconds(format_datetime(now + timedelta(seconds=30), True), now) == 30
    assert retry_after_seconds(format_datetime(now - timedelta(seconds=30), True), now) == 0
    assert retry_after_seconds("soon", now) is None
    assert retry_after_seconds(None, now) is None
    for nonsense in ("nan", "inf", "", f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT"):
        assert retry_after_seconds(nonsense, now) is None


# --- the lanes ------------------------------------------------------------------------------------


class Desk:
    def __init__(self, broker: PaperBroker, limits: Limits | None = None) -> None:
        self.broker = broker
        self.calls: list[Call] = []
        self.right_of_way = RightOfWay()
        self.lanes = Lanes(
            broker,
            LoopClock(),
            limits=limits,
            on_call=self.calls.append,
            right_of_way=self.right_of_way,
        )

    def now(self) -> float:
        return asyncio.get_running_loop().time()


@asynccontextmanager
async def lanes(broker: PaperBroker, limits: Limits | None = None) -> AsyncIterator[Desk]:
    desk = Desk(broker, limits)
    async with desk.lanes:
        yield desk


@in_virtual_time
async def test_a_close_is_on_its_way_before_act_first_waits() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with lanes(broker) as desk:
        acting = desk.lanes.act(CLOSE, ABOUT)
        acting.send(None)  # one step of the coroutine, no turn of the loop
        assert [a.path for a in broker.asked] == [CLOSE]
        acting.close()


@in_virtual_time
async def test_a_close_leaves_at_once_though_sixty_polls_wait_and_reads_are_paused() -> None:
    broker = PaperBroker()
    broker.always[POSITIONS] = status(429, "60")
    async with lanes(broker) as desk:
        async with asyncio.TaskGroup() as group:
            polls = [group.create_task(desk.lanes.read(POSITIONS, ABOUT)) for _ in range(60)]
            await asyncio.sleep(0.05)
            broker.hold(101, MNQ, 2)
            before = desk.now()
            reply = await desk.lanes.act(CLOSE, ABOUT)
        assert reply.ok
        assert broker.calls(CLOSE)[0].at == before
        assert all(poll.result().answer is Answer.LIMITED for poll in polls)
        assert desk.now() < 1.0  # nobody slept for a minute


@in_virtual_time
async def test_a_close_leaves_at_once_while_facts_wait_and_reads_follow_when_they_are_judged() -> (
    None
):
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with lanes(broker) as desk:
        desk.right_of_way.take()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(desk.lanes.read(POSITIONS, ABOUT))
            looking = group.create_task(desk.lanes.look(POSITIONS, ABOUT))
            await asyncio.sleep(0.02)
            assert (await desk.lanes.act(CLOSE, ABOUT)).ok
            assert [a.path for a in broker.asked] == [CLOSE]
            desk.right_of_way.give_back()
        assert reading.result().ok
        assert looking.result().ok


@in_virtual_time
async def test_reads_wait_for_facts_no_longer_than_a_tenth_of_a_second() -> None:
    broker = PaperBroker()
    async with lanes(broker) as desk:
        desk.right_of_way.take()  # and never given back
        before = desk.now()
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok
        assert desk.now() - before == pytest.approx(0.1, abs=0.01)


@in_virtual_time
async def test_reads_that_waited_together_keep_to_their_budget() -> None:
    broker = PaperBroker()
    async with lanes(broker, Limits(reads=20, looks=10)) as desk:
        desk.right_of_way.take()
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(desk.lanes.read(POSITIONS, ABOUT)) for _ in range(30)]
            await asyncio.sleep(0)
            desk.right_of_way.give_back()
        assert sum(read.result().ok for read in reads) == 20
        assert len(broker.asked) == 20


@in_virtual_time
async def test_a_429_pauses_reads_as_long_as_the_gateway_asks_and_no_longer() -> None:
    broker = PaperBroker()
    broker.faults[POSITIONS].append(status(429, "7"))
    async with lanes(broker) as desk:
        assert (await desk.lanes.read(POSITIONS, ABOUT)).answer is Answer.LIMITED
        reply = await desk.lanes.read(POSITIONS, ABOUT)
        assert reply.answer is Answer.LIMITED
        assert reply.retry_after_seconds == pytest.approx(7, abs=0.1)
        assert len(broker.asked) == 1  # the second one did not even leave
        await asyncio.sleep(7)
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok


@in_virtual_time
async def test_a_429_on_a_close_is_a_refusal_and_pauses_the_reads() -> None:
    broker = PaperBroker()
    broker.faults[CLOSE].append(status(429, "5"))
    async with lanes(broker) as desk:
        assert (await desk.lanes.act(CLOSE, ABOUT)).answer is Answer.LIMITED
        assert desk.lanes.reads_paused_seconds == pytest.approx(5, abs=0.1)
        assert len(broker.calls(CLOSE)) == 1


@in_virtual_time
async def test_reads_keep_to_their_budget_and_closes_have_none() -> None:
    broker = PaperBroker()
    async with lanes(broker, Limits(reads=20)) as desk:
        replies = [await desk.lanes.read(POSITIONS, ABOUT) for _ in range(25)]
        assert sum(r.ok for r in replies) == 20
        assert {r.answer for r in replies[20:]} == {Answer.LIMITED}
        for _ in range(100):
            assert (await desk.lanes.act(CLOSE, ABOUT)).answer is Answer.GONE
        await asyncio.sleep(60)
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok


@in_virtual_time
async def test_the_looks_of_enforcement_leave_room_for_closes_by_taking_the_other_lane() -> None:
    broker = PaperBroker()
    async with lanes(broker, Limits(looks=10, reads=5)) as desk:
        looks = [await desk.lanes.look(POSITIONS, ABOUT) for _ in range(20)]
        assert [a.lane for a in broker.asked] == [Lane.FAST] * 10 + [Lane.SLOW] * 5
        assert {look.answer for look in looks[15:]} == {Answer.LIMITED}
        assert (await desk.lanes.act(CLOSE, ABOUT)).answer is Answer.GONE


@in_virtual_time
async def test_the_looks_after_closes_come_before_other_reads() -> None:
    broker = PaperBroker()
    async with lanes(broker) as desk:
        for _ in range(50):
            await asyncio.sleep(1)
            await desk.lanes.act(CLOSE, ABOUT)
            await asyncio.gather(*(desk.lanes.read(POSITIONS, ABOUT) for _ in range(2)))
        looks = [await desk.lanes.look(POSITIONS, ABOUT) for _ in range(20)]
        assert {look.answer for look in looks} == {Answer.OK}


@in_virtual_time
async def test_whatever_is_read_the_closes_of_a_hot_minute_find_room() -> None:
    broker = PaperBroker()
    async with lanes(broker) as desk:
        for _ in range(120):  # a close a second, as often as the brake allows, and all the reading
            await asyncio.sleep(1)
            await desk.lanes.act(CLOSE, ABOUT)
            await asyncio.gather(
                *(desk.lanes.look(POSITIONS, ABOUT) for _ in range(3)),
                *(desk.lanes.read(POSITIONS, ABOUT) for _ in range(3)),
            )
        asked = [call.at for call in broker.asked]
        assert max(sum(at - 60 < other <= at for other in asked) for at in asked) <= 200
        second_minute = [call.path for call in broker.asked if call.at > 60]
        assert second_minute.count(POSITIONS) >= 20


@in_virtual_time
async def test_a_start_after_a_crash_goes_on_with_the_minute_that_the_gateway_counts() -> None:
    """What the run before has used is known by its calls. A start reads all the same."""
    broker = PaperBroker()

    async def a_hot_time(desk: Desk, seconds: int) -> None:
        for _ in range(seconds):
            await asyncio.sleep(1)
            await desk.lanes.act(CLOSE, ABOUT)
            await asyncio.gather(
                *(desk.lanes.look(POSITIONS, ABOUT) for _ in range(3)),
                desk.lanes.read(POSITIONS, ABOUT),
            )

    async with lanes(broker) as crashed:
        await a_hot_time(crashed, 30)
    began = crashed.now()
    async with lanes(broker) as desk:
        desk.lanes.take_up(timedelta(seconds=began - call.at) for call in broker.calls(CLOSE))
        assert all([(await desk.lanes.read(POSITIONS, ABOUT)).ok for _ in range(4)])
        await a_hot_time(desk, 60)
    asked = [call.at for call in broker.asked]
    assert max(sum(at - 60 < other <= at for other in asked) for at in asked) <= 200
    later = [call.path for call in broker.asked if call.at > began + 30]
    assert later.count(POSITIONS) >= 20


@in_virtual_time
async def test_with_the_budget_spent_enforcement_still_looks_every_five_seconds() -> None:
    broker = PaperBroker()
    async with lanes(broker) as desk:
        desk.lanes.take_up(timedelta(seconds=1) for _ in range(40))
        while (await desk.lanes.read(POSITIONS, ABOUT)).ok:
            pass
        began, seen = desk.now(), []
        while desk.now() < began + 30:
            replies = [await desk.lanes.look(POSITIONS, ABOUT) for _ in range(3)]
            seen += [desk.now() for reply in replies if reply.ok]
            assert replies[-1].answer is Answer.LIMITED
            await asyncio.sleep(max(replies[-1].retry_after_seconds or 0.0, 0.1))
        assert len(seen) == 12
        assert max(b - a for a, b in pairwise(seen)) <= 5.2


@in_virtual_time
async def test_with_the_budget_spent_no_account_is_left_out_because_another_is_looked_at() -> None:
    """Both ask again every two seconds, as a start does; the second is always a little late."""
    broker = PaperBroker()
    async with lanes(broker) as desk:
        desk.lanes.take_up(timedelta(seconds=1) for _ in range(40))
        while (await desk.lanes.read(POSITIONS, ABOUT)).ok:
            pass
        seen: dict[int, list[float]] = {101: [], 102: []}
        await desk.lanes.look(CONTRACT, {"contractId": "CON.F.US.MNQ.Z26"})
        for _ in range(7):
            for account_id, times in seen.items():
                about = {"accountId": account_id}
                pair = [await desk.lanes.look(path, about) for path in (ORDERS, POSITIONS)]
                assert len({reply.answer for reply in pair}) == 1  # one half is useless alone
                times += [desk.now()] * pair[0].ok
                await asyncio.sleep(0.3)
            await asyncio.sleep(1.4)
        assert len(seen[101]) == len(seen[102]) == 3


@in_virtual_time
async def test_a_close_is_sent_once_whatever_happens_to_it() -> None:
    for fault in (status(500), status(503), status(429), no_line):
        broker = PaperBroker()
        broker.always[CLOSE] = fault
        async with lanes(broker) as desk:
            reply = await desk.lanes.act(CLOSE, ABOUT)
            assert not reply.ok
            await asyncio.sleep(120)
            assert len(broker.calls(CLOSE)) == 1


@in_virtual_time
async def test_a_close_that_hangs_is_unknown_after_the_limit_and_heard_of_when_it_ends() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    gate = asyncio.Event()
    broker.faults[CLOSE].append(hang(gate))
    async with lanes(broker) as desk:
        reply = await desk.lanes.act(CLOSE, ABOUT)
        assert reply.answer is Answer.UNKNOWN
        assert desk.now() == pytest.approx(3.5)
        gate.set()
        await asyncio.sleep(0.1)
        assert [(c.answer, c.late) for c in desk.calls] == [
            (Answer.UNKNOWN, False),
            (Answer.OK, True),
        ]


@in_virtual_time
async def test_a_caller_who_is_cancelled_does_not_take_the_close_with_it() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    async with lanes(broker) as desk:
        task = asyncio.ensure_future(desk.lanes.act(CLOSE, ABOUT))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        assert broker.held == {}


@in_virtual_time
async def test_a_token_that_is_refused_is_renewed_once_and_the_close_sent_again() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    broker.faults[CLOSE].append(status(401))
    async with lanes(broker) as desk:
        assert (await desk.lanes.act(CLOSE, ABOUT)).ok
        assert broker.renewals == 1
        broker.always[CLOSE] = status(401)
        assert (await desk.lanes.act(CLOSE, ABOUT)).answer is Answer.UNAUTHORISED
        assert broker.renewals == 2
        assert len(broker.calls(CLOSE)) == 4


@in_virtual_time
async def test_a_login_that_comes_too_late_sends_nothing_after_we_gave_up() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 2)
    broker.faults[CLOSE].append(status(401))

    async def slow_login() -> object:
        await asyncio.sleep(10)
        return "late"

    broker.login = slow_login
    async with lanes(broker) as desk:
        reply = await desk.lanes.act(CLOSE, ABOUT)
        assert reply.answer is Answer.UNAUTHORISED
        await asyncio.sleep(20)
        assert len(broker.calls(CLOSE)) == 1
        assert broker.held == {(101, MNQ): 2}


@in_virtual_time
async def test_a_login_that_fails_is_told_and_harms_nothing() -> None:
    broker = PaperBroker()
    broker.always["*"] = status(401)

    async def refused() -> object:
        raise RuntimeError("wrong key")

    broker.login = refused
    async with lanes(broker) as desk:
        for reply in (
            await desk.lanes.act(CLOSE, ABOUT),
            await desk.lanes.look(POSITIONS, ABOUT),
            await desk.lanes.read(POSITIONS, ABOUT),
        ):
            assert reply.answer is Answer.UNAUTHORISED
            assert "wrong key" in reply.message


@in_virtual_time
async def test_a_read_tries_again_in_a_moment_and_gives_up_within_nine_seconds() -> None:
    broker = PaperBroker()
    broker.faults[POSITIONS] += [status(503), no_line]
    async with lanes(broker) as desk:
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok
        assert len(broker.asked) == 3
        broker.always[POSITIONS] = slow(60)
        before = desk.now()
        assert (await desk.lanes.read(POSITIONS, ABOUT)).answer is Answer.UNKNOWN
        assert desk.now() - before <= 9.01


@in_virtual_time
async def test_a_read_that_is_not_answered_is_sent_again_and_the_first_answer_counts() -> None:
    broker = PaperBroker()
    async with lanes(broker) as desk:
        broker.faults[POSITIONS] += [slow(60)]  # the first is lost, the second answered at once
        before = desk.now()
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok
        assert desk.now() - before == pytest.approx(2.5, abs=0.05)
        broker.faults[POSITIONS] += [slow(4), status(503)]  # the second fails, the first is slow
        before = desk.now()
        assert (await desk.lanes.read(POSITIONS, ABOUT)).ok
        assert desk.now() - before == pytest.approx(4, abs=0.05)
        assert len(broker.asked) == 4


@in_virtual_time
async def test_a_look_waits_no_longer_than_a_second() -> None:
    broker = PaperBroker()
    broker.always[POSITIONS] = slow(60)
    async with lanes(broker) as desk:
        reply = await desk.lanes.look(POSITIONS, ABOUT)
        assert reply.answer is Answer.UNKNOWN
        assert reply.message == f"no answer to {POSITIONS} within 1.0 s"
        assert desk.now() == pytest.approx(1)
        assert len(broker.asked) == 1


@in_virtual_time
async def test_every_call_is_told_and_a_listener_that_fails_stops_nothing() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 1)
    errors: list[str] = []

    def deaf(call: Call) -> None:
        raise RuntimeError("disk full")

    talking = Lanes(
        broker, LoopClock(), on_call=deaf, on_error=lambda name, error: errors.append(str(error))
    )
    async with talking:
        assert (await talking.act(CLOSE, ABOUT)).ok
    assert errors == ["disk full"]

    async with lanes(broker) as desk:
        await desk.lanes.act(CLOSE, ABOUT)
        (call,) = desk.calls
        assert (call.lane, call.path, call.body) == (Lane.FAST, CLOSE, ABOUT)
        assert (call.answer, call.code, call.message) == (Answer.GONE, 2, "position not found")
        assert call.took_ms == pytest.approx(10)
