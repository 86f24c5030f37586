"""Several rules breaching on one event: one call, and every reason and every lock kept."""

from datetime import timedelta

from desk import Desk, DeskMaker, contract_id

from risk_manager.domain.locks import LockPolicy

MNQ = contract_id("MNQ")


def asked_by(d: Desk, symbol: str) -> set[str]:
    """The rules in whose name the position of a product is being closed."""
    return set(d.account().attempts[f"position:{contract_id(symbol)}"].rule_ids)


async def test_worked_a_loser_above_its_size_is_closed_once_in_both_names(
    desk: DeskMaker,
) -> None:
    d = desk(
        max_contracts_per_instrument={"limits": {"MNQ": 2}},
        daily_unrealized_loss={"limit": 300},
        daily_realized_loss={"limit": 500},
        cooldown_after_loss={"tiers": [{"loss": 300, "cooldown": "30m"}]},
    )
    await d.loss(450)
    await d.wait(minutes=31)
    await d.position("MNQ", 3, 21000)
    await d.quote("MNQ", 20948.25)  # -310.50
    assert d.actions == ["reduce MNQ to 2"]
    assert [x.spec_id for x in d.decisions] == ["RULE-003", "RULE-007", "RULE-002", "RULE-004"]
    await d.settle(d.enforcer.actions[-1])  # before it showed any effect
    assert d.actions == ["reduce MNQ to 2", "close MNQ"]
    await d.fill("MNQ", -3, pnl=-312)
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[-1])
    await d.wait(seconds=1)
    assert d.locked_by() == {"daily_realized_loss": "account", "cooldown_after_loss": "account"}
    assert d.lock_ends("cooldown_after_loss") == d.now + timedelta(minutes=30, seconds=-1)
    assert d.actions == ["reduce MNQ to 2", "close MNQ"]


async def test_one_quote_takes_an_open_loss_and_the_day_over_their_limits(desk: DeskMaker) -> None:
    d = desk(
        daily_unrealized_loss={"limit": 300},
        daily_realized_loss={"limit": 500, "include_unrealized": True, "warn_at": []},
        max_contracts={"limit": 5},
    )
    await d.loss(250)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 6000)
    await d.quote("ES", 6000)
    await d.quote("MNQ", 20925)  # -300
    assert sorted(d.actions) == ["close ES", "close MNQ"]
    assert {x.spec_id for x in d.decisions} == {"RULE-003", "RULE-004"}
    assert asked_by(d, "MNQ") == {"daily_realized_loss", "daily_unrealized_loss"}
    assert asked_by(d, "ES") == {"daily_realized_loss"}
    assert d.locked_by() == {"daily_realized_loss": "account"}
    await d.obey()
    await d.wait(minutes=5)
    assert len(d.actions) == 2


async def test_one_losing_fill_trips_four_rules_and_each_locks_for_itself(desk: DeskMaker) -> None:
    d = desk(
        daily_realized_loss={"limit": 500, "warn_at": []},
        cooldown_after_loss={
            "tiers": [{"loss": 100, "cooldown": "5m"}],
            "measure": "execution",
        },
        trade_frequency_limit={
            "count": "executions",
            "windows": [{"per": "1m", "max": 1, "cooldown": "10m"}],
        },
        consecutive_loss_limit={"losses": 1, "lockout": "1h"},
    )
    await d.position("ES", 2, 6000)
    stop = await d.stop("ES", -2, 5990)
    entry = await d.order("NQ", 1, price=20000)
    await d.position("MNQ", 0)
    await d.fill("MNQ", 1)
    await d.loss(500)
    await d.wait(seconds=1)
    assert set(d.locked_by()) == {
        "daily_realized_loss",
        "cooldown_after_loss",
        "trade_frequency_limit",
        "consecutive_loss_limit",
    }
    policies = {k.rule_id: k.policy for k in d.account().locks.values()}
    assert policies.pop("daily_realized_loss") is LockPolicy.FLAT
    assert set(policies.values()) == {LockPolicy.NO_ENTRIES}
    await d.obey()
    assert sorted(d.actions[:2]) == [f"cancel {entry}", "close ES"]
    assert d.actions[2:] == [f"cancel {stop}"]
    assert len(d.decisions) == 4
    await d.wait(hours=2)
    assert set(d.locked_by()) == {"daily_realized_loss"}


async def test_of_two_reductions_the_smaller_is_asked_for_in_both_names(desk: DeskMaker) -> None:
    d = desk(
        max_contracts={"limit": 3, "count": "gross"},
        max_contracts_per_instrument={"limits": {"MNQ": 4}, "unknown_symbol": "allow_with_limit:9"},
    )
    await d.position("MNQ", 6)
    assert d.actions == ["reduce MNQ to 3"]
    assert asked_by(d, "MNQ") == {"max_contracts", "max_contracts_per_instrument"}
    assert {x.spec_id for x in d.decisions} == {"RULE-001", "RULE-002"}


async def test_a_cure_by_the_first_rule_leaves_nothing_for_the_second(desk: DeskMaker) -> None:
    d = desk(
        max_contracts={"limit": 5},
        max_contracts_per_instrument={"limits": {"MNQ": 2, "ES": 3}},
    )
    await d.position("ES", 3, 6000)
    await d.position("MNQ", 4)
    assert d.actions == ["reduce MNQ to 2"]
    assert [x.spec_id for x in d.decisions] == ["RULE-002"]


async def test_a_blocked_product_is_closed_whole_and_no_smaller_wish_is_heard(
    desk: DeskMaker,
) -> None:
    d = desk(
        symbol_blocks={"blocked": ["RTY"]},
        max_contracts={"limit": 1},
        max_contracts_per_instrument={"limits": {"RTY": 1}},
        no_stop_loss_grace={"grace": "5s"},
        trade_management={"enabled": True, "initial_stop": {"enabled": True}},
    )
    await d.quote("RTY", 2400)
    await d.position("RTY", 3, 2400)
    await d.obey()
    await d.wait(minutes=1)
    assert d.actions == ["close RTY"]
    assert [x.spec_id for x in d.decisions] == ["RULE-011"]
