"""Windows as instants: which are in force, and how long what they ask for lasts."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from risk_manager.domain.locks import LockPolicy
from risk_manager.rules.capped_products import CappedProducts


class Span(NamedTuple):
    """One window: starts_at <= t < ends_at (UTC). `roots` are products; empty: all of them."""

    starts_at: datetime
    ends_at: datetime
    at: datetime
    name: str
    roots: tuple[str, ...]
    is_flat: bool
    caps: tuple[CappedProducts, ...]

    def __contains__(self, at: object) -> bool:
        return isinstance(at, datetime) and self.starts_at <= at < self.ends_at

    def implies(self, other: "Span") -> bool:
        """Whether this window asks for everything that `other` asks for, at any time of it."""
        return (
            self.starts_at <= other.starts_at
            and other.ends_at <= self.ends_at
            and self.roots == other.roots
            and (self.is_flat or not other.is_flat)
            and self.caps == other.caps
        )


class Stretch(NamedTuple):
    """For how long one policy holds without a change, and the window that began last."""

    policy: LockPolicy
    starts_at: datetime
    ends_at: datetime
    latest: Span


def stretch_at(spans: Sequence[Span], at: datetime) -> Stretch | None:
    """Return what the windows of one scope ask for at an instant; None where none is in force.

    Overlapping and adjoining windows are one. A window that flattens goes before one that only
    blocks entries, which goes on after it.
    """
    flat = [span for span in spans if span.is_flat]
    block = [span for span in spans if not span.is_flat]
    for policy, chosen in ((LockPolicy.FLAT, flat), (LockPolicy.NO_ENTRIES, block)):
        now = [span for span in chosen if at in span]
        if not now:
            continue
        starts_at, ends_at = _union_around(chosen, at)
        if policy is LockPolicy.NO_ENTRIES:
            cuts = [span.starts_at for span in flat if at < span.starts_at < ends_at]
            ends_at = min(cuts, default=ends_at)
            starts_at = max([s.ends_at for s in flat if starts_at < s.ends_at <= at] + [starts_at])
        return Stretch(policy, starts_at, ends_at, max(now, key=lambda span: span.starts_at))
    return None


def _union_around(spans: Iterable[Span], at: datetime) -> tuple[datetime, datetime]:
    starts_at = ends_at = at
    grows = True
    while grows:
        grows = False
        for span in spans:
            if span.starts_at <= ends_at and starts_at <= span.ends_at:
                earliest, latest = min(starts_at, span.starts_at), max(ends_at, span.ends_at)
                grows |= (earliest, latest) != (starts_at, ends_at)
                starts_at, ends_at = earliest, latest
    return starts_at, ends_at
