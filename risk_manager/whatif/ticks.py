"""Tick sizes and tick values, in dollars a lot, for files that name a contract and no more."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from risk_manager.domain.symbols import Contract, root_of_name

_TICKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ES": ("0.25", "12.50"),
        "MES": ("0.25", "1.25"),
        "NQ": ("0.25", "5"),
        "MNQ": ("0.25", "0.50"),
        "RTY": ("0.1", "5"),
        "M2K": ("0.1", "0.50"),
        "YM": ("1", "5"),
        "MYM": ("1", "0.50"),
        "NKD": ("5", "25"),
        "CL": ("0.01", "10"),
        "QM": ("0.025", "12.50"),
        "MCL": ("0.01", "1"),
        "NG": ("0.001", "10"),
        "RB": ("0.0001", "4.20"),
        "HO": ("0.0001", "4.20"),
        "GC": ("0.1", "10"),
        "MGC": ("0.1", "1"),
        "SI": ("0.005", "25"),
        "SIL": ("0.005", "5"),
        "HG": ("0.0005", "12.50"),
        "MHG": ("0.0005", "1.25"),
        "PL": ("0.1", "5"),
        "6A": ("0.00005", "5"),
        "6B": ("0.0001", "6.25"),
        "6C": ("0.00005", "5"),
        "6E": ("0.00005", "6.25"),
        "6J": ("0.0000005", "6.25"),
        "6S": ("0.00005", "6.25"),
        "6N": ("0.00005", "5"),
        "M6A": ("0.0001", "1"),
        "M6B": ("0.0001", "0.625"),
        "M6E": ("0.0001", "1.25"),
        "ZN": ("0.015625", "15.625"),
        "ZB": ("0.03125", "31.25"),
        "ZF": ("0.0078125", "7.8125"),
        "ZC": ("0.25", "12.50"),
        "ZS": ("0.25", "12.50"),
        "ZW": ("0.25", "12.50"),
        "HE": ("0.025", "10"),
        "LE": ("0.025", "10"),
        "MBT": ("5", "0.50"),
        "MET": ("0.5", "0.05"),
    }
)


def contract_named(name: str) -> Contract | None:
    """Return a contract such as ESZ6, its name serving as id; None for an unknown product."""
    root = root_of_name(name)
    known = _TICKS.get(root) if root else None
    if known is None:
        return None
    return Contract(id=name, name=name, tick_size=Decimal(known[0]), tick_value=Decimal(known[1]))
