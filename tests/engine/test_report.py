"""The one account of a step: each word for an action and for an ended call."""

from datetime import timedelta

import pytest
from desk import MORNING, DeskMaker

from risk_manager.domain.decisions import (
    Action,
    Ask,
    Cancel,
    Close,
    Flatten,
    LockOut,
    Outcome,
    Protect,
    ReduceTo,
    Remember,
)
from risk_manager.domain.events import ActionSettled, Tick
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.engine.report import Result, effect_of, kind_of, reported, result_of


@pytest.mark.parametrize(
    ("outcome", "verified", "result"),
    [
        (Outcome.DONE, True, Result.CONFIRMED),
        (Outcome.DONE, False, Result.UNCERTAIN),
        (Outcome.GONE, True, Result.CONFIRMED),
        (Outcome.GONE, False, Result.UNCERTAIN),
        (Outcome.REFUSED, True, Result.FAILED),
        (Outcome.REFUSED, False, Result.FAILED),
        (Outcome.UNSENT, True, Result.FAILED),
        (Outcome.UNSENT, False, Result.FAILED),
        (Outcome.UNKNOWN, True, Result.UNCERTAIN),
        (Outcome.UNKNOWN, False, Result.UNCERTAIN),
    ],
)
def test_how_a_call_ended(
    desk: DeskMaker, outcome: Outcome, verified: bool, result: Result
) -> None:
    event = ActionSettled(
        at=desk().now, account_id=101, action_id="101-1", outcome=outcome, verified=verified
    )
    assert result_of(event) is result


def test_every_kind_of_action_has_a_word() -> None:
    kinds = Action.__subclasses__()
    assert kinds
    for kind in kinds:
        assert kind_of(kind.__new__(kind))


async def test_a_call_and_its_end_are_told_with_their_rule(desk: DeskMaker) -> None:
    d = desk(symbol_blocks={"enabled": True, "blocked": ["NQ"]})
    step = await d.position("NQ", 1, 21000)
    asked = reported(Tick(at=d.now), step)
    (call,) = asked.calls
    assert (call.kind, call.tries, call.rule_ids) == ("close_position", 1, ("symbol_blocks",))
    assert asked.decisions
    await d.wait(seconds=0.5)
    event = ActionSettled(
        at=d.now, account_id=101, action_id=call.action.id, outcome=Outcome.DONE, verified=True
    )
    (settled,) = reported(event, await d.happens(event)).settled
    assert settled.call.action == call.action
    assert settled.result is Result.CONFIRMED
    assert settled.took == timedelta(seconds=0.5)


def lock_out(kind: LockKind, policy: LockPolicy, scope: str = "account") -> LockOut:
    at = MORNING
    return LockOut(
        Lock(
            account_id=101, scope=scope, rule_id="any", kind=kind, policy=policy,
            release=Release.RESET, reason="", set_at=at, expires_at=None,
            trading_date=at.date(), trigger="",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asks", "word"),
    [
        ((), "warn"),
        ((Remember("subject"),), "warn"),
        ((Cancel((7,)),), "cancel_order"),
        ((Cancel((7,)), ReduceTo("C", 1)), "reduce_position"),
        ((Protect("C"),), "auto_stop_loss"),
        ((Close("C"), Cancel((7,))), "close_position"),
        ((Flatten("account"), Close("C")), "close_all_positions"),
        ((lock_out(LockKind.HARD, LockPolicy.FLAT), Flatten("account")), "close_all_and_lockout"),
        ((lock_out(LockKind.HARD, LockPolicy.FLAT, "root:NQ"),), "lockout"),
        ((lock_out(LockKind.HARD, LockPolicy.NO_ENTRIES),), "lockout"),
        ((lock_out(LockKind.COOLDOWN, LockPolicy.NO_ENTRIES),), "cooldown"),
    ],
)
def test_a_decision_is_named_by_the_weightiest_of_what_it_asks_for(
    asks: tuple[Ask, ...], word: str
) -> None:
    assert effect_of(asks) == word
