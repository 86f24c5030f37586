"""Shared by the rules that pause entries: the span in words, and the basis of a trade's result."""

from datetime import timedelta

from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View


def in_whole_seconds(span: timedelta) -> str:
    """The span as people write it; one that is over counts as zero."""
    return plain_duration(timedelta(seconds=max(round(span.total_seconds()), 0)))


def is_gross(view: View, basis: PnlBasis | None) -> bool:
    """Whether results count before fees; without a basis of its own, as `defaults` say."""
    return (basis or view.state.rulebook.defaults.pnl_basis) is PnlBasis.GROSS
