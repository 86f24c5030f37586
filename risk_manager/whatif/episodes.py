"""The round turns of a day with their fills: from flat to flat, or to the other side."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.executions import Execution
from risk_manager.domain.money import ZERO, cents

SETTLES_IN = timedelta(seconds=2)
"""Fill and position are separate messages; they belong together within this time."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One round turn. `net_at_end` is signed, and 0 unless the position outlasted the record.

    `is_whole` False: it was open before the first fill on record. Its entry is not known then.
    """

    contract_id: str
    fills: tuple[Execution, ...]
    side: int
    net_at_end: int = 0
    is_whole: bool = True

    @property
    def opened_at(self) -> datetime:
        return self.fills[0].counts_from

    @property
    def ended_at(self) -> datetime | None:
        return self.fills[-1].counts_from if self.net_at_end == 0 else None

    @property
    def size(self) -> int:
        """The most lots held at once."""
        largest = held = 0
        for fill in self.fills:
            held += fill.signed_size * self.side
            largest = max(largest, held)
        return largest or max(fill.size for fill in self.fills)

    @property
    def fees(self) -> Decimal:
        return sum((fill.fees for fill in self.fills), ZERO)

    @property
    def net(self) -> Decimal:
        """The recorded result after fees, of the lots that were closed."""
        return sum((fill.net for fill in self.fills), ZERO)

    def parted(self, at: datetime, net: int | None) -> tuple[list[Execution], list[Execution]]:
        """Return the fills up to an instant, and those after it.

        `net` is the position of that instant as the account showed it. Fills that were reported a
        moment later and lead to it count as earlier ones.
        """
        held, place = 0, 0
        for place, fill in enumerate(self.fills):
            late = fill.counts_from > at
            if late and (net is None or held == net or fill.counts_from > at + SETTLES_IN):
                return list(self.fills[:place]), list(self.fills[place:])
            held += fill.signed_size
        return list(self.fills), []


def episodes(executions: Iterable[Execution]) -> list[Episode]:
    """Group executions, oldest first, into round turns in the order of their opening."""
    running: dict[str, _Running] = {}
    found: list[_Running] = []
    for e in executions:
        left: Execution | None = e
        while left is not None:
            current = running.get(e.contract_id)
            if current is None:
                current = running[e.contract_id] = _Running(left)
                found.append(current)
            left = current.add(left)
            if current.net == 0:
                del running[e.contract_id]
    return [r.episode() for r in sorted(found, key=lambda r: r.fills[0].executed_at)]


class _Running:
    def __init__(self, first: Execution) -> None:
        # A first fill with a result closes lots that were opened before the record.
        self.is_whole = first.pnl is None
        self.side = first.side.sign if self.is_whole else -first.side.sign
        self.net = 0
        self.fills: list[Execution] = []

    def add(self, e: Execution) -> Execution | None:
        """Add an execution. Returns its remainder where it also opens the other side."""
        if not self.is_whole:
            self.fills.append(e)
            return None
        after = self.net + e.signed_size
        if self.net == 0 or after * self.side >= 0:
            self.fills.append(e)
            self.net = after
            return None
        lots = abs(self.net)
        share = cents(e.fees * lots / e.size)
        self.fills.append(replace(e, size=lots, fees=share))
        self.net = 0
        return replace(e, size=e.size - lots, pnl=None, fees=e.fees - share)

    def episode(self) -> Episode:
        return Episode(
            contract_id=self.fills[0].contract_id,
            fills=tuple(self.fills),
            side=self.side,
            net_at_end=self.net,
            is_whole=self.is_whole,
        )
