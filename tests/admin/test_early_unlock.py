"""Which locks ask for the second passphrase, on the desk of a trader."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from desk import Desk, rules_from
from virtual_time import BEGAN, LoopClock, in_virtual_time

from risk_manager.admin.verbs import AdminDesk
from risk_manager.domain.events import AnyEvent
from risk_manager.feed.admin import AdminError, AdminSession

SECOND = "what my friend knows"


@dataclass
class Friend:
    """The second person: present or not, with the questions kept."""

    is_set: bool = True
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def confirm(self, passphrase: object, target: str, about: dict[str, Any]) -> None:
        self.asked.append((target, about))
        if passphrase != SECOND:
            raise AdminError("wrong_second", "that is not the second passphrase")


async def cleared(desk: Desk, friend: Friend, **params: Any) -> list[str]:
    """Clear the locks of the account; the rules whose locks were lifted."""

    async def take(*events: AnyEvent) -> None:
        for event in events:
            await desk.happens(event)

    admin = AdminDesk(take, lambda: desk.pipeline.state, LoopClock(), second=friend)
    order = {"account_id": 101, "reason": "the stop was a slip", **params}
    answer = await admin.handle("clear_lockout", order, AdminSession(peer="the desk"))
    return [row["rule_id"] for row in answer["lifted"]]


async def lost_with(**terms: Any) -> Desk:
    """A desk whose daily loss limit has locked it."""
    desk = Desk(rules_from(daily_realized_loss={"limit": 100, **terms}), at=BEGAN)
    await desk.loss(150)
    await desk.wait(seconds=1)
    assert list(desk.locked_by()) == ["daily_realized_loss"]
    return desk


@in_virtual_time
async def test_a_lock_that_an_administrator_may_lift_needs_the_second_person() -> None:
    desk, friend = await lost_with(unlock="admin", lockout="manual"), Friend()
    await desk.wait(days=1)  # today's loss would lock again at once
    with pytest.raises(AdminError):
        await cleared(desk, friend)
    assert list(desk.locked_by()) == ["daily_realized_loss"]
    assert await cleared(desk, friend, second=SECOND) == ["daily_realized_loss"]
    about = {
        "reason": "the stop was a slip",
        "scope": "account",
        "rule_id": None,
        "with": "the desk",
    }
    assert friend.asked == [("account:101", about)] * 2


@in_virtual_time
async def test_where_no_passphrase_is_set_it_is_lifted_as_before() -> None:
    desk, friend = await lost_with(unlock="admin", lockout="manual"), Friend(is_set=False)
    await desk.wait(days=1)
    assert await cleared(desk, friend) == ["daily_realized_loss"]
    assert friend.asked == []


@in_virtual_time
async def test_a_lock_that_nobody_may_lift_is_refused_without_a_question() -> None:
    desk, friend = await lost_with(unlock="timer_only"), Friend()
    with pytest.raises(AdminError) as refused:
        await cleared(desk, friend, second=SECOND)
    assert refused.value.code == "refused"
    assert friend.asked == []


@in_virtual_time
async def test_a_lock_that_ends_by_hand_from_the_next_day_on_is_then_no_early_unlock() -> None:
    desk, friend = await lost_with(unlock="timer_only", lockout="manual"), Friend()
    await desk.wait(days=2)
    assert await cleared(desk, friend) == ["daily_realized_loss"]
    assert friend.asked == []
