"""EXTRA-023, `stop_guard`: stops that are widened or removed at a loss are put back."""

from risk_manager.rules.stop_guard.rule import StopGuard

__all__ = ["StopGuard"]
