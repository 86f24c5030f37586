"""Each rule that can do nothing is named, with the reason; a rule that can is not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from risk_manager.admin.never_firing import Silence, silent_rules
from risk_manager.settings.loading import load

FRIDAY = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
SHIPPED = Path(__file__).parent.parent.parent / "config"
WHOLE_WEEK = '[{days: [sun, mon, tue, wed, thu, fri, sat], start: "00:00", end: "24:00"}]'


def silent(
    folder: Path, rules: str, more: str = "", live: frozenset[int] = frozenset()
) -> dict[str, tuple[Silence, str]]:
    (folder / "settings.yaml").write_text("")
    (folder / "accounts.yaml").write_text("accounts: [{id: 101}, {id: 102, enabled: false}]")
    (folder / "risk_config.yaml").write_text(f"version: 1\nrules:\n{rules}\n{more}")
    found = silent_rules(load(folder, env={}), live=live, now=FRIDAY)
    return {s.rule_id: (s.silence, s.why) for s in found}


def test_the_shipped_example_has_no_rule_that_can_never_fire() -> None:
    found = silent_rules(load(SHIPPED, env={}), now=FRIDAY)
    assert {s.silence for s in found} == {Silence.DISABLED}
    assert [s.rule_id for s in found] == [
        "max_unrealized_profit",
        "session_block_outside",
        "trade_management",
        "daily_profit_target",
        "consecutive_loss_limit",
        "trailing_max_drawdown",
        "trailing_daily_loss",
        "period_loss",
        "scaling_plan",
        "giveback",
        "consistency",
        "release_window",
        "product_caps",
        "group_limit",
        "own_pace",
        "max_risk_at_entry",
        "no_averaging_down",
        "stop_guard",
        "size_after_loss",
        "reentry_delay",
    ]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{rule: max_contracts, limit: 400}", "limit 400 cannot be reached"),
        ("{rule: daily_realized_loss, limit: 9000000}", "limit $9,000,000.00 cannot be reached"),
        ("{rule: daily_unrealized_loss, limit: 900000}", "limit $900,000.00 cannot be reached"),
        ("{rule: symbol_blocks, blocked: [XQZ, RTTY]}", "blocked: XQZ, RTTY matches no product"),
        ("{rule: symbol_blocks, blocked: []}", "blocked is empty"),
        ('{rule: symbol_blocks, allow_only: ["*"]}', "allow_only allows every product"),
        (
            "{rule: max_contracts_per_instrument, limits: {XQZ: 1}, "
            "unknown_symbol: {mode: allow_unlimited}}",
            "limits: XQZ matches no product",
        ),
        ("{rule: max_contracts_per_instrument, limits: {ES: 900}, "
         "unknown_symbol: {mode: allow_unlimited}}", "limit 900 cannot be reached"),
        ("{rule: cooldown_after_loss, tiers: [{loss: 800000, cooldown: 1h}]}", "cannot be reached"),
        ("{rule: trade_frequency_limit, windows: [{per: 1h, max: 9000, cooldown: 1h}]}",
         "max 9000 cannot be reached"),
        ("{rule: max_risk_at_entry, limit: 900000}", "limit $900,000.00 cannot be reached"),
        ("{rule: consecutive_loss_limit, losses: 9000}", "losses 9000 cannot be reached"),
        ("{rule: auth_loss_guard, can_trade: {enabled: false}, "
         "connection_loss: {enabled: false}}", "both switched off"),
        ("{rule: trade_management, enabled: true, breakeven: {enabled: false}, "
         "trailing: {enabled: false}}", "all switched off"),
        (f"{{rule: session_block_outside, timezone: UTC, respect_holidays: false, "
         f"sessions: {WHOLE_WEEK}}}", "no time is outside"),
        ("{rule: max_contracts, limit: 5, accounts: [102]}", "accounts (102) are not enabled"),
        ('{rule: release_window, windows: [{at: "2020-01-02 07:30"}]}', "no release lies ahead"),
        ("{rule: product_caps, caps: [{roots: GC, limit: 1, until: 2020-01-02}]}", "have ended"),
        ("{rule: product_caps, caps: [{roots: GC, limit: 900}]}", "limit 900 cannot be reached"),
        ("{rule: group_limit, accounts: [101, 102], measure: contracts, limit: 900}",
         "cannot be reached"),
        ("{rule: group_limit, accounts: [101, 102], measure: day_loss, limit: 900000}",
         "limit for each account $450,000.00 cannot be reached"),
    ],
)  # fmt: skip
def test_a_rule_that_can_never_fire_is_named(tmp_path: Path, rule: str, why: str) -> None:
    [(silence, told)] = silent(tmp_path, f"  - {rule}").values()
    assert silence is Silence.DEAD
    assert why in told


@pytest.mark.parametrize(
    "rule",
    [
        "{rule: max_contracts, limit: 149}",
        "{rule: daily_realized_loss, limit: 4500}",
        "{rule: symbol_blocks, blocked: [XQZ, RTY]}",
        '{rule: symbol_blocks, blocked: ["M*"]}',
        "{rule: symbol_blocks, allow_only: [ES]}",
        "{rule: max_contracts_per_instrument, limits: {XQZ: 1}}",
        "{rule: auth_loss_guard, can_trade: {enabled: false}}",
        '{rule: session_block_outside, timezone: America/Chicago, sessions: [{days: '
        '[sun, mon, tue, wed, thu], start: "17:00", end: "15:08"}]}',
    ],
)  # fmt: skip
def test_a_rule_that_can_fire_is_not_named(tmp_path: Path, rule: str) -> None:
    assert silent(tmp_path, f"  - {rule}") == {}


def test_a_rule_that_is_off_is_only_off_whatever_accounts_it_names(tmp_path: Path) -> None:
    rule = "  - {rule: max_contracts, limit: 5, accounts: [555], enabled: false}"
    assert silent(tmp_path, rule) == {"max_contracts": (Silence.DISABLED, "enabled: false")}


def test_shadow_and_live_accounts_are_told_apart_from_dead_rules(tmp_path: Path) -> None:
    rule = "  - {rule: max_contracts, limit: 5}"
    assert silent(tmp_path, "  - {rule: max_contracts, limit: 5, shadow: true}") == {
        "max_contracts": (Silence.SHADOW, "shadow: true; it only tells")
    }
    assert silent(tmp_path, rule, "defaults: {mode: shadow}") == {
        "max_contracts": (Silence.SHADOW, "mode: shadow; it only tells")
    }
    live = frozenset({101})
    assert silent(tmp_path, rule, live=live)["max_contracts"][0] is Silence.LIVE
    assert silent(tmp_path, rule, "accounts: {101: {enforce_on_live: true}}", live) == {}


def test_the_override_of_one_account_counts(tmp_path: Path) -> None:
    rules = "  - {rule: max_contracts, limit: 5}"
    override = "accounts: {101: {overrides: [{target: max_contracts, set: {limit: 900}}]}}"
    assert silent(tmp_path, rules, override)["max_contracts"][0] is Silence.DEAD
