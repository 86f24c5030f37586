"""Which product a contract belongs to: canonical roots, patterns over them, micro-equivalents.

The gateway's code is not the ticker: CON.F.US.EP.Z26 is ES. The root comes from the name in the
contract record, else from the aliases, else from the raw code. Matching is exact; wildcards apply
only where written.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from types import MappingProxyType

# Gateway code -> ticker, where they differ. The first block is documented in the gateway's list
# of contracts. The commodity codes follow the same pattern; the record's name confirms them.
GATEWAY_CODES: Mapping[str, str] = MappingProxyType(
    {
        "EP": "ES",
        "ENQ": "NQ",
        "EU6": "6E",
        "BP6": "6B",
        "CA6": "6C",
        "DA6": "6A",
        "JY6": "6J",
        "SF6": "6S",
        "NE6": "6N",
        "MX6": "6M",
        "EEU": "E7",
        "GLE": "LE",
        "GMCD": "MCD",
        "GMET": "MET",
        "CLE": "CL",
        "GCE": "GC",
        "MCLE": "MCL",
    }
)

_NAME = re.compile(r"^(.+?)([FGHJKMNQUVXZ])(\d{1,2})$")
_WILD = re.compile(r"[*?]")
MICRO_ROOTS = frozenset(
    {"MES", "MNQ", "M2K", "MYM", "MCL", "MGC", "SIL", "MBT", "MET", "M6E", "M6A", "M6B", "MHG"}
)


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract record.

    `tick_size` is in price units, `tick_value` in account currency per contract; both are exact.
    """

    id: str
    name: str
    tick_size: Decimal
    tick_value: Decimal
    symbol_id: str = ""

    def __post_init__(self) -> None:
        if self.tick_size <= 0 or self.tick_value <= 0:
            raise ValueError(f"contract {self.id}: tick size and tick value must be above zero")


def root_of_name(name: str) -> str | None:
    """ESZ6 -> ES; None where the name carries no expiry."""
    match = _NAME.match(name.strip().upper())
    return match.group(1) if match else None


def gateway_code(contract_id: str) -> str | None:
    """CON.F.US.EP.Z26 -> EP; None for an id of any other shape."""
    parts = contract_id.split(".")
    return parts[3].upper() if len(parts) == 5 and parts[3] else None


@dataclass(frozen=True, slots=True)
class Symbols:
    """The operator's symbol settings: aliases, groups, and the weight of a contract in micros."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_mini: Decimal = Decimal(10)
    default_micro: Decimal = Decimal(1)
    weights: Mapping[str, Decimal] = field(default_factory=dict)

    def root(self, contract_id: str, contract: Contract | None) -> str:
        """Return the canonical root. An id of unknown form is its own root, in upper case."""
        if contract is not None and (named := root_of_name(contract.name)):
            return self._alias(named)
        code = gateway_code(contract_id)
        return self._alias(code) if code else contract_id.upper()

    def _alias(self, code: str) -> str:
        return self.aliases.get(code) or GATEWAY_CODES.get(code) or code

    def weight(self, root: str) -> Decimal:
        """Return how many micros one contract of this root counts as."""
        explicit = self.weights.get(root)
        if explicit is not None:
            return explicit
        return self.default_micro if root in MICRO_ROOTS else self.default_mini


def is_pattern(text: str) -> bool:
    return bool(_WILD.search(text))


def plain_roots(patterns: Iterable[str]) -> frozenset[str]:
    """Return those that name one product: no wildcard, and no id of a contract."""
    return frozenset(p for p in patterns if not is_pattern(p) and "." not in p)


def matches(pattern: str, root: str, contract_id: str) -> bool:
    """Whether an upper-case pattern (root, wildcard, or full contract id) names this contract."""
    return PatternSet.of([pattern]).best(root, contract_id) is not None


@dataclass(frozen=True, eq=False)
class PatternSet:
    """Several upper-case patterns, prepared, as they are matched on every position event.

    Pattern sets are compared by identity, so that matches can be cached.
    """

    exact: frozenset[str]
    wild: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "PatternSet":
        named = list(patterns)
        wild = sorted((p for p in named if is_pattern(p)), key=lambda p: (-len(p), p))
        return cls(frozenset(p for p in named if not is_pattern(p)), tuple(wild))

    def best(self, root: str, contract_id: str) -> str | None:
        """Return the most specific match: the contract's id, its root, the longest wildcard."""
        return _best(self, root, contract_id)

    def tells_apart(self, root: str, root_of: Callable[[str], str]) -> bool:
        """Whether the patterns may match one contract of a product and not another.

        A wildcard over contract ids may match a contract of any product.
        """
        if not self._contract_ids:
            return self._parts_all
        return self._parts_all or any(root_of(name) == root for name in self._contract_ids)

    @cached_property
    def _parts_all(self) -> bool:
        return any("." in pattern for pattern in self.wild)

    @cached_property
    def _contract_ids(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.exact if "." in name))


@lru_cache(maxsize=4096)
def _best(patterns: PatternSet, root: str, contract_id: str) -> str | None:
    if root in patterns.exact and contract_id not in patterns.exact:
        return root
    full = contract_id.upper()
    if full in patterns.exact:
        return full
    for pattern in patterns.wild:
        # fnmatch treats brackets as wildcards; here only * and ? are wildcards.
        target = full if "." in pattern else root
        if fnmatchcase(target, pattern.replace("[", "[[]")):
            return pattern
    return None
