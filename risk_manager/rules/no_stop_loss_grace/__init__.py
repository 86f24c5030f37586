"""RULE-008, `no_stop_loss_grace`: every position has a stop, within a grace period."""

from risk_manager.rules.no_stop_loss_grace.rule import NoStopLossGrace

__all__ = ["NoStopLossGrace"]
