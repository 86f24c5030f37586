"""cancel_all: what an administrator calls off goes, and nothing else."""

from dataclasses import replace

from desk import Desk, make_desk

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.records import OrderStatus


async def test_cancel_all_is_tried_again_when_refused() -> None:
    desk = make_desk()
    entry = await desk.order("MNQ", 5, price=20990)
    await desk.admin("cancel_all")
    await desk.settle(desk.enforcer.actions[-1], Outcome.REFUSED)
    await desk.wait(seconds=30)
    assert desk.actions.count(f"cancel {entry}") > 1


async def test_cancel_all_means_the_orders_of_that_moment_also_over_a_restart() -> None:
    desk = make_desk()
    meant = await desk.order("MNQ", 5, price=20990)
    await desk.admin("cancel_all")
    await desk.restart()
    await desk.wait(seconds=5)
    assert desk.actions.count(f"cancel {meant}") > 1
    await desk.order("MNQ", 5, price=20990, order_id=meant, status=OrderStatus.CANCELLED)
    later = await desk.order("MNQ", 5, price=20990)
    await desk.wait(seconds=30)
    assert f"cancel {later}" not in desk.actions
    assert not desk.account().marks


async def test_cancel_all_before_the_account_has_been_read_is_not_lost() -> None:
    desk = make_desk()
    meant = await desk.order("MNQ", 5, price=20990)
    await desk.restart(read=False)
    await desk.admin("cancel_all")
    assert f"cancel {meant}" not in desk.actions
    await desk.report(positions={}, orders=[desk.account().orders[meant]])
    await desk.wait(seconds=1)
    assert f"cancel {meant}" in desk.actions


async def test_cancel_all_before_the_account_has_been_read_means_unknown_orders_too() -> None:
    desk = make_desk()
    known = await desk.order("MNQ", 5, price=20990)
    first = desk.account().orders[known]
    await desk.restart(read=False)
    await desk.admin("cancel_all")
    await desk.report(positions={}, orders=[first, replace(first, id=9999)])
    await desk.wait(seconds=1)
    assert {f"cancel {known}", "cancel 9999"} <= set(desk.actions)
    later = await desk.order("MNQ", 5, price=20990)
    await desk.wait(seconds=5)
    assert f"cancel {later}" not in desk.actions


async def answered(desk: Desk, outcome: Outcome, done: int) -> int:
    for action in desk.enforcer.actions[done:]:
        done += 1
        await desk.settle(action, outcome)
    return done


async def test_cancel_all_leaves_to_the_gateway_what_it_is_cancelling() -> None:
    desk = make_desk()
    orders = [await desk.order("MNQ", 1, price=20990 - n) for n in range(4)]
    await desk.admin("cancel_all")
    for n, order in enumerate(orders):  # as an exchange that has halted: it is noted, and waits
        await desk.order(
            "MNQ", 1, price=20990 - n, order_id=order, status=OrderStatus.PENDING_CANCELLATION
        )
    done = 0
    for _ in range(30):
        await desk.wait(seconds=3)  # so long the enforcer looks for the effect
        done = await answered(desk, Outcome.DONE, done)
    assert "calls_braked" not in desk.alarms
    assert sorted(desk.actions) == sorted(f"cancel {o}" for o in orders)


async def test_a_stop_called_off_is_not_moved_as_well() -> None:
    desk = make_desk(
        trade_management={
            "enabled": True,
            "initial_stop": {"enabled": True, "ticks": 40},
            "breakeven": {"enabled": True, "trigger_ticks": 20, "offset_ticks": 0},
        },
    )
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=1)
    await desk.obey()
    assert len(desk.account().orders) == 1
    # The gateway refuses whatever is asked of this stop.
    await desk.admin("cancel_all")
    await desk.quote("MNQ", 21010)
    done = len(desk.enforcer.actions) - 1
    for _ in range(100):
        done = await answered(desk, Outcome.REFUSED, done)
    assert "calls_braked" not in desk.alarms
    assert len(desk.actions) < 6


async def test_an_order_that_one_list_left_out_is_still_called_off() -> None:
    desk = make_desk()
    meant = await desk.order("MNQ", 5, price=20990)
    known = desk.account().orders[meant]
    await desk.wait(seconds=2)
    await desk.admin("cancel_all")
    await desk.settle(desk.enforcer.actions[-1], Outcome.REFUSED)
    await desk.report(positions={}, orders=[])  # one wrong list
    await desk.wait(seconds=1)
    await desk.report(positions={}, orders=[known])
    await desk.wait(seconds=10)
    assert desk.actions.count(f"cancel {meant}") == 2
