"""RULE-009, `session_block_outside`: trade only in the hours you set."""

from risk_manager.rules.session_block_outside.hours import Place
from risk_manager.rules.session_block_outside.rule import SessionBlockOutside

__all__ = ["Place", "SessionBlockOutside"]
