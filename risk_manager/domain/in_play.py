"""The contracts of an account that its rules look at, with their roots."""

from collections.abc import Callable, Mapping
from typing import Any

from risk_manager.domain.memo import Memo


class InPlay(dict[str, str]):
    """Every contract with a position or working order, in a stable order, and its root.

    Fills rarely change which contracts these are, so one value serves many events. `memo` keeps, by
    rule id, what a rule has found that follows from these contracts alone.
    """

    __slots__ = ("_ids", "_roots", "memo")

    def __init__(
        self, ids: tuple[str, ...], roots: Mapping[str, str], root_of: Callable[[str], str]
    ) -> None:
        super().__init__(zip(ids, map(root_of, ids), strict=True))
        self._ids = ids
        self._roots = roots
        self.memo: Memo[Any] = Memo()

    def holds(self, ids: tuple[str, ...], roots: Mapping[str, str]) -> bool:
        """Whether these are the contracts, and their roots are those known here."""
        return self._roots is roots and self._ids == ids
