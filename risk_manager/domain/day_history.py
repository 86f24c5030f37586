"""Which of the days that the rules of an account look back on are unknown."""

from datetime import date, timedelta

from risk_manager.domain.account import Account
from risk_manager.domain.rulebook import AccountRules

FURTHEST_BACK = timedelta(days=366)
"""Trades of days before this are not asked for."""


def first_unknown(account: Account, rules: AccountRules) -> date | None:
    """Return the first trading date to be learned of; None where all that matter are known."""
    today, days = account.trading_date, account.days
    needed = [d for rule in rules.rules if (d := rule.history_from(account)) is not None]
    needed += [day for day, ended in days.ended.items() if ended.pnl is None]
    if not needed:
        return None
    since = max(min(needed), today - FURTHEST_BACK)
    return next(iter(days.unknown(since, today)), None)


def lacking(account: Account, rules: AccountRules) -> str:
    """Say which rules must do without which values; empty where nothing is missing."""
    found = []
    for rule in rules.rules:
        since, what = rule.history_from(account), rule.lacks(account)
        unknown = () if since is None else account.days.unknown(since, account.trading_date)
        if unknown:
            days = _spelt(unknown)
            what = f"{what} and {days}" if what else days
        if what:
            found.append(f"{rule.id}: {what}")
    return "; ".join(found)


def _spelt(days: tuple[date, ...]) -> str:
    if len(days) == 1:
        return f"the result of {days[0]} is not known"
    return f"the results of {len(days)} days from {days[0]} to {days[-1]} are not known"
