"""Each rule says in plain sentences what it does, with the figures it was given."""

from typing import Any

import pytest

from risk_manager.rules import RULES

BY_NAME = {rule.model_fields["rule"].default: rule for rule in RULES}

WORDS: list[tuple[dict[str, Any], str]] = [
    (
        {"rule": "max_contracts", "limit": 5, "lockout": "30m"},
        "At most 5 contracts: longs and shorts of all products together. Above that, what exceeds "
        "it is closed, newest first, and entry orders are cancelled. The account is locked for "
        "30m.",
    ),
    (
        {"rule": "max_contracts", "limit": 1, "action": "close_all", "cancel_entry_orders": False},
        "At most 1 contract: longs and shorts of all products together. Above that, everything is "
        "closed.",
    ),
    (
        {
            "rule": "max_contracts_per_instrument",
            "limits": {"MNQ": 3, "ES": 1},
            "group_limits": {"sp500": {"limit": 10, "count": "micro_equivalents"}},
        },
        "At most 3 MNQ, 1 ES; all expiries together. The group sp500 together: at most 10 in "
        "micros. Of a product that is not named: at most 1. Above that, what exceeds it is closed, "
        "and its entry orders are cancelled.",
    ),
    (
        {"rule": "daily_realized_loss", "limit": 500},
        "At a loss of $500.00 in the trading day (closed trades only) everything is closed and the "
        "account is locked until the daily reset; nobody can lift it. It warns at 50 % and 80 % of "
        "it.",
    ),
    (
        {
            "rule": "daily_unrealized_loss",
            "limit": 300,
            "confirm": {"quotes": 2, "within": "500ms"},
        },
        "When a position is down by $300.00 or more, it is closed, and its orders are cancelled. 2 "
        "quotes in a row must show it, or it must last 500ms.",
    ),
    (
        {"rule": "daily_unrealized_loss", "limit": 300, "scope": "account"},
        "When all open positions together are down by $300.00 or more, everything is closed.",
    ),
    (
        {"rule": "max_unrealized_profit", "target": 1000},
        "When a position is up by $1,000.00 or more, it is closed, and its orders are cancelled.",
    ),
    (
        {"rule": "max_unrealized_profit", "mode": "breakeven", "arm_at": 200},
        "Once a position has been up by $200.00 and the result falls to $0.00, it is closed, and "
        "its orders are cancelled.",
    ),
    (
        {
            "rule": "trade_frequency_limit",
            "windows": [
                {"per": "1m", "max": 3, "cooldown": "1m"},
                {"per": "trading_day", "max": 50, "cooldown": "until_reset"},
            ],
        },
        "When there are too many entries, new entries are paused. More than 3 entries in 1m: for "
        "1m; more than 50 today: until the daily reset.",
    ),
    (
        {"rule": "cooldown_after_loss", "tiers": [{"loss": 100, "cooldown": "5m"}]},
        "A trade that loses so much pauses new entries: $100.00 for 5m. What the end of the "
        "session closed does not count.",
    ),
    (
        {
            "rule": "release_window",
            "roots": ["ES", "NQ"],
            "windows": [{"at": "2026-12-10 07:30"}],
            "caps": [{"roots": ["MES", "MNQ"], "limit": 3}],
        },
        "From 5m before to 5m after each release, new entries in ES, NQ are blocked; what is held "
        "may be reduced and protected (1 window; a release may say otherwise). In these windows at "
        "most 3 MES + MNQ.",
    ),
    (
        {
            "rule": "release_window",
            "action": "flat",
            "file": {"name": "news.ics", "releases": [{"at": "2026-12-10 07:30"}]},
        },
        "From 5m before to 5m after each release of news.ics, everything is closed and nothing may "
        "be opened (1 window; a release may say otherwise).",
    ),
    (
        {
            "rule": "product_caps",
            "caps": [
                {"roots": ["GC", "MGC"], "limit": 30, "count": "micro_equivalents"},
                {"roots": "HG", "limit": 0, "from": "2026-09-17", "until": "2026-12-31"},
            ],
        },
        "GC + MGC: at most 30 micro-equivalents together, without an end. HG: blocked, from "
        "2026-09-17 until 2026-12-31. Above that, the newest contracts are closed, and entry "
        "orders are cancelled. Entry orders in a blocked product are cancelled at once.",
    ),
    (
        {"rule": "group_limit", "accounts": [102, 101], "measure": "contracts", "limit": 5},
        "The accounts 101, 102 together: at most 5 contracts. Above that, the newest are closed, "
        "in whichever account they are, and entry orders are cancelled.",
    ),
    (
        {"rule": "group_limit", "accounts": [101, 102], "measure": "day_loss", "limit": 500},
        "The accounts 101, 102 together: at a loss of $500.00 in the trading day (closed trades "
        "only, after fees) each of them is closed and locked until the daily reset; nobody can "
        "lift it.",
    ),
    (
        {"rule": "own_pace"},
        "Entries in an hour and the size of an entry are compared with the average of your last 20 "
        "traded days, of which at least 5 must be known. Above 1.5 times that, this is told, and "
        "nothing is paused until the rule is armed.",
    ),
    (
        {"rule": "consecutive_loss_limit", "losses": 3},
        "After 3 losing trades in a row, new entries are paused for 1h. The row begins anew with "
        "each trading day.",
    ),
    (
        {"rule": "max_risk_at_entry", "limit": 200},
        "If a position would lose more than $200.00 at its stops, it is reduced. Contracts without "
        "a stop are not judged by this rule. The stops may be placed within 2s of an entry first.",
    ),
    (
        {"rule": "no_averaging_down", "tolerance": 20},
        "If a trade that loses by more than $20.00 is added to, what was added is closed.",
    ),
    (
        {"rule": "stop_guard"},
        "A stop that is moved away or removed while its position loses is put back after 5s. If "
        "that is impossible, the position is closed.",
    ),
    (
        {"rule": "stop_guard", "action": "close_position", "grace": "10s"},
        "If a stop is moved away or removed while its position loses, the position is closed after "
        "10s.",
    ),
    (
        {"rule": "size_after_loss"},
        "For 15m after a losing trade, an entry above 1 times its size is reduced. Products are "
        "compared in micros. What this program closed does not count.",
    ),
    (
        {"rule": "size_after_loss", "factor": "1.25", "trip": "reach", "scope": "root"},
        "For 15m after a losing trade of the same product, an entry of 1.25 times its size or more "
        "is reduced. What this program closed does not count.",
    ),
    (
        {"rule": "reentry_delay", "delay": "2m", "after": "loss", "include_enforced": True},
        "After a losing exit, there are no new entries in its product for 2m.",
    ),
    (
        {"rule": "no_stop_loss_grace", "grace": "30s"},
        "Every position needs stops for all its contracts within 30s of its entry, and within 10s "
        "after a stop is gone or too small. Otherwise it is closed.",
    ),
    (
        {
            "rule": "session_block_outside",
            "timezone": "America/Chicago",
            "sessions": [{"days": ["mon", "tue"], "start": "08:30", "end": "15:00"}],
        },
        "Trading is allowed from 08:30 to 15:00 (mon tue), America/Chicago time. At the end "
        "positions are closed and orders cancelled. What is opened outside is closed at once. "
        "Holidays and early closes of the exchange count.",
    ),
    (
        {"rule": "auth_loss_guard"},
        "While the platform does not let the account trade, everything is closed and the account "
        "is locked. The lock ends when the platform allows trading again. A stream that is down "
        "for 10s is an alarm; nothing is closed for it.",
    ),
    (
        {"rule": "symbol_blocks", "blocked": ["RTY", "M2K"]},
        "Blocked: RTY, M2K. In these, positions are closed and orders cancelled.",
    ),
    (
        {"rule": "symbol_blocks", "allow_only": ["MNQ"], "existing_positions": "close_only"},
        "Only MNQ may be traded. In others, positions may be reduced and closed, not increased.",
    ),
    (
        {"rule": "trade_management", "initial_stop": {"enabled": True}},
        "A position without a stop gets one 40 ticks from its average price. At 10 ticks of profit "
        "the stop moves to the average price +1 ticks. From 20 ticks of profit on it follows the "
        "best price at 10 ticks. A stop is only ever moved closer to the market.",
    ),
    (
        {"rule": "daily_profit_target", "target": 800, "unlock": "admin"},
        "At a profit of $800.00 in the trading day (closed trades only) everything is closed and "
        "the account is locked until the daily reset; an administrator may lift it.",
    ),
    (
        {
            "rule": "trailing_max_drawdown",
            "start_balance": 50_000,
            "distance": 2_000,
            "buffer": 50,
            "floor": 48_500,
            "floor_from": "2026-11-20",
        },
        "The floor lies $2,000.00 below the best balance at the end of a day, starts at $48,000.00 "
        "and stops rising at $50,000.00. It is at least $48,500.00, and balances before 2026-11-20 "
        "do not count. When balance and open positions together fall to it or to within $50.00 of "
        "it, everything is closed and the account is locked until an administrator lifts it.",
    ),
    (
        {"rule": "trailing_daily_loss", "limit": 500},
        "When the account, open positions included, falls $500.00 below its best result of the "
        "trading day, open positions included (at least zero), everything is closed and the "
        "account is locked until the daily reset; nobody can lift it.",
    ),
    (
        {"rule": "period_loss", "limit": 1_000, "unlock": "admin"},
        "At a loss of $1,000.00 in the week (closed trades only) everything is closed and the "
        "account is locked until the next week opens; an administrator may lift it. It warns at "
        "50 % and 80 % of it.",
    ),
    (
        {"rule": "scaling_plan", "tiers": [{"max": 2}, {"min_profit": 1_500, "max": 3}]},
        "By the balance at the end of the day before: at most 2, 3 from $1,500.00 (minis), for the "
        "whole day. Above that, what exceeds it is closed, newest first, and entry orders are "
        "cancelled.",
    ),
    (
        {"rule": "giveback", "arm_at": 500, "fraction": 0.4, "action": "close_all"},
        "Once the trading day has made $500.00 (open positions included), giving back 40 % of its "
        "best result ends it: everything is closed.",
    ),
    (
        {"rule": "consistency", "since": "2026-11-20"},
        "Since 2026-11-20 no day may make 50 % or more of all profit. It warns when today has made "
        "what it may; nothing is closed.",
    ),
    (
        {
            "rule": "consistency",
            "since": "2026-11-20",
            "share": 0.55,
            "profit_target": 3_000,
            "enforce": True,
        },
        "Since 2026-11-20 the best day may make 55 % of the profit target of $3,000.00; a better "
        "day raises the target. When today has made what it may (closed trades only), everything "
        "is closed and the account is locked until the daily reset; nobody can lift it.",
    ),
]


@pytest.mark.parametrize(("given", "words"), WORDS, ids=[g["rule"] for g, _ in WORDS])
def test_a_rule_says_what_it_does(given: dict[str, Any], words: str) -> None:
    assert BY_NAME[given["rule"]].model_validate(given).in_words() == words


def test_no_rule_is_without_words() -> None:
    assert {given["rule"] for given, _ in WORDS} == set(BY_NAME)
