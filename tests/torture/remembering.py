"""What of an account must survive, as plain text that can be compared between two processes."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum

from risk_manager.domain.account import Account

Remembered = dict[str, object]

PARTS = (
    "trading_date",
    "name",
    "balance",
    "can_trade",
    "simulated",
    "positions",
    "orders",
    "locks",
    "ceilings",
    "marks",
    "breaches",
    "closings",
    "failed_rules",
    "next_episode",
    "next_action",
)
# Worked out anew from what is kept, or written only along with something else.
NOT_KEPT = {"valuation", "active"}


def remembered(account: Account) -> Remembered:
    """Every part that is promised to survive, by its name."""
    parts = {name: plain(getattr(account, name)) for name in PARTS}
    return {**parts, "ledger": plain(account.ledger.entries)}


def plain(value: object) -> object:
    """JSON without any order of its own; equal values give equal text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name not in NOT_KEPT
        }
    match value:
        case Enum():
            return plain(value.value)
        case Decimal():
            return str(value.normalize())
        case Mapping():
            return sorted(([plain(k), plain(v)] for k, v in value.items()), key=repr)
        case frozenset() | set():
            return sorted((plain(v) for v in value), key=repr)
        case tuple() | list():
            return [plain(v) for v in value]
        case None | bool() | int():
            return value
    return str(value)
