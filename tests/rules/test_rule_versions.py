"""Which version of a rule makes another one superfluous, so that no pile of them is enforced."""

from typing import Any

import pytest

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import UNTIL_RESET, is_older, older_id, origin_id
from risk_manager.rules import RULES


def test_versions_are_counted_and_their_ids_lead_back_to_the_rule() -> None:
    assert older_id("x") == "x" + UNTIL_RESET
    assert older_id("x", 3) == "x (until the reset, 3)"
    for number in (1, 2, 12):
        assert is_older(older_id("x", number))
        assert origin_id(older_id("x", number)) == "x"
    assert not is_older("x")
    assert origin_id("x") == "x"


def rule(name: str, **fields: Any) -> Rule:
    kind = next(r for r in RULES if r.model_fields["rule"].default == name)
    return kind.model_validate({"rule": name, **fields})


STOP = {"grace": "30s", "rearm_grace": "10s"}
HOURS = {"days": ["mon"], "start": "09:00", "end": "16:00"}
GC = {"roots": "GC", "limit": 3}
CPI = {"at": "2026-12-10 07:30"}
GROUP = {"accounts": [101, 102], "measure": "contracts", "limit": 5}
TIGHTER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("max_contracts", {"limit": 2}, {"limit": 5}),
    ("daily_realized_loss", {"limit": 400}, {"limit": 500}),
    ("daily_realized_loss", {"limit": 400, "warn_at": [0.9]}, {"limit": 500}),
    ("daily_profit_target", {"target": 400}, {"target": 500}),
    ("daily_unrealized_loss", {"limit": 100}, {"limit": 200}),
    ("max_unrealized_profit", {"target": 100}, {"target": 200}),
    (
        "max_unrealized_profit",
        {"mode": "breakeven", "arm_at": 100, "floor": 20},
        {"mode": "breakeven", "arm_at": 200, "floor": 10},
    ),
    (
        "max_contracts_per_instrument",
        {"limits": {"ES": 1, "NQ": 3}},
        {"limits": {"ES": 2, "NQ": 3}},
    ),
    ("symbol_blocks", {"blocked": ["NQ", "ES"]}, {"blocked": ["NQ"]}),
    ("no_stop_loss_grace", {"grace": "20s", "rearm_grace": "10s"}, STOP),
    (
        "cooldown_after_loss",
        {"tiers": [{"loss": 50, "cooldown": "10m"}]},
        {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "end": "15:00"}]},
        {"sessions": [HOURS]},
    ),
    ("max_risk_at_entry", {"limit": 100, "grace": "1s"}, {"limit": 200}),
    ("no_averaging_down", {}, {"tolerance": 20}),
    ("stop_guard", {"grace": "3s"}, {"grace": "5s"}),
    ("size_after_loss", {"window": "30m"}, {"factor": 2}),
    ("reentry_delay", {"delay": "5m"}, {"delay": "2m", "after": "loss"}),
]
TIGHTER += [
    ("product_caps", {"caps": [{"roots": "GC", "limit": 2}]}, {"caps": [GC]}),
    ("product_caps", {"caps": [GC]}, {"caps": [{**GC, "from": "2026-11-20"}]}),
    (
        "product_caps",
        {"caps": [{**GC, "until": "2026-12-31"}]},
        {"caps": [{**GC, "limit": 4, "from": "2026-11-20", "until": "2026-11-30"}]},
    ),
    ("release_window", {"windows": [CPI, {"at": "2026-12-11 07:30"}]}, {"windows": [CPI]}),
    ("release_window", {"windows": [CPI], "before": "10m"}, {"windows": [CPI]}),
    ("release_window", {"windows": [CPI], "action": "flat"}, {"windows": [CPI]}),
    (
        "release_window",
        {"file": {"name": "b.ics", "releases": [CPI, {"at": "2026-12-11 07:30"}]}},
        {"windows": [CPI]},
    ),
    ("group_limit", {**GROUP, "limit": 4}, {**GROUP, "limit": 5}),
    ("group_limit", {**GROUP, "measure": "day_loss", "limit": 4}, {**GROUP, "measure": "day_loss"}),
]
NEITHER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # After its hour the tighter one has answered this loss; the looser one would still lock.
    (
        "daily_realized_loss",
        {"limit": 400, "lockout": "1h"},
        {"limit": 500, "lockout": "1h"},
    ),
    # An administrator lifts the lock of the tighter one; the looser one would lock again.
    ("daily_realized_loss", {"limit": 400, "unlock": "admin"}, {"limit": 500, "unlock": "admin"}),
    ("daily_realized_loss", {"limit": 400, "action": "close_all"}, {"limit": 500}),
    ("daily_realized_loss", {"limit": 400}, {"limit": 500, "include_unrealized": True}),
    # Which of two orders may stay is another question with another limit.
    (
        "max_contracts",
        {"limit": 3, "count_working_entries": True},
        {"limit": 5, "count_working_entries": True},
    ),
    ("max_contracts", {"limit": 2, "count": "net"}, {"limit": 5}),
    ("max_contracts", {"limit": 2, "accounts": [101]}, {"limit": 5}),
    ("max_contracts", {"limit": 2, "lockout": "10m"}, {"limit": 5, "lockout": "1h"}),
    ("max_contracts_per_instrument", {"limits": {"ES": 1}}, {"limits": {"ES": 2, "NQ": 3}}),
    (
        "max_contracts_per_instrument",
        {"limits": {"ES": 1, "NQ": 4}},
        {"limits": {"ES": 2, "NQ": 3}},
    ),
    # The row begins anew after the pause of the tighter one.
    ("consecutive_loss_limit", {"losses": 2}, {"losses": 3}),
    ("max_risk_at_entry", {"limit": 100, "grace": "5s"}, {"limit": 200}),
    ("max_risk_at_entry", {"limit": 100}, {"limit": 200, "action": "close_position"}),
    ("no_averaging_down", {}, {"tolerance": 20, "action": "close_position"}),
    ("stop_guard", {"grace": "3s"}, {"grace": "5s", "action": "close_position"}),
    ("size_after_loss", {"window": "10m"}, {"factor": 2}),
    ("size_after_loss", {}, {"factor": 2, "trip": "reach"}),
    ("reentry_delay", {"delay": "5m", "after": "loss"}, {"delay": "2m"}),
    ("symbol_blocks", {"blocked": ["NQ"]}, {"blocked": ["ES"]}),
    ("symbol_blocks", {"allow_only": ["NQ"]}, {"blocked": ["ES"]}),
    ("no_stop_loss_grace", {"grace": "20s", "rearm_grace": "20s"}, STOP),
    (
        "cooldown_after_loss",
        {"tiers": [{"loss": 50, "cooldown": "4m"}]},
        {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "end": "15:00"}], "lockout": "none", "at_end": "none"},
        {"sessions": [HOURS], "lockout": "none", "at_end": "none"},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "start": "08:00", "end": "15:00"}]},
        {"sessions": [HOURS]},
    ),
    ("product_caps", {"caps": [{**GC, "limit": 2, "from": "2026-11-21"}]}, {"caps": [GC]}),
    ("product_caps", {"caps": [{**GC, "count": "micro_equivalents", "limit": 2}]}, {"caps": [GC]}),
    ("product_caps", {"caps": [GC], "cancel_entry_orders": False}, {"caps": [{**GC, "limit": 4}]}),
    (
        "release_window",
        {"windows": [{**CPI, "before": "20m", "after": "1m"}]},
        {"windows": [CPI]},
    ),
    ("release_window", {"windows": [CPI], "roots": ["ES"]}, {"windows": [CPI]}),
    (
        "release_window",
        {"windows": [CPI], "caps": [{"roots": "MES", "limit": 1}]},
        {"windows": [CPI], "caps": [{"roots": "MES", "limit": 2}]},
    ),
    ("group_limit", {**GROUP, "limit": 4, "accounts": [101, 103]}, GROUP),
    ("group_limit", {**GROUP, "limit": 4, "measure": "day_loss"}, GROUP),
    ("own_pace", {"armed": True, "factor": "1.2"}, {"armed": True}),
]


@pytest.mark.parametrize(("name", "tight", "loose"), TIGHTER)
def test_a_tighter_version_makes_the_looser_one_superfluous(
    name: str, tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    one, other = rule(name, **tight), rule(name, **loose)
    assert one.covers(other)
    assert not other.covers(one)
    assert one.covers(one)


@pytest.mark.parametrize(("name", "tight", "loose"), NEITHER)
def test_a_version_that_could_be_the_stricter_one_is_kept(
    name: str, tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    one, other = rule(name, **tight), rule(name, **loose)
    assert not one.covers(other)
    assert not other.covers(one) or name == "symbol_blocks"
    assert one.covers(one)
