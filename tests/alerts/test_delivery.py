"""Messages go out in order, wait while nobody takes them, and delay nobody."""

import threading
import time
from collections.abc import Callable

from desk import MORNING

from risk_manager.alerts.book import Message
from risk_manager.alerts.delivery import MOST_WAITING, TRIES_IN_A_ROW, Delivery
from risk_manager.domain.decisions import Severity

NO_PAUSE = (0.001,)


def message(subject: str, text: str = "", severity: Severity = Severity.CRITICAL) -> Message:
    return Message(
        number=1, subject=subject, severity=severity, title=subject, text=text, at=MORNING
    )


class Pigeonhole:
    """A channel that the test opens and closes."""

    name = "phone"

    def __init__(self) -> None:
        self.accepted: list[tuple[str, str]] = []
        self.tried = 0
        self.reason = ""
        self.refuses: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def send(self, message: Message) -> str:
        self.tried += 1
        self.gate.wait()
        if self.reason or message.subject in self.refuses:
            return self.reason or "refused"
        self.accepted.append((message.subject, message.text))
        return ""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_messages_arrive_in_order_and_each_arrival_is_noted() -> None:
    channel, reached = Pigeonhole(), list[str]()
    delivery = Delivery(channel, on_reached=lambda m: reached.append(m.subject))
    delivery.start()
    for n in range(20):
        delivery.offer(message(f"m{n}"))
    until(lambda: len(reached) == 20)
    assert [s for s, _ in channel.accepted] == reached == [f"m{n}" for n in range(20)]
    delivery.stop(1)


def test_offering_never_waits_though_the_channel_hangs() -> None:
    channel = Pigeonhole()
    channel.gate.clear()
    delivery = Delivery(channel)
    delivery.start()
    delivery.offer(message("first"))
    until(lambda: channel.tried)
    begun = time.perf_counter()
    for n in range(1000):
        delivery.offer(message(f"m{n}", severity=Severity.WARNING))
    assert time.perf_counter() - begun < 2.0
    assert delivery.waiting == MOST_WAITING
    assert delivery.dropped == 1001 - MOST_WAITING
    channel.gate.set()
    until(lambda: delivery.waiting == 0)
    assert channel.accepted[0][0] == "first"
    assert channel.accepted[-1][0] == "m999"
    delivery.stop(1)


def test_an_outage_is_survived_and_of_each_matter_only_the_newest_word_is_sent() -> None:
    channel = Pigeonhole()
    channel.reason = "offline"
    delivery = Delivery(channel, pauses_s=NO_PAUSE)
    delivery.start()
    delivery.offer(message("lock", "set"))
    delivery.offer(message("day", "summary"))
    until(lambda: channel.tried > 3)
    assert delivery.reason == "offline"
    assert delivery.failing_s > 0
    delivery.offer(message("lock", "done"))
    channel.reason = ""
    until(lambda: delivery.waiting == 0)
    assert sorted(channel.accepted) == [("day", "summary"), ("lock", "done")]
    assert (delivery.failing_s, delivery.reason) == (0.0, "")
    delivery.stop(1)


def test_a_text_that_is_refused_does_not_hold_up_the_others() -> None:
    channel = Pigeonhole()
    channel.refuses = {"odd"}
    delivery = Delivery(channel, pauses_s=NO_PAUSE)
    delivery.start()
    delivery.offer(message("odd"))
    delivery.offer(message("fine"))
    until(lambda: channel.accepted == [("fine", "")])
    assert channel.tried > TRIES_IN_A_ROW
    delivery.stop(1)
    assert delivery.dropped == 1


def test_what_has_waited_too_long_is_given_up() -> None:
    now = [0.0]
    channel = Pigeonhole()
    channel.reason = "offline"
    delivery = Delivery(channel, pauses_s=NO_PAUSE, monotonic=lambda: now[0])
    delivery.start()
    delivery.offer(message("old"))
    until(lambda: channel.tried)
    assert delivery.waiting == 1
    now[0] = 13 * 3600.0
    until(lambda: delivery.dropped == 1)
    assert delivery.waiting == 0
    delivery.stop(1)


def test_a_stop_sends_what_waits_and_does_not_wait_for_a_channel_that_hangs() -> None:
    channel = Pigeonhole()
    delivery = Delivery(channel)
    delivery.start()
    delivery.offer(message("last"))
    delivery.stop(5)
    assert channel.accepted == [("last", "")]
    channel = Pigeonhole()
    channel.gate.clear()
    delivery = Delivery(channel)
    delivery.start()
    delivery.offer(message("last"))
    begun = time.monotonic()
    delivery.stop(0.1)
    assert time.monotonic() - begun < 5
    channel.gate.set()


def test_a_try_that_never_returns_is_noticed() -> None:
    now = [0.0]
    channel = Pigeonhole()
    channel.gate.clear()
    delivery = Delivery(channel, monotonic=lambda: now[0])
    delivery.start()
    assert delivery.failing_s == 0
    delivery.offer(message("first"))
    until(lambda: channel.tried)
    now[0] = 130.0
    assert delivery.failing_s == 130
    channel.gate.set()
    until(lambda: delivery.failing_s == 0)
    delivery.stop(1)


def test_a_channel_gets_only_what_is_grave_enough_for_it() -> None:
    delivery = Delivery(Pigeonhole(), least=Severity.WARNING)
    graves = [s for s in Severity if delivery.wants(message("x", severity=s))]
    assert graves == [Severity.WARNING, Severity.BREACH, Severity.CRITICAL]
