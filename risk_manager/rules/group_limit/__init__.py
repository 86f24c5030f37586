"""EXTRA-015, `group_limit`: one limit over several accounts together."""

from risk_manager.rules.group_limit.rule import GroupLimit

__all__ = ["GroupLimit"]
