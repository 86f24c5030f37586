"""One limit at several values."""

from decimal import Decimal
from typing import Any

import pytest
from config_folder import SHIPPED
from desk import rules_from

from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.rules import RULES
from risk_manager.settings import load
from risk_manager.whatif.grid import GridRefused, parse_grid, variants


def book(**rules: Any) -> Rulebook:
    return Rulebook(accounts={101: AccountRules.of(rules_from(**rules))})


def test_a_grid_holds_both_ends() -> None:
    grid = parse_grid("daily_realized_loss.limit=300:1000:100")
    assert (grid.rule, grid.field) == ("daily_realized_loss", "limit")
    assert grid.values == tuple(Decimal(n) for n in range(300, 1001, 100))
    assert parse_grid("r.f=0.5:0.7:0.1").values[-1] == Decimal("0.7")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limit=1:2:1", "is no grid"),
        ("r.f=1:2", "is no grid"),
        ("r.f=1:x:1", "must be numbers"),
        ("r.f=2:1:1", "must not exceed"),
        ("r.f=1:2:0", "steps above 0"),
        ("r.f=1:NaN:1", "must not exceed"),
        ("r.f=0:1000:1", "50 values at most"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(text: str, told: str) -> None:
    with pytest.raises(GridRefused, match=told):
        parse_grid(text)


def test_each_value_makes_a_rulebook_in_which_only_that_differs() -> None:
    rulebook = book(daily_realized_loss={"limit": 500}, max_contracts={"limit": 2})
    found = list(variants(parse_grid("daily_realized_loss.limit=300:400:100"), rulebook))
    assert [value for value, _ in found] == [300, 400]
    for value, variant in found:
        before = {r.id: r.model_dump() for r in rulebook.accounts[101].rules}
        after = {r.id: r.model_dump() for r in variant.accounts[101].rules}
        assert after == before | {
            "daily_realized_loss": {**before["daily_realized_loss"], "limit": value}
        }


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("max_contracts.limit=1:2:1", "no enabled rule is called max_contracts"),
        ("daily_realized_loss.limits=1:2:1", "has no field limits"),
        ("daily_realized_loss.limit=-1:2:1", "cannot be -1"),
    ],
)
def test_a_value_the_rule_does_not_take_is_refused(grid: str, told: str) -> None:
    with pytest.raises(GridRefused, match=told):
        list(variants(parse_grid(grid), book(daily_realized_loss={"limit": 500})))


def test_every_rule_is_rebuilt_from_its_own_fields() -> None:
    for rule in load(SHIPPED, {}).rules:
        again = type(rule).model_validate(rule.model_dump())
        assert again.model_dump_json() == rule.model_dump_json()
    assert {type(rule) for rule in load(SHIPPED, {}).rules} <= set(RULES)
