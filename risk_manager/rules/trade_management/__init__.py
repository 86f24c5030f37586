"""RULE-012, `trade_management`: stops that are placed, moved to breakeven and trailed."""

from risk_manager.rules.trade_management.rule import TradeManagement

__all__ = ["TradeManagement"]
